"""Delegation over HTTP between two hosts: tokens that are raced for, records that change, homes that are killed."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from integration.faults.traffic import register
from integration.faults.victims import Victim, wait_found
from integration.plane import CATALOG_AND_POLICY, TODO, Running, wait_until

from actors.ids import ordinal_of_decision
from controlplane_sdk import ControlPlane, ControlPlaneError, Decision

pytestmark = pytest.mark.ray

BLOCKED = "  - {id: blocked, on: {agent_label: blocked}, then: deny, because: blocked}\n"
RACERS = 20


@dataclass(frozen=True, slots=True)
class Team:
    """A planner on host 0, whose workflows live there; a helper and another agent whose home is host 1."""

    running: Running
    planner: str
    helper: str
    other: str
    keys: dict[str, str]

    def client(self, agent: str, *, timeout_s: float = 10.0) -> ControlPlane:
        return self.running.client(self.keys[agent], timeout_s=timeout_s)

    def workflow(self, principal: str = "user:ada") -> str:
        """A session of the planner that begins a workflow."""
        return self.running.client().open_session(self.planner, "pay the rent", principal=principal)

    def child(self, session: str, **more: Any) -> str:
        token = self.client(self.planner).delegate(session, self.helper, **more)
        return self.client(self.helper).open_session(self.helper, parent=token)

    def ask(self, agent: str, session: str, tool: str = "ledger.pay", *, timeout_s: float = 10.0) -> Decision:
        arguments = {"to": "a", "amount": 1} if tool == "ledger.pay" else {}
        return self.client(agent, timeout_s=timeout_s).decide(
            agent=agent, tool=tool, arguments=arguments, session=session
        )

    def row(self, decision: Decision) -> dict[str, Any]:
        self.running.wait_until_landed()
        (row,) = self.running.table_rows(f"SELECT * FROM evidence WHERE event_id = '{decision.id}'")
        return row


@pytest.fixture(scope="module")
def team(running: Running) -> Team:
    at_home, elsewhere, _ = register(running)
    planner, helper, other = at_home.agents[0], elsewhere.agents[0], elsewhere.agents[1]
    keys = {
        agent: running.client().request("POST", "/v1/keys", {"role": "agent", "agents": [agent]})["key"]
        for agent in (planner, helper, other)
    }
    return Team(running, planner, helper, other, keys)


@pytest.fixture
def labels_count(running: Running) -> Iterator[None]:
    """Policies that look at the agent's labels; afterwards those of before."""
    client = running.client(timeout_s=60)
    before = client.request("GET", "/v1/bundles")["active"]
    sources = [
        {"name": "spine.yaml", "text": CATALOG_AND_POLICY + BLOCKED},
        {"name": TODO.name, "text": TODO.read_text()},
    ]
    assert client.request("POST", "/v1/bundles", {"sources": sources, "activate": True})["lagging"] == []
    yield
    assert client.request("POST", f"/v1/bundles/{before}/activate")["lagging"] == []


def refused(code: str, call: Any, *arguments: Any, **more: Any) -> None:
    with pytest.raises(ControlPlaneError) as caught:
        call(*arguments, **more)
    assert caught.value.code == code


def test_of_twenty_who_use_one_token_at_once_one_opens_a_session(team: Team) -> None:
    for _ in range(5):
        token = team.client(team.planner).delegate(team.workflow(), team.helper)
        ready = threading.Barrier(RACERS)

        def use(_: int, token: str = token, ready: threading.Barrier = ready) -> str:
            with team.client(team.helper) as client:
                ready.wait(30)
                try:
                    return client.open_session(team.helper, parent=token)
                except ControlPlaneError as error:
                    return error.code

        with ThreadPoolExecutor(RACERS) as pool:
            told = Counter(pool.map(use, range(RACERS)))
        assert told.pop("delegation_used") == RACERS - 1
        (session,) = told
        assert team.ask(team.helper, session).allowed


def test_what_was_delegated_and_no_more_is_allowed_with_evidence_of_it(team: Team) -> None:
    root = team.workflow()
    middle = team.child(root, tools=["ledger.*"], depth=1)
    helper = team.client(team.helper)
    refused("outside_delegation", helper.delegate, middle, team.other, tools=["todo.*"])
    refused("delegation_too_deep", helper.delegate, middle, team.other, depth=1)
    refused("principal_mismatch", helper.delegate, middle, team.other, principal="user:eve")
    refused("unknown_session", helper.delegate, root, team.other)
    token = helper.delegate(middle, team.other, tools=["ledger.read"])
    refused("foreign_delegation", helper.open_session, team.helper, parent=token)
    last = team.client(team.other).open_session(team.other, parent=token)
    allowed = team.ask(team.other, last, "ledger.read")
    assert allowed.allowed and ordinal_of_decision(allowed.id) == 0
    outside = team.ask(team.other, last, "ledger.pay")
    assert not outside.allowed and outside.reason_code == "outside_delegation"
    team.client(team.other).outcome(allowed.id, "succeeded")
    began = team.running.client().decision(team.ask(team.planner, root).id)
    for decision in (allowed, outside):
        row = team.row(decision)
        assert (row["agent_id"], row["parent_agent_id"]) == (team.other, team.helper)
        assert row["workflow_id"] == began["workflow"]
        assert json.loads(row["authorization_boundary"])["principal"] == "user:ada"
    team.running.client().end_session(root)
    assert team.ask(team.other, last, "ledger.read").reason_code == "parent_ended"


def test_a_delegation_is_over_when_it_expires(team: Team) -> None:
    root = team.workflow()
    unused = team.client(team.planner).delegate(root, team.helper, expires_in_s=2)
    session = team.child(root, expires_in_s=3)
    wait_until(
        lambda: team.ask(team.helper, session).reason_code == "delegation_expired",
        timeout_s=20,
        what="the delegation to expire",
    )
    refused("delegation_expired", team.client(team.helper).open_session, team.helper, parent=unused)
    assert team.ask(team.planner, root).allowed


def test_a_record_that_its_home_changed_counts_from_the_next_action_on(
    team: Team, labels_count: None
) -> None:
    session = team.child(team.workflow())
    operator = team.running.client()
    for version in range(4):
        blocked = bool(version % 2)
        record = {"id": team.helper, "labels": ["blocked"] if blocked else [], "version": f"1.{version}"}
        operator.request("POST", "/v1/agents", record)
        decision = team.ask(team.helper, session)
        assert decision.allowed is not blocked, decision
        assert team.row(decision)["agent_version"] == f"1.{version}"


def test_a_home_that_is_killed_or_silent_denies_its_agents_until_it_is_back_and_nobody_elses(
    team: Team,
) -> None:
    root = team.workflow()
    session, unused = team.child(root), team.client(team.planner).delegate(root, team.helper)
    assert team.ask(team.helper, session).allowed
    (home,) = wait_found(team.running.settings, Victim.HOST_1, timeout_s=30)
    home.send_signal(signal.SIGSTOP)
    try:
        silent = team.ask(team.helper, session, timeout_s=2)
        assert not silent.allowed and silent.reason_code == "http_503", silent
        items = [question(team.planner, root), question(team.helper, session), question(team.planner, root)]
        with team.running.http() as http:
            batch = http.post(
                "/access/v1/evaluations", json={"evaluations": items}, headers={"X-Deadline-Ms": "3000"}
            )
        assert [answer["decision"] for answer in decisions(batch)] == [True, False, True]
    finally:
        home.send_signal(signal.SIGKILL)
    gone = team.ask(team.helper, session, timeout_s=1)
    assert not gone.allowed or gone.id  # denied, or decided by a home that is back already
    assert team.ask(team.planner, root).allowed
    wait_until(
        lambda: team.ask(team.helper, session, timeout_s=3).allowed,
        timeout_s=60,
        what="the home to vouch again",
    )
    assert team.client(team.helper).open_session(team.helper, parent=unused)


def test_a_token_that_was_used_stays_used_when_its_owner_is_killed(team: Team) -> None:
    root = team.workflow()
    token = team.client(team.planner).delegate(root, team.helper, tools=["ledger.read"])
    session = team.client(team.helper).open_session(team.helper, parent=token)
    (owner,) = wait_found(team.running.settings, Victim.HOST_0, timeout_s=30)
    owner.kill()
    wait_until(
        lambda: team.ask(team.helper, session, "ledger.read", timeout_s=3).allowed,
        timeout_s=60,
        what="the workflow's owner to be back",
    )
    refused("delegation_used", team.client(team.helper).open_session, team.helper, parent=token)
    assert team.ask(team.helper, session).reason_code == "outside_delegation"


def question(agent: str, session: str) -> dict[str, Any]:
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.pay"},
        "context": {"session": session, "arguments": {"to": "a", "amount": 1}},
    }


def decisions(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["evaluations"]
    return found
