"""Two owners that decide one agent's actions, with messages that are lost, late or repeated and owners that die: in the
end they agree, and no bound was ever passed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from unit.actors.two_owners import HOME, WORK, TwoOwners, refusal, reserved, settled

from actors import outcomes
from actors.messages import DECIDED, Decided, DecisionRequest, Outcome, Settlement
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past

MOST_PAYS, MOST_SUM = 3, 40
RULES = (
    f"  - {{id: pays, on: {{tool: bank.pay}}, limit: {{count: actions, per: 24h, scope: agent, above: {MOST_PAYS}}},"
    " then: deny}\n",
    f"  - {{id: sum, on: {{tool: bank.pay}}, limit: {{sum: args.amount, per: 24h, scope: agent, above: {MOST_SUM}}},"
    " then: deny}\n",
    "  - {id: no-send, on: {tool: mail.send}, past: 'sends and once[1h] reads', scope: agent, then: deny}\n",
    "  - {id: scan, on: {tool: mail.send}, past: 'sends and (not done(scanned) since reads)', scope: agent,"
    " then: deny}\n",
    "  - {id: scan-first, on: {tool: mail.send}, past: 'not once[1h] done(scanned)', scope: agent, then: deny}\n",
    # What the workflow's owner denies on its own.
    "  - {id: read-once, on: {tool: crm.read}, past: 'previous reads', permitted_is_done: true, then: deny}\n",
)
# No rule over all of the agent's sessions is touched by a note: its home is told of it by and by.
NOTE = "note.write"
TOOLS = ("bank.pay", "bank.pay", "crm.read", "mail.send", "dlp.scan", NOTE)
tools = st.sampled_from(TOOLS)
amounts = st.sampled_from([1, 10, 25])
statuses = st.sampled_from(["succeeded", "failed", "not_executed"])


@dataclass(slots=True)
class Happening:
    """One action in the order in which the agent's home has them; `permitted`: None = nobody has decided yet."""

    tool: str
    event: Event
    amount: int
    permitted: bool | None
    decision: str = ""
    at_home: bool = False
    outcome: str | None = None
    witness: bool = False

    @property
    def given_back(self) -> bool:
        return self.outcome == "not_executed" and self.witness


class TwoOwnersMachine(RuleBasedStateMachine):
    """What a replica and the owners may do, in any order."""

    vouched = Bundle("vouched")
    told = Bundle("told")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="two-owners-")
        self.two = TwoOwners(Path(self.folder.name), *RULES)
        self.sessions = [self.two.session, self.two.new_session()]
        self.order: list[Happening] = []
        self.held: dict[str, Happening] = {}
        self.notes = 0

    # -- deciding --------------------------------------------------------------------------------------------------

    @rule(target=vouched, tool=tools, amount=amounts, session=st.integers(0, 1), heard=st.booleans())
    def vouch(self, tool: str, amount: int, session: int, heard: bool) -> Any:
        """`heard`: whether the answer comes back."""
        two = self.two
        deadline_us = two.world.wall_us + 3_600_000_000
        request = two.request(
            tool, session=self.sessions[session], deadline_us=deadline_us, **_arguments(tool, amount)
        )
        (request,) = two.vouched(request)
        held = reserved(request)
        if held is None:
            assert refusal(request) == "too_many_pending" and two.past().crowded()
            return request if heard else multiple()
        assert held.held is (tool != NOTE)
        if held.held:
            happening = Happening(tool, self._event(request), amount, None)
            self.order.append(happening)
            self.held[held.id] = happening
        return request if heard else multiple()

    @rule(target=told, request=vouched, heard=st.booleans())
    def decide(self, request: DecisionRequest, heard: bool) -> Any:
        """May come late, and more than once."""
        (answer,) = self.two.work.decide(request)
        assert answer[0] == DECIDED
        decided, held = Decided._make(answer[1:]), reserved(request)
        if held is None:
            assert decided.effect == "deny"
            return multiple()
        if not held.held:
            self.notes += decided.effect == "allow"
        else:
            happening = self.held[held.id]
            if decided.effect == "allow":
                assert happening.permitted is None, "two decisions of one reservation"
                happening.permitted, happening.decision = True, decided.id
            elif happening.permitted is None:
                happening.permitted = False
        return multiple(*settled([request], [answer])) if heard else multiple()

    @rule(tool=tools, amount=amounts)
    def act_at_home(self, tool: str, amount: int) -> None:
        two = self.two
        request = two.home.request("bot", tool, **_arguments(tool, amount))
        (decided,) = two.home.decided(request)
        if decided.effect == "allow":
            happening = Happening(tool, self._event(request), amount, True, decided.id, at_home=True)
            self.order.append(happening)

    def _event(self, request: DecisionRequest) -> Event:
        relevant = self.two.home.bundle.program.relevant
        return Event(
            self.two.world.wall_us,
            request.possibly & relevant,
            request.certainly & relevant,
            dict(request.measures),
        )

    # -- what came of it --------------------------------------------------------------------------------------------

    @rule(target=told, pick=st.integers(0, 30), status=statuses, witness=st.booleans(), heard=st.booleans())
    def report(self, pick: int, status: str, witness: bool, heard: bool) -> Any:
        done = [one for one in self.order if one.permitted and one.outcome is None]
        if not done:
            return multiple()
        happening = done[pick % len(done)]
        happening.outcome, happening.witness = status, witness
        owner = self.two.home.owner if happening.at_home else self.two.work.owner
        outcome = Outcome(happening.decision, status, True, (), None, None, "k", witness)
        shown = outcomes.report_outcome(owner, outcome)
        if "settlement" not in shown:
            return multiple()
        return Settlement._make(shown["settlement"]) if heard else multiple()

    @rule(settlement=told)
    def settle(self, settlement: Settlement) -> None:
        """May come late, and more than once."""
        self.two.tell([settlement])

    @rule(settlement=consumes(told))
    def lose(self, settlement: Settlement) -> None:
        pass

    @rule(request=consumes(vouched))
    def give_up(self, request: DecisionRequest) -> None:
        """The replica is gone: nobody sends it any more."""

    # -- the world ---------------------------------------------------------------------------------------------------

    @rule(ordinal=st.sampled_from([HOME, WORK]))
    def die(self, ordinal: int) -> None:
        self.two.restart(ordinal)

    @rule(seconds=st.sampled_from([0.1, 2.5, 6]))
    def wait(self, seconds: float) -> None:
        self.two.pass_s(seconds)

    @rule(ordinal=st.sampled_from([HOME, WORK]), alone=st.booleans())
    def reconcile(self, ordinal: int, alone: bool) -> None:
        self.two.away = {HOME, WORK} - {ordinal} if alone else set()
        self.two.reconcile(ordinal)
        self.two.away = set()

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def no_bound_is_passed(self) -> None:
        pays = [one for one in self.order if one.tool == "bank.pay" and one.permitted and not one.given_back]
        assert len(pays) <= MOST_PAYS
        assert sum(one.amount for one in pays) <= MOST_SUM

    def teardown(self) -> None:
        two = self.two
        try:
            two.pass_s(10)
            for ordinal in (HOME, WORK, HOME, WORK):
                two.reconcile(ordinal)
            assert two.open() == [] and two.waiting() == []
            happened = [one for one in self.order if one.permitted]
            recorded = [tool for tool, _ in two.recorded()]
            assert [tool for tool in recorded if tool != NOTE] == [
                one.tool for one in happened if one.tool != NOTE
            ]
            at_home = sum(one.tool == NOTE for one in happened)
            assert recorded.count(NOTE) == at_home + self.notes
            self._same_past(happened)
            two.restart(HOME)
            self._same_past(happened)
        finally:
            two.home.owner.journal.close()
            two.work.owner.journal.close()
            self.folder.cleanup()

    def _same_past(self, happened: list[Happening]) -> None:
        """The past at home is that of exactly what was permitted, in that order."""
        program = self.two.home.bundle.program
        naive = Past(program, Scope.AGENT)
        positions = [naive.permit(one.event) for one in happened]
        for one, position in zip(happened, positions, strict=True):
            if one.outcome is not None:
                naive.outcome(
                    one.event, position, succeeded=one.outcome == "succeeded", witnessed=one.witness
                )
            if one.given_back:
                naive.give_back(one.event)
        found = self.two.past()
        assert not found.reserved()
        for tool in sorted(set(TOOLS)):
            probe = self._event(self.two.home.request("bot", tool, **_arguments(tool, 1)))
            looks = [Look(program, {Scope.AGENT: past}, probe) for past in (found, naive)]
            for number, monitor in enumerate(program.monitors):
                if monitor.scope is Scope.AGENT:
                    here, there = (look.truth(number) for look in looks)
                    assert here is there, (tool, monitor.monitor.text)
            for number, limit in enumerate(program.limits):
                here_, there_ = (look.level(number) for look in looks)
                assert here_ == there_, (tool, limit)


def _arguments(tool: str, amount: int) -> dict[str, Any]:
    return {"arguments": {"amount": amount}} if tool == "bank.pay" else {}


TestTwoOwners = TwoOwnersMachine.TestCase
TestTwoOwners.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
