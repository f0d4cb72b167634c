"""One owner in this process, with agents in sessions, for benchmarks that measure what an owner spends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from actors.active_bundle import ActiveBundle
from actors.agent_journal import open_agent_journal
from actors.deciding import decide
from actors.directory import Activation, Directory
from actors.messages import DECIDED, SessionRequest
from actors.owner import Owner, OwnerSettings
from actors.registration import register_agent
from actors.sessions import open_session
from actors.world import REAL
from benchmarks.cpu import spent_us
from benchmarks.decision_requests import decision_request
from policies.action import Action, Json, Resource, Subject
from policies.origin import TokenHasher
from policies.prepare import Prepared, Preparer

BATCH: Final = 64
ALLOW: Final = ("policy.yaml", "kind: Policy\nname: everything\nrules: [{id: all, then: allow}]\n")


class OneOwner:
    """An owner with an agent and a session for each place in a batch, and a replica's preparer.

    Args:
        folder: where its journal goes.
        sources: (file name, text) of the bundle that it decides with.
        hasher: of the replica, for bundles that ask where values came from.
        session: what a session is opened with beyond its agent (`told`, `basis`).
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        sources: Sequence[tuple[str, str]],
        *,
        hasher: TokenHasher | None = None,
        **session: Any,
    ) -> None:
        title = name.replace(" ", "-")
        bundle = ActiveBundle.compile([*sources, ("bundle.yaml", f"kind: Bundle\nname: {title}\n")])
        self.preparer = Preparer(bundle.bundle, hasher=hasher)
        self._directory = Directory()
        settings = OwnerSettings(name="host-000", ordinal=0, session_key=b"s" * 32, evidence_backlog=1 << 40)
        journal = open_agent_journal(folder / f"{name}.db", new_log_id="host-000.bench")
        self.owner = Owner(settings, journal, self._directory, REAL)
        self.renew_lease()
        self.owner.adopt(bundle, Activation(bundle.digest, 1))
        self._agents: list[tuple[str, int, str]] = []
        for number in range(BATCH):
            agent = f"bench-{number:03}"
            given = {"id": agent, "owner": "benchmark"}
            version = register_agent(self.owner, "default", agent, given, key_id="bench")["record_version"]
            request = SessionRequest("default", "agent", agent, b"t" * 32, True, "bench", **session)
            self._agents.append((agent, version, open_session(self.owner, request)["session"]))

    def renew_lease(self) -> None:
        self._directory.apply(0, (None, 0), [], sent_s=REAL.monotonic_us() / 1e6)

    def decide(self, tool: str, prepared: Prepared, *, masked_arguments: str) -> tuple[float, list[Any]]:
        """One action of each agent, in one batch; all must be allowed. Returns: µs a decision, and the answers."""
        requests = [
            decision_request(
                agent, version, tool, prepared,
                now_us=REAL.wall_us(), masked_arguments=masked_arguments, session=session,
            )
            for agent, version, session in self._agents
        ]  # fmt: skip
        digest = self.owner.activation.digest
        assert digest is not None
        answers: list[Any] = []
        cost_us = spent_us(lambda: answers.extend(decide(self.owner, digest, requests)[1] or ()))
        assert all(one[0] == DECIDED and one[2] == "allow" for one in answers), answers[0]
        return cost_us / BATCH, answers

    def forget_evidence(self) -> None:
        """As if it had landed."""
        while self.owner.journal.trim(landed_seq=self.owner.journal.next_seq - 1):
            pass


def action_of(tool: str, arguments: dict[str, Json]) -> Action:
    """A call of a tool, now."""
    return Action(
        tenant="default",
        subject=Subject(type="agent", id="bench-000"),
        name="call",
        resource=Resource(type="tool", id=tool),
        arguments=arguments,
        now_us=REAL.wall_us(),
    )
