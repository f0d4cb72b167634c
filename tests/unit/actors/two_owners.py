"""Two real owners in one process, and a replica's part of the work between them: an agent lives with the one, the
workflow of its session with the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unit.actors.owners import Bench, World

from actors import (
    delegations,
    outcomes,
    reconciliation,
    reservation_journal,
    reservations,
    sessions,
    settlements,
)
from actors.active_bundle import ActiveBundle
from actors.directory import Activation
from actors.messages import (
    BATCH,
    DECIDED,
    VOUCHED,
    Decided,
    DecisionRequest,
    DelegationRequest,
    Outcome,
    Reserved,
    SessionRequest,
    Settlement,
    Vouch,
)
from actors.vouching import vouch, vouch_for_agent
from controlplane.errors import UnavailableError
from policies.past.program import Scope
from policies.past.state import Past

CATALOG = """
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal}
  dlp.scan: {effects: [], data: [], boundary: internal}
  note.write: {effects: [], data: [], boundary: internal}
  mail.send: {effects: [send], data: [], boundary: external}
  bank.pay: {effects: [pay], data: [], boundary: external, args: {amount: {type: decimal}}}
---
kind: Policy
name: p
define:
  reads: {on: {data: pii}}
  sends: {on: {effect: send}}
  scanned: {on: {tool: dlp.scan}}
rules:
  - {id: all, then: allow}
"""
KEY = "default/agent/bot"
HOME, WORK = 1, 0


class TwoOwners:
    """`bot` lives at `home`; its session was delegated by `boss`, in a workflow that lives at `work`.

    Attributes:
        away: ordinals of owners that do not answer each other.
    """

    def __init__(self, folder: Path, *rules: str) -> None:
        self.world = World()
        self.rules = rules
        bundle = ActiveBundle.compile([("p.yaml", CATALOG + "".join(rules))])
        self.home = Bench(folder / "host-001.db", world=self.world, ordinal=HOME, bundle=bundle)
        self.work = Bench(folder / "host-000.db", world=self.world, ordinal=WORK, bundle=bundle)
        self.activations = 1
        self.away: set[int] = set()
        self.home.register("bot")
        self.work.register("boss")
        self.session = self.new_session()

    # -- what is there ---------------------------------------------------------------------------------------------

    def bench(self, ordinal: int) -> Bench:
        return self.home if ordinal == HOME else self.work

    def new_session(self, tools: tuple[str, ...] | None = None, depth: int = 0) -> str:
        """A session of `bot` in a new workflow of `boss`, which may use these tools; None = all."""
        owner = self.work.owner
        opened = sessions.open_session(owner, self._asked("boss", new_workflow=True))
        token = delegations.delegate(
            owner,
            DelegationRequest(
                tenant="default",
                session=str(opened["session"]),
                to="bot",
                tools=tools,
                depth=depth,
                expires_in_us=20 * 3_600_000_000,
                principal=None,
                key_id="k",
            ),
        )["token"]
        said = vouch_for_agent(self.home.owner, "default", "bot")
        child = delegations.open_child(owner, self._asked("bot", parent=token, vouch=said))
        return str(child["session"])

    def _asked(self, agent: str, **more: Any) -> SessionRequest:
        values: dict[str, Any] = {
            "tenant": "default",
            "subject_type": "agent",
            "subject_id": agent,
            "task_digest": None,
            "new_workflow": False,
            "key_id": "k",
        }
        return SessionRequest(**(values | more))

    def restart(self, ordinal: int) -> None:
        """What SIGKILL and Ray do."""
        bench = self.bench(ordinal)
        bench.owner.journal.close()
        bench.reopen()
        bench.owner.adopt(bench.bundle, Activation(bench.bundle.digest, self.activations))

    def activate(self, *rules: str, owners: Sequence[int] = (HOME, WORK)) -> None:
        self.activations += 1
        bundle = ActiveBundle.compile([("p.yaml", CATALOG + "".join(rules))])
        for ordinal in owners:
            bench = self.bench(ordinal)
            bench.bundle = bundle
            bench.owner.adopt(bundle, Activation(bundle.digest, self.activations))

    def pass_s(self, seconds: float) -> None:
        self.world.pass_s(seconds)
        self.home.renew_lease()
        self.work.renew_lease()

    # -- a replica's work ------------------------------------------------------------------------------------------

    def request(self, tool: str = "bank.pay", **more: Any) -> DecisionRequest:
        return self.home.request("bot", tool, **({"session": self.session} | more))

    def vouched(self, *requests: DecisionRequest) -> list[DecisionRequest]:
        tag, answers = vouch(self.home.owner, self.home.bundle.digest, [tuple(one) for one in requests])
        assert tag == BATCH and all(answer[0] == VOUCHED for answer in answers), answers
        return [one._replace(vouch=answer[1:]) for one, answer in zip(requests, answers, strict=True)]

    def settle(self, requests: Sequence[DecisionRequest], answers: Sequence[tuple[Any, ...]]) -> None:
        """Tell the home what an answer made of what it had reserved."""
        self.tell(settled(requests, answers))

    def tell(self, told: Sequence[Settlement]) -> None:
        reservations.settle(self.home.owner, [tuple(one) for one in told])

    def act(self, *requests: DecisionRequest, settle: bool = True) -> list[Decided]:
        """Everything that belongs to some actions, one after the other."""
        vouched = self.vouched(*requests)
        answers = self.work.decide(*vouched)
        if settle:
            self.settle(vouched, answers)
        assert all(answer[0] == DECIDED for answer in answers), answers
        return [Decided._make(answer[1:]) for answer in answers]

    def do(self, tool: str = "bank.pay", **more: Any) -> Decided:
        (decided,) = self.act(self.request(tool, **more))
        return decided

    def at_home(self, tool: str = "bank.pay", **more: Any) -> Decided:
        """An action of `bot` in its standing session."""
        (decided,) = self.home.decided(self.home.request("bot", tool, **more))
        return decided

    def report(
        self, decided: Decided, status: str = "succeeded", *, witness: bool = False, tell: bool = True
    ) -> Settlement | None:
        shown = outcomes.report_outcome(
            self.work.owner,
            Outcome(
                decision_id=decided.id,
                status=status,
                complete=True,
                labels=(),
                executed_digest=None,
                result_digest=None,
                key_id="k",
                witness=witness,
            ),
        )
        if "settlement" not in shown:
            return None
        told = Settlement._make(shown["settlement"])
        if tell:
            self.tell([told])
        return told

    # -- in the background -----------------------------------------------------------------------------------------

    def reconcile(self, ordinal: int) -> None:
        """One round of one owner."""

        async def ask(name: str, method: str, argument: Sequence[Any]) -> Any:
            other = int(name.removeprefix("host-"))
            if other in self.away:
                raise UnavailableError(f"`{name}` is away", code="owner_unreachable")
            owner = self.bench(other).owner
            if method == "settle":
                return reservations.settle(owner, argument)
            assert method == "fates", method
            return settlements.fates(owner, argument)

        asyncio.run(reconciliation.reconcile(self.bench(ordinal).owner, ask))

    # -- what there is to see ---------------------------------------------------------------------------------------

    def open(self) -> list[str]:
        return [one.id for one in reservation_journal.open_of_agent(self.home.owner.journal, KEY)]

    def waiting(self) -> list[Settlement]:
        """What the workflow's owner still wants to tell."""
        found = reservation_journal.waiting_settlements(
            self.work.owner.journal, self.world.wall_us + 1, limit=1_000
        )
        return found.get(HOME, [])

    def past(self) -> Past:
        """The agent's past at home."""
        return self.home.owner.pasts.of(Scope.AGENT, KEY, workflow="", records={})

    def recorded(self) -> list[tuple[str, str]]:
        """(tool, session) of what the record at home tells of the agent, in order."""
        return [
            (tool, session)
            for tool, session in self.home.owner.journal.read(
                "SELECT k.resource_id, h.session FROM history h JOIN kinds k ON k.id = h.kind"
                " WHERE h.agent = ? ORDER BY h.id",
                (KEY,),
            )
        ]


def reserved(request: DecisionRequest) -> Reserved | None:
    return settlements.reserved(request)


def refusal(request: DecisionRequest) -> str | None:
    assert request.vouch is not None
    return Vouch._make(request.vouch).refusal


def settled(requests: Sequence[DecisionRequest], answers: Sequence[tuple[Any, ...]]) -> list[Settlement]:
    """What a replica tells of its answers."""
    said = (settlements.settled(request, answer) for request, answer in zip(requests, answers, strict=True))
    return [one for one in said if one is not None and one.action is None]
