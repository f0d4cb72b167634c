"""An owner without Ray, over a real journal, in a world that stands still unless told otherwise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from hashlib import shake_256
from pathlib import Path
from typing import Any

from actors.active_bundle import ActiveBundle
from actors.agent_journal import open_agent_journal
from actors.bounds import OUTCOME_TIMEOUT_S
from actors.deciding import decide
from actors.directory import Activation, Directory
from actors.messages import BATCH, DECIDED, Decided, DecisionRequest
from actors.owner import Owner, OwnerSettings, Surroundings
from actors.placement import host_name
from actors.registration import register_agent
from policies.action import Action, Resource, Subject
from policies.prepare import Preparer

POLICY = """
kind: Catalog
tools:
  ledger.read: {system: ledger, effects: [read], data: [financial], boundary: internal}
  ledger.pay: {system: ledger, effects: [pay, write], boundary: external, data: [], args: {amount: {type: decimal}}}
---
kind: Policy
name: spine
define:
  reads_money: {on: {effect: read, data: financial}}
rules:
  - {id: everyday, on: {tool: ledger.*}, then: allow}
  - {id: too-much, on: {tool: ledger.pay}, when: args.amount > 1000.0, then: deny, because: too much, controls: [sox/x]}
"""

START_US = 1_790_000_000_000_000
SESSION_KEY = b"s" * 32


@dataclass(slots=True)
class World:
    """A clock that a test moves, and randomness that counts."""

    wall_us: int = START_US
    monotonic_us: int = 1_000_000
    counter: Any = field(default_factory=lambda: itertools.count(1))

    def pass_s(self, seconds: float) -> None:
        self.wall_us += int(seconds * 1e6)
        self.monotonic_us += int(seconds * 1e6)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            wall_us=lambda: self.wall_us,
            monotonic_us=lambda: self.monotonic_us,
            random_bytes=lambda n: shake_256(str(next(self.counter)).encode()).digest(n),
        )


@dataclass(slots=True)
class Bench:
    """One owner of agents, and a replica's part of the work."""

    path: Path
    world: World = field(default_factory=World)
    directory: Directory = field(default_factory=Directory)
    awake_limit: int = 100
    evidence_backlog: int = 10_000
    outcome_timeout_s: int = OUTCOME_TIMEOUT_S
    ordinal: int = 0
    bundle: ActiveBundle = field(default_factory=lambda: ActiveBundle.compile([("p.yaml", POLICY)]))
    owner: Owner = field(init=False)

    def __post_init__(self) -> None:
        self.reopen()
        self.owner.adopt(self.bundle, Activation(self.bundle.digest, 1))
        self.renew_lease()

    def reopen(self) -> None:
        """What a restart does: a new owner over the same journal."""
        name = host_name(self.ordinal)
        journal = open_agent_journal(self.path, new_log_id=f"{name}.test")
        settings = OwnerSettings(
            name=name,
            ordinal=self.ordinal,
            session_key=SESSION_KEY,
            awake_limit=self.awake_limit,
            evidence_backlog=self.evidence_backlog,
            outcome_timeout_s=self.outcome_timeout_s,
        )
        self.owner = Owner(settings, journal, self.directory, self.world.surroundings())
        if self.owner.activation.digest == self.bundle.digest:
            self.owner.active = self.bundle

    def renew_lease(self) -> None:
        self.directory.apply(0, (None, 0), [], sent_s=self.world.monotonic_us / 1e6)

    def register(self, agent: str, **more: Any) -> dict[str, Any]:
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in more.items()}
        return register_agent(self.owner, "default", agent, given, key_id="k")

    def version(self, agent: str) -> int:
        record = self.owner.record("default", "agent", agent)
        return record.record_version if record else 0

    def request(
        self,
        agent: str = "bot",
        tool: str = "ledger.pay",
        arguments: dict[str, Any] | None = None,
        *,
        record_version: int | None = None,
        **more: Any,
    ) -> DecisionRequest:
        """Prepared as a replica does it."""
        arguments = {"amount": 1} if arguments is None and tool == "ledger.pay" else arguments or {}
        prepared = Preparer(self.bundle.bundle).prepare(
            Action(
                tenant="default",
                subject=Subject(type="agent", id=agent),
                name="call",
                resource=Resource(type="tool", id=tool),
                arguments=arguments,
                now_us=self.world.wall_us,
            )
        )
        values: dict[str, Any] = {
            "tenant": "default",
            "subject_type": "agent",
            "subject_id": agent,
            "record_version": self.version(agent) if record_version is None else record_version,
            "session": None,
            "action": "call",
            "resource_type": "tool",
            "resource_id": tool,
            "possibly": prepared.possibly,
            "certainly": prepared.certainly,
            "refusal": prepared.refusal,
            "detail": prepared.detail,
            "arguments_digest": str(sorted(arguments.items())).encode().ljust(32)[:32],
            "evidence_digest": b"e" * 32,
            "masked_arguments": "{}",
            "idempotency_key": None,
            "deadline_us": self.world.wall_us + 5_000_000,
            "received_us": self.world.wall_us,
            "dry_run": False,
            "key_id": "k",
            "trace_id": None,
            "span_id": None,
            "tool_call_id": None,
            "group": 0,
            "stop_on": None,
            "measures": prepared.measures,
        }
        return DecisionRequest(**(values | more))

    def decide(self, *requests: DecisionRequest) -> list[tuple[Any, ...]]:
        tag, answers = decide(self.owner, self.bundle.digest, [tuple(request) for request in requests])
        assert tag == BATCH
        found: list[tuple[Any, ...]] = answers
        return found

    def decided(self, *requests: DecisionRequest) -> list[Decided]:
        answers = self.decide(*requests)
        assert all(answer[0] == DECIDED for answer in answers), answers
        return [Decided._make(answer[1:]) for answer in answers]

    def rows(self) -> list[dict[str, Any]]:
        """The evidence in the journal, in order."""
        import orjson

        return [
            orjson.loads(canonical)
            for _, canonical, _ in self.owner.journal.pending(after_seq=-1, limit=10_000)
        ]
