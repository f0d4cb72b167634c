"""A node is lost in the middle of traffic and comes back: its agents are denied meanwhile, nobody else notices, and
what was answered is in the evidence exactly once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from integration.plane import CATALOG_AND_POLICY, wait_until
from integration.two_nodes import TwoNodes, two_nodes

from actors.ids import agent_key
from actors.placement import host_name, host_of
from controlplane.lifecycle.readiness import Readiness
from controlplane_sdk.decision import Decision

pytestmark = pytest.mark.ray

HOSTS = 3
HERE, THERE = {"host-000", "host-002"}, {"host-001"}
MORE = CATALOG_AND_POLICY.replace("1000.0", "2000.0").replace(
    "more than a thousand", "more than two thousand"
)


@dataclass(slots=True)
class Traffic:
    """One client a host, each asking for its own agents without pause, and their own record of what they were told."""

    plane: TwoNodes
    agents: dict[str, list[str]]
    told: dict[str, str] = field(default_factory=dict)  # decision id → effect
    allowed: dict[str, int] = field(default_factory=dict)  # host → how many
    refused: dict[str, int] = field(default_factory=dict)  # host → how many went without a decision
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        self.allowed, self.refused = dict.fromkeys(self.agents, 0), dict.fromkeys(self.agents, 0)
        self.threads = [threading.Thread(target=self._ask, args=(host,)) for host in self.agents]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)

    def _ask(self, host: str) -> None:
        client = self.plane.running.client(timeout_s=6)
        turn = 0
        while not self.stopping.is_set():
            agents = self.agents[host]
            turn += 1
            amount = 5000 if turn % 3 == 0 else 1
            decision = client.decide(
                agent=agents[turn % len(agents)],
                tool="ledger.pay",
                arguments={"to": "a", "amount": amount},
            )
            if decision.id:
                self.told[decision.id] = decision.effect
                self.allowed[host] += decision.allowed
            else:
                assert not decision.allowed
                self.refused[host] += 1
            # Paced: this is about loss, not load.
            self.stopping.wait(0.01)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[TwoNodes]:
    with two_nodes(tmp_path / "cp", hosts=HOSTS) as plane:
        yield plane


def agents_by_host(each: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {host_name(index): [] for index in range(HOSTS)}
    for number in range(1000):
        agent = f"node-bot-{number}"
        host = host_name(host_of(agent_key("default", "agent", agent), HOSTS))
        if len(found[host]) < each:
            found[host].append(agent)
    return found


def activate(plane: TwoNodes, text: str) -> dict[str, list[str]]:
    body = {"sources": [{"name": "spine.yaml", "text": text}], "activate": True}
    answer: dict[str, list[str]] = plane.running.client(timeout_s=60).request("POST", "/v1/bundles", body)
    return answer


def test_a_lost_nodes_agents_are_denied_the_others_go_on_and_all_recovers_when_it_returns(
    plane: TwoNodes,
) -> None:
    running = plane.running
    client = running.client(timeout_s=10)
    assert activate(plane, CATALOG_AND_POLICY)["lagging"] == []
    agents = agents_by_host(each=3)
    for agent in itertools.chain.from_iterable(agents.values()):
        client.request("POST", "/v1/agents", {"id": agent})

    assert plane.other is not None
    family = {child.pid for child in psutil.Process(plane.other.pid).children(recursive=True)}
    for host in agents:
        (owner,) = plane.processes_of(host)
        assert (owner.pid in family) == (host in THERE), f"{host} does not live on the node of its journal"

    def ask(host: str) -> Decision:
        return client.decide(agent=agents[host][0], tool="ledger.pay", arguments={"to": "a", "amount": 1})

    def wait_for(count: int, hosts: set[str]) -> None:
        before = {host: traffic.allowed[host] for host in hosts}
        wait_until(
            lambda: all(traffic.allowed[host] >= before[host] + count for host in hosts),
            timeout_s=60,
            what=f"traffic to {hosts}",
        )

    with Traffic(plane, agents) as traffic:
        wait_for(20, HERE | THERE)
        assert sum(traffic.refused.values()) == 0
        plane.kill_other()

        def degraded() -> bool:
            answer = plane.readiness()
            assert answer.readiness is Readiness.READY, answer
            states = {name: state for name, state in answer.body["hosts"].items() if state != "ready"}
            return answer.body["status"] == "degraded" and states == dict.fromkeys(THERE, "node_lost")

        wait_until(degraded, timeout_s=60, what="the lost hosts to be named")
        for host in THERE:
            decision = ask(host)
            assert (decision.allowed, decision.id, decision.reason_code) == (False, "", "http_503")
        assert sorted(activate(plane, MORE)["lagging"]) == sorted(THERE)
        wait_for(20, HERE)

        landed = "SELECT count(*) AS n FROM evidence WHERE log_id LIKE 'host-000.%'"
        before = running.table_rows(landed)[0]["n"]
        wait_until(
            lambda: running.table_rows(landed)[0]["n"] > before, timeout_s=30, what="evidence of a host here"
        )
        assert {host: traffic.refused[host] for host in HERE} == dict.fromkeys(HERE, 0)
        assert all(traffic.refused[host] > 0 for host in THERE)

        plane.start_other()
        plane.wait_until_ready("the lost node's hosts to come back by themselves")
        wait_for(20, HERE | THERE)
        assert {host: traffic.refused[host] for host in HERE} == dict.fromkeys(HERE, 0)
        # They took up the policies that were activated while they were away.
        for host in THERE:
            more = client.decide(
                agent=agents[host][0], tool="ledger.pay", arguments={"to": "a", "amount": 1500}
            )
            assert more.allowed, more
        assert plane.restarts() == 0

    running.wait_until_landed(timeout_s=60)
    rows = running.table_rows("SELECT event_id, decision FROM evidence WHERE event_type = 'decision'")
    in_table = {row["event_id"]: row["decision"] for row in rows}
    assert len(rows) == len(in_table)
    assert {identity: in_table.get(identity) for identity in traffic.told} == traffic.told
    assert set(traffic.told.values()) == {"allow", "deny"}
    gaps = running.table_rows(
        "SELECT log_id, count(*) AS n, max(seq) AS last FROM evidence GROUP BY log_id HAVING count(*) <> max(seq) + 1"
    )
    assert gaps == []
    # One log a host: nobody began a new one anywhere.
    logs = [row["log_id"] for row in running.table_rows("SELECT DISTINCT log_id FROM evidence")]
    assert sorted(log.split(".")[0] for log in logs) == ["control", *sorted(HERE | THERE)]

    plane.detach()
    assert [host for host in agents if plane.processes_of(host)] == []
    assert plane.head is not None and plane.head.poll() is None, "Ray itself is its operator's, and goes on"
