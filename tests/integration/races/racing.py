"""Races between two owners over real HTTP, with hosts killed in between: what one request reads another must not send,
and what all of an agent's sessions may do together is never done once too often.

What counts is the evidence table, read afterwards: clients may not have heard what was decided.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from integration.faults.victims import Victim, found, wait_found
from integration.plane import Running, wait_until

from actors.ids import agent_key
from actors.placement import host_name, host_of

HOSTS = 2
MOST_PAYS = 4
POLICY = f"""
kind: Catalog
tools:
  race.read: {{effects: [read], data: [pii], boundary: internal}}
  race.send: {{effects: [send], data: [], boundary: external}}
  race.pay: {{effects: [pay], data: [], boundary: external}}
  race.rest: {{effects: [], data: [], boundary: internal}}
---
kind: Policy
name: races
define:
  reads: {{on: {{tool: race.read}}}}
  sends: {{on: {{tool: race.send}}}}
rules:
  - {{id: all, on: {{tool: race.*}}, then: allow}}
  - {{id: no-send-after-read, past: sends and once reads, then: deny}}
  - id: most-pays
    on: {{tool: race.pay}}
    limit: {{count: actions, per: 24h, scope: agent, above: {MOST_PAYS}}}
    then: deny
  # Never reached: but so each read and each send away from home has to be reserved there.
  - id: far-too-many
    on: {{tool: [race.read, race.send]}}
    limit: {{count: actions, per: 1h, scope: agent, above: 1000000}}
    then: deny
"""

_WORKERS = 6
_GIVE_UP_S = 120.0
_SETTLED_S = 60.0
_PAYER_SESSIONS = 3
_PAYS_AT_ONCE = 3
_WORKFLOWS_A_PAYER = 12
"""How many workflows are raced for each agent that pays."""


@dataclass(slots=True)
class Raced:
    """What was raced, and what clients were told."""

    workflows: int = 0
    payers: int = 0
    kills: int = 0
    told: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, kw_only=True)
class Found:
    """What the table says."""

    workflows: int
    both: int  # workflows that sent, and then read
    reads: int
    sends: int
    pays: int
    away: int  # of these pays, those in workflows that live elsewhere than their agents


class Races:
    """Races on one running control plane whose active bundle is `POLICY`.

    Args:
        workflows: how many are raced in at least; for each dozen of them one agent that pays.
        kill_every_s: between the death of one host and that of the next; 0 = none dies.
    """

    def __init__(self, running: Running, *, workflows: int, kill_every_s: float, seed: int) -> None:
        self._running = running
        self._workflows = workflows
        self._kill_every_s = kill_every_s
        self._random = random.Random(seed)
        self._name = f"race-{seed}-{time.time_ns() % 1_000_000}"
        self._stopping = threading.Event()
        self._broken: list[BaseException] = []
        self.raced = Raced()
        self.agents = [self._agents_of(host, "worker", 3) for host in range(HOSTS)]
        self.payers: list[str] = []

    def _agents_of(self, host: int, stem: str, count: int) -> list[str]:
        names = (f"{self._name}-{stem}-{number}" for number in range(10_000))
        here = (name for name in names if host_of(agent_key("default", "agent", name), HOSTS) == host)
        return [next(here) for _ in range(count)]

    def run(self, say: Callable[[str], None]) -> None:
        """Race, while hosts die; then wait until nothing is open, and spend what is left of each budget.

        Raises: AssertionError: the control plane did not come back by itself.
        """
        killer = threading.Thread(target=self._kill, daemon=True)
        if self._kill_every_s:
            killer.start()
        try:
            asyncio.run(self._race(say))
        finally:
            self._stopping.set()
            if self._kill_every_s:
                killer.join(90)
        assert not self._broken, self._broken
        asyncio.run(self._spend_the_rest())

    def _kill(self) -> None:
        settings = self._running.settings
        victims = (Victim.HOST_0, Victim.HOST_1)
        try:
            while not self._stopping.wait(self._kill_every_s * self._random.uniform(0.7, 1.3)):
                victim = victims[self._random.randrange(HOSTS)]
                before = frozenset(one.pid for one in found(settings, victim))
                for process in wait_found(settings, victim, timeout_s=60):
                    process.kill()
                self.raced.kills += 1
                wait_found(settings, victim, other_than=before, timeout_s=60)
        except BaseException as error:
            self._broken.append(error)
            raise

    # -- racing ------------------------------------------------------------------------------------------------------

    async def _race(self, say: Callable[[str], None]) -> None:
        async with self._http() as http:
            client = _Client(http, self.raced.told)
            for agent in (name for agents in self.agents for name in agents):
                await client.register(agent)
            numbers = self._numbers()
            began_s = time.monotonic()

            async def work(worker: int) -> None:
                rng = random.Random(f"{self._name} {worker}")
                for number in numbers:
                    await self._one_workflow(client, rng)
                    self.raced.workflows += 1
                    if number % _WORKFLOWS_A_PAYER == 0:
                        await self._one_payer(client, number)
                    if number and number % 250 == 0:
                        took_s = time.monotonic() - began_s
                        say(f"{number:6d} workflows after {took_s:5.0f} s, {self.raced.kills} hosts killed")

            await asyncio.gather(*(work(worker) for worker in range(_WORKERS)))

    def _numbers(self) -> Iterator[int]:
        """Of the workflows to be raced: as many as were asked for, and more until a host has died in between."""
        for number in itertools.count():
            if number >= self._workflows and (self.raced.kills or self._broken or not self._kill_every_s):
                return
            yield number

    async def _one_workflow(self, client: _Client, rng: random.Random) -> None:
        """A parent at one host, its delegate's home the other; both read and send at once."""
        host = rng.randrange(HOSTS)
        parent, helper = rng.choice(self.agents[host]), rng.choice(self.agents[1 - host])
        root = await client.open_session(parent)
        session = await client.child(root, helper)
        asked = [(parent, root, "race.read"), (helper, session, "race.send")]
        asked += rng.sample([(helper, session, "race.read"), (parent, root, "race.send")], k=rng.randrange(3))
        if rng.random() < 0.5:
            asked[:2] = [(parent, root, "race.send"), (helper, session, "race.read")]
        rng.shuffle(asked)

        async def ask(agent: str, of: str, tool: str) -> None:
            await asyncio.sleep(rng.uniform(0, 0.004))
            await client.ask(agent, tool, of)

        await asyncio.gather(*(ask(*one) for one in asked))

    async def _one_payer(self, client: _Client, number: int) -> None:
        """An agent that pays from several workflows and from home at once, more often than it may."""
        (payer,) = self._agents_of(number // _WORKFLOWS_A_PAYER % HOSTS, f"payer-{number}", 1)
        host = host_of(agent_key("default", "agent", payer), HOSTS)
        await client.register(payer)
        sessions: list[str | None] = [None]
        for parent in self.agents[1 - host][:_PAYER_SESSIONS]:
            sessions.append(await client.child(await client.open_session(parent), payer))
        self.payers.append(payer)
        self.raced.payers += 1
        await asyncio.gather(
            *(client.ask(payer, "race.pay", one) for one in sessions for _ in range(_PAYS_AT_ONCE))
        )

    # -- afterwards ----------------------------------------------------------------------------------------------------

    async def _spend_the_rest(self) -> None:
        """Nothing may be left open: every budget can be spent to its end, from away as from home, and no further."""
        async with self._http() as http:
            client = _Client(http, self.raced.told)
            away = {}
            for payer in self.payers:
                host = host_of(agent_key("default", "agent", payer), HOSTS)
                away[payer] = await client.child(await client.open_session(self.agents[1 - host][0]), payer)
            deadline_s = time.monotonic() + _SETTLED_S
            turn = 0
            while left := [payer for payer, times in self._pays().items() if times < MOST_PAYS]:
                assert time.monotonic() < deadline_s, f"{left} cannot spend their budgets"
                turn += 1
                for payer in left:
                    await client.ask(payer, "race.pay", away[payer] if turn % 2 else None)
            for payer in self.payers:
                for session in (None, away[payer]):
                    told = await client.ask(payer, "race.pay", session)
                    assert told == "rule_deny", f"`{payer}` paid {MOST_PAYS} times, and then: {told}"

    def _pays(self) -> dict[str, int]:
        """How often each agent was permitted to pay."""
        self._running.wait_until_landed(timeout_s=60)
        rows = self._running.table_rows(
            "SELECT agent_id, count(*) AS times FROM evidence WHERE event_type = 'decision' AND decision = 'allow'"
            f" AND resource_id = 'race.pay' AND agent_id LIKE '{self._name}-%' GROUP BY agent_id"
        )
        return dict.fromkeys(self.payers, 0) | {row["agent_id"]: int(row["times"]) for row in rows}

    def found(self) -> Found:
        """Look at the table. Raises: AssertionError: something was permitted that must not be."""
        self._running.wait_until_landed(timeout_s=60)
        rows = self._running.table_rows(
            "SELECT workflow_id, agent_id, resource_id, log_id, seq FROM evidence WHERE event_type = 'decision'"
            f" AND decision = 'allow' AND agent_id LIKE '{self._name}-%' ORDER BY log_id, seq"
        )
        return examined(rows)

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._running.url,
            headers={"Authorization": f"Bearer {self._running.key}"},
            trust_env=False,
            timeout=20,
        )


def examined(rows: Iterable[dict[str, Any]]) -> Found:
    """What the permitted actions are, in the order of their logs; a workflow's are all in one.

    Raises: AssertionError: a workflow sent after it had read, or an agent paid too often.
    """
    order: dict[str, list[str]] = defaultdict(list)
    logs: dict[str, set[str]] = defaultdict(set)
    pays: Counter[str] = Counter()
    tools: Counter[str] = Counter()
    away = 0
    for row in rows:
        tools[row["resource_id"]] += 1
        if row["resource_id"] == "race.pay":
            home = host_name(host_of(agent_key("default", "agent", row["agent_id"]), HOSTS))
            pays[row["agent_id"]] += 1
            away += not row["log_id"].startswith(home)
            continue
        order[row["workflow_id"]].append(row["resource_id"])
        logs[row["workflow_id"]].add(row["log_id"])
    assert all(len(one) == 1 for one in logs.values()), "a workflow is decided by one owner"
    slipped = [
        workflow
        for workflow, done in order.items()
        if "race.read" in done and "race.send" in done[done.index("race.read") :]
    ]
    assert not slipped, f"{len(slipped)} workflows sent what they had read: {slipped[:3]}"
    too_often = {agent: times for agent, times in pays.items() if times > MOST_PAYS}
    assert not too_often, f"agents paid more than {MOST_PAYS} times: {too_often}"
    return Found(
        workflows=len(order),
        both=sum(len(set(done)) == 2 for done in order.values()),
        reads=tools["race.read"],
        sends=tools["race.send"],
        pays=tools["race.pay"],
        away=away,
    )


class _Client:
    """Asks, and asks again where a lost answer would leave nothing to race."""

    def __init__(self, http: httpx.AsyncClient, told: Counter[str]) -> None:
        self._http = http
        self._told = told

    async def ask(self, agent: str, tool: str, session: str | None) -> str:
        """One attempt, whatever comes of it. Returns: its reason code."""
        context = {"arguments": {}} if session is None else {"session": session, "arguments": {}}
        body = {
            "subject": {"type": "agent", "id": agent},
            "action": {"name": "call"},
            "resource": {"type": "tool", "id": tool},
            "context": context,
        }
        status, answer = await self._post("/access/v1/evaluation", body, deadline_ms=3000)
        reason = str(answer.get("context", {}).get("reason_code") or answer.get("error", {}).get("code"))
        self._told[reason if status == 200 else f"{status} {reason}"] += 1
        return reason

    async def register(self, agent: str) -> None:
        await self._until_made("/v1/agents", {"id": agent})

    async def open_session(self, agent: str) -> str:
        return str((await self._until_made("/v1/sessions", {"agent": agent}))["session"])

    async def child(self, session: str, to: str) -> str:
        """A delegate's session; a token whose answer was lost is used up, and another is asked for."""
        deadline_s = time.monotonic() + _GIVE_UP_S
        while True:
            given = await self._until_made("/v1/delegations", {"session": session, "to": to})
            status, answer = await self._post("/v1/sessions", {"agent": to, "parent": given["token"]})
            if status == 201:
                return str(answer["session"])
            assert time.monotonic() < deadline_s, answer
            await asyncio.sleep(0.1)

    async def _until_made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        deadline_s = time.monotonic() + _GIVE_UP_S
        while True:
            status, answer = await self._post(path, body)
            if status == 201:
                return answer
            assert status in (0, 500, 503) and time.monotonic() < deadline_s, (status, answer)
            await asyncio.sleep(0.1)

    async def _post(
        self, path: str, body: dict[str, Any], *, deadline_ms: int = 5000
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = await self._http.post(path, json=body, headers={"X-Deadline-Ms": str(deadline_ms)})
        except httpx.HTTPError as error:
            return 0, {"error": {"code": type(error).__name__}}
        try:
            answer = response.json()
        except ValueError:
            answer = {}  # not ours: what HAProxy or Serve say for a replica that is away
        return response.status_code, answer if isinstance(answer, dict) else {}


def activate(running: Running) -> str:
    """Activate the policies that are raced under. Returns: the digest of those before."""
    client = running.client(timeout_s=60)
    before = client.request("GET", "/v1/bundles")["active"]
    body = {"sources": [{"name": "races.yaml", "text": POLICY}], "activate": True}
    assert client.request("POST", "/v1/bundles", body)["lagging"] == []
    return str(before)


def restore(running: Running, digest: str) -> None:
    def active() -> bool:
        answer = running.client(timeout_s=60).request("POST", f"/v1/bundles/{digest}/activate")
        return bool(answer["lagging"] == [])

    wait_until(active, timeout_s=60, what="the policies of before")


def summary(raced: Raced, table: Found) -> list[str]:
    return [
        f"{raced.workflows} workflows raced with {raced.kills} hosts killed: {table.reads} reads and {table.sends}"
        f" sends permitted, both in {table.both} workflows, never a send after a read",
        f"{raced.payers} agents paid {table.pays} times in all ({table.away} away from home), each at most {MOST_PAYS}"
        " times",
        "clients heard: " + ", ".join(f"{reason} {count}" for reason, count in raced.told.most_common()),
    ]
