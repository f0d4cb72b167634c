"""What the past costs an owner with each durable decision: CPU time, in batches of 64, over a real journal."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.active_bundle import ActiveBundle
from actors.agent_journal import open_agent_journal
from actors.deciding import decide
from actors.directory import Activation, Directory
from actors.messages import DECIDED
from actors.owner import Owner, OwnerSettings
from actors.registration import register_agent
from actors.world import REAL
from benchmarks.decision_requests import decision_request
from benchmarks.past import rules
from policies.prepare import Preparer

BATCH = 64
PLAIN = "without them"
KEYED = "all look, none holds; 900 keys each"
_AGENTS = [f"bench-{number:03}" for number in range(BATCH)]
_KEYED_AGENTS = 4
"""So many take turns where each has many keys: the others would take minutes to get theirs."""


def measure(*, batches: int, rounds: int) -> dict[str, float]:
    """µs of CPU time for one decision, by kind of rules: the median over batches, owners taking turns.

    Each of the 64 decisions of a batch is another agent's, so that as many pasts are written; all are everyday actions.
    """
    with TemporaryDirectory(prefix="controlplane-bench-") as folder:
        benches = {
            PLAIN: OwnerBench(Path(folder), "plain", rules.plain_sources()),
            rules.MIXED: OwnerBench(Path(folder), "mixed", rules.sources_of(rules.MIXED)),
            rules.NONE_HOLDS: OwnerBench(Path(folder), "none", rules.sources_of(rules.NONE_HOLDS)),
            KEYED: OwnerBench(
                Path(folder), "keyed", rules.sources_of(rules.NONE_HOLDS), agents=_KEYED_AGENTS
            ),
        }
        benches[KEYED].pay_everybody()
        spent: dict[str, list[float]] = {kind: [] for kind in benches}
        for turn in range(rounds):
            for kind, bench in benches.items():
                for number in range(batches):
                    found = bench.batch_us(turn * batches + number)
                    if turn:  # the first round fills caches
                        spent[kind].append(found)
        for bench in benches.values():
            bench.owner.journal.close()
    return {kind: round(statistics.median(found), 1) for kind, found in spent.items()}


@dataclass(slots=True)
class OwnerBench:
    """One owner and its agents, and a replica's part of the work, done beforehand."""

    folder: Path
    name: str
    sources: list[tuple[str, str]]
    agents: int = BATCH
    owner: Owner = field(init=False)
    directory: Directory = field(init=False)
    preparer: Preparer = field(init=False)
    versions: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        bundle = ActiveBundle.compile(self.sources)
        self.directory = Directory()
        journal = open_agent_journal(self.folder / f"{self.name}.db", new_log_id=f"host-000.{self.name}")
        settings = OwnerSettings(name="host-000", ordinal=0, session_key=b"s" * 32, evidence_backlog=1 << 40)
        self.owner = Owner(settings, journal, self.directory, REAL)
        self.owner.adopt(bundle, Activation(bundle.digest, 1))
        self.preparer = Preparer(bundle.bundle)
        self._renew_lease()
        self.versions = {
            agent: register_agent(
                self.owner, "default", agent, {"id": agent, "owner": "bench"}, key_id="bench"
            )["record_version"]
            for agent in _AGENTS[: self.agents]
        }

    def batch_us(self, number: int) -> float:
        """Decide the next 64 actions; the CPU time of one."""
        actions = rules.everyday()
        requests = [
            self._request(_AGENTS[place % self.agents], *actions[(number + place) % len(actions)])
            for place in range(BATCH)
        ]
        return self._decided(requests) / BATCH

    def pay_everybody(self) -> None:
        """Have each agent create and pay every payee once."""
        actions = [one for one in rules.round_of_payees() if one[0] in ("bank.create", "bank.pay")]
        for first in range(0, len(actions), BATCH):
            for agent in self.versions:
                self._decided([self._request(agent, *one) for one in actions[first : first + BATCH]])

    def _decided(self, requests: list[tuple[object, ...]]) -> float:
        self._renew_lease()
        digest = self.owner.activation.digest
        assert digest is not None
        began_ns = time.process_time_ns()
        answers = decide(self.owner, digest, requests)[1]
        spent_ns = time.process_time_ns() - began_ns
        assert all(answer[0] == DECIDED for answer in answers), answers
        self.owner.journal.trim(landed_seq=self.owner.journal.next_seq - 1)
        return spent_ns / 1000

    def _renew_lease(self) -> None:
        self.directory.apply(0, (None, 0), [], sent_s=REAL.monotonic_us() / 1e6)

    def _request(self, agent: str, tool: str, arguments: dict[str, Any]) -> tuple[object, ...]:
        now_us = REAL.wall_us()
        prepared = self.preparer.prepare(rules.action(tool, arguments, now_us=now_us))
        return decision_request(
            agent,
            self.versions[agent],
            tool,
            prepared,
            now_us=now_us,
            masked_arguments='{"to":"string(22)","amount":"string(5)"}',
        )
