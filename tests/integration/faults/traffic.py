"""Clients that ask without pause over real HTTP, retry under idempotency keys, and write down what they are told."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from integration.faults.questions import question, told_of
from integration.faults.record import Record, Reported, Told
from integration.plane import Running

from actors.ids import agent_key
from actors.placement import host_name, host_of

HOSTS = 2
AGENTS_AN_OWNER = 4
DEDICATED = 2
CLIENTS_AN_OWNER = 2
DEADLINES_MS = (800, 1500, 3000)
# A client waits longer than its deadline: that nobody else ends its request, it wants to see.
BEYOND_DEADLINE_S = 6.0
# Within the life of an allow, so that a repeated key finds the decision and not that it is over.
RETRY_FOR_S = 20.0
PACE_S = 0.01
SEVERAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Agents of one owner (or the dedicated ones), and the clients that ask for them alone: what happens to one owner
    is not to be felt by the clients of another."""

    owner: str
    agents: tuple[str, ...]


DEDICATED_GROUP = "dedicated"


def register(running: Running) -> list[Group]:
    """Agents for each host, and dedicated ones."""
    client = running.client(timeout_s=30)
    groups: list[Group] = []
    names = (f"fault-{number}" for number in range(10_000))
    wanted: dict[int, list[str]] = {index: [] for index in range(HOSTS)}
    while any(len(agents) < AGENTS_AN_OWNER for agents in wanted.values()):
        name = next(names)
        agents = wanted[host_of(agent_key("default", "agent", name), HOSTS)]
        if len(agents) < AGENTS_AN_OWNER:
            agents.append(name)
    for index, agents in wanted.items():
        for name in agents:
            client.request("POST", "/v1/agents", {"id": name})
        groups.append(Group(owner=host_name(index), agents=tuple(agents)))
    alone = tuple(f"alone-{number}" for number in range(DEDICATED))
    for name in alone:
        client.request("POST", "/v1/agents", {"id": name, "isolation": "dedicated"})
        # Registered means that its owner decides.
        first = client.decide(agent=name, tool="ledger.pay", arguments={"to": "a", "amount": 1})
        assert first.allowed, first
    groups.append(Group(owner=DEDICATED_GROUP, agents=alone))
    return groups


@dataclass(slots=True)
class Traffic:
    """Starts with `start`, ends with `stop`; in between nobody helps it along."""

    running: Running
    groups: list[Group]
    seed: int
    record: Record = field(default_factory=Record)
    stopping: threading.Event = field(default_factory=threading.Event)
    broken: list[BaseException] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def agents(self) -> list[str]:
        return [agent for group in self.groups for agent in group.agents]

    def start(self) -> None:
        for group in self.groups:
            for number in range(CLIENTS_AN_OWNER):
                name = f"{group.owner}-{number}"
                client = _Client(self, group, name, random.Random(f"{self.seed} {name}"))
                self._threads.append(threading.Thread(target=client.run, name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(timeout=max(DEADLINES_MS) / 1000 + BEYOND_DEADLINE_S + 10)
            assert not thread.is_alive(), f"client `{thread.name}` hangs"
        assert not self.broken, self.broken


class _Client:
    """One thread's clients's work."""

    def __init__(self, traffic: Traffic, group: Group, name: str, rng: random.Random) -> None:
        self._traffic, self._group, self._name, self._rng = traffic, group, name, rng
        self._record = traffic.record
        self._asked = 0
        self._http = httpx.Client(
            base_url=traffic.running.url,
            headers={"Authorization": f"Bearer {traffic.running.key}"},
            trust_env=False,
        )

    def run(self) -> None:
        try:
            while not self._traffic.stopping.is_set():
                self._one_action()
                self._traffic.stopping.wait(PACE_S)
        except BaseException as error:
            self._traffic.broken.append(error)
            raise

    def _one_action(self) -> None:
        rng = self._rng
        if rng.random() < 0.1:
            self._ask_for_several()
            return
        call = self._next_call()
        agent = rng.choice(self._group.agents)
        amount = rng.choice((1, 20, 5000))
        key = f"key-{call}" if rng.random() < 0.5 else None
        told = self._ask(agent, amount, call, key)
        if key is not None:
            told = self._until_answered(agent, amount, call, key, told)
            if told.id and rng.random() < 0.2:
                self._ask(agent, amount, call, key)  # asks again though it was answered
        if told.permitted and rng.random() < 0.3:
            self._report(agent, told.id)
            if key is not None and rng.random() < 0.3:
                self._ask(agent, amount, call, key)  # after the outcome: over, and a deny

    def _until_answered(self, agent: str, amount: int, call: str, key: str, told: Told) -> Told:
        until_s = time.monotonic() + RETRY_FOR_S
        while not told.id and time.monotonic() < until_s and not self._traffic.stopping.wait(0.1):
            told = self._ask(agent, amount, call, key)
        return told

    def _next_call(self) -> str:
        self._asked += 1
        return f"{self._name}-{self._traffic.seed}-{self._asked}"

    def _ask(self, agent: str, amount: int, call: str, key: str | None) -> Told:
        deadline_ms = self._rng.choice(DEADLINES_MS)
        sent_s = time.monotonic()
        status, answer = self._post("/access/v1/evaluation", question(agent, amount, call, key), deadline_ms)
        told = told_of(agent, amount, call, key, deadline_ms, sent_s, status, answer)
        assert (status == 200) == bool(told.id), (status, answer)
        self._record.add(told)
        return told

    def _ask_for_several(self) -> None:
        """One call of `evaluations`: its items are decided together or not at all."""
        deadline_ms = self._rng.choice(DEADLINES_MS)
        asked = [
            (self._rng.choice(self._group.agents), self._rng.choice((1, 5000)), self._next_call())
            for _ in range(SEVERAL)
        ]
        body = {"evaluations": [question(*item, key=None) for item in asked]}
        sent_s = time.monotonic()
        status, answer = self._post("/access/v1/evaluations", body, deadline_ms)
        items = answer.get("evaluations", [answer] * SEVERAL)
        assert len(items) == SEVERAL, answer
        for (agent, amount, call), item in zip(asked, items, strict=True):
            refused = item.get("context", {}).get("error", {})
            told = told_of(
                agent, amount, call, None, deadline_ms, sent_s, refused.get("status", status), item
            )
            assert (told.status == 200) == bool(told.id), (status, item)
            self._record.add(told)

    def _report(self, agent: str, decision: str) -> None:
        """Until it is acknowledged; a 409 after an attempt without an answer says that that one was recorded."""
        until_s = time.monotonic() + RETRY_FOR_S
        unanswered = False
        while time.monotonic() < until_s:
            self._record.outcome(decision, acknowledged=False)
            sent_s, deadline_ms = time.monotonic(), self._rng.choice(DEADLINES_MS)
            status, answer = self._post(
                f"/v1/decisions/{decision}/outcome", {"status": "succeeded"}, deadline_ms
            )
            self._record.add_report(
                Reported(
                    agent=agent,
                    deadline_s=deadline_ms / 1000,
                    sent_s=sent_s,
                    ended_s=time.monotonic(),
                    status=status,
                )
            )
            if status == 200 or (status == 409 and unanswered):
                self._record.outcome(decision, acknowledged=True)
                return
            assert status in (0, 503) or not answer, f"an outcome was refused with {status}: {answer}"
            unanswered = True
            if self._traffic.stopping.wait(0.1):
                return

    def _post(self, path: str, body: object, deadline_ms: int) -> tuple[int, dict[str, Any]]:
        try:
            response = self._http.post(
                path,
                json=body,
                headers={"X-Deadline-Ms": str(deadline_ms)},
                timeout=deadline_ms / 1000 + BEYOND_DEADLINE_S,
            )
        except httpx.HTTPError as error:
            return 0, {"error": {"code": type(error).__name__}}
        if response.status_code in (429, 503):
            assert int(response.headers["retry-after"]) >= 1, (response.headers, response.text)
        try:
            answer = response.json()
        except ValueError:
            answer = {}  # not ours: what HAProxy or Serve say for a replica that is away
        return response.status_code, answer if isinstance(answer, dict) else {}
