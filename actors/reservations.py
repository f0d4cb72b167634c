"""What an agent's home holds for its actions that owners elsewhere decide, in workflows that live with them.

Clauses with scope `agent` are asked here, over the past that is here, and the action counts as permitted from then on,
so that two that race cannot each miss the other. It is held until somebody says what became of it: the replica at once,
the other owner in the background, or that owner when it is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from actors import reservation_journal
from actors.ids import agent_key, read_session_id, session_ordinal
from actors.journal import Transaction
from actors.live_agent import Seen, SeenKey
from actors.messages import DENIED, PERMITTED, DecisionRequest, Done, Reserved, Settlement
from actors.owner import Owner
from actors.owner_clock import EventTime
from actors.past_journal import HistoryRow, save_outcome
from actors.pasts import Name
from actors.records import AgentRecord
from actors.remembering import TOO_MANY_OPEN
from actors.reservation_journal import Reservation
from actors.uses import Used
from controlplane.errors import UnavailableError
from policies.bundle import Bundle
from policies.index import set_bits
from policies.past import state_bytes
from policies.past.look import Look
from policies.past.monitor import FAILED, SUCCEEDED
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past

log = logging.getLogger(__name__)


class Book:
    """What one batch reserves, collected so that it is written at once."""

    def __init__(self, time: EventTime) -> None:
        self.time = time
        self.rows: list[Reservation] = []

    def save(self, owner: Owner) -> None:
        """INVARIANT (reserved first): durable before the workflow's owner can hear of it. Cost: one fsync, if any."""
        if not self.rows:
            return
        with owner.journal.transaction() as step:
            reservation_journal.save_reservations(step, self.rows)
            names: list[Name] = [(Scope.AGENT, row.agent) for row in self.rows]
            owner.pasts.save(step, dict.fromkeys(names), now_us=self.time.us)
            step.set_meta("history_reserved", owner.pasts.newest())
            step.set_meta("event_time_us", self.time.us)


def reserve(owner: Owner, request: DecisionRequest, book: Book) -> Reserved | str | None:
    """Ask the clauses that look at all of the agent's sessions, as if the action were permitted, and let it count.

    Returns: what was found; a reason code where it must be denied; None for a session that does not live elsewhere.
    Cost: as for an action at home.
    """
    active = owner.active
    if active is None or request.session is None:
        return None
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    session = read_session_id(request.session, key=owner.settings.session_key, subject=key)
    if session is None or session.ordinal == owner.settings.ordinal:
        return None  # whoever decides refuses it
    program = active.program
    event = Event(
        book.time.us,
        request.possibly & program.relevant,
        request.certainly & program.relevant,
        dict(request.measures),
    )
    truths: tuple[tuple[str, int, bool], ...] = ()
    past: Past | None = None
    if Scope.AGENT in program.used:
        past = _past(owner, key)
        truths = tuple(_truths(active.bundle, past, event, request.possibly))
    touched = program.touched(Scope.AGENT, event.possibly) or program.limited(Scope.AGENT, event.possibly)
    if past is None or not (truths or touched):
        identity = "" if request.dry_run else owner.new_event_id(book.time.us)
        return Reserved(identity, active.digest, (), held=False)
    if past.crowded():
        return TOO_MANY_OPEN
    if request.dry_run:
        return Reserved("", active.digest, truths, held=False)
    identity = owner.new_event_id(book.time.us)
    row = Reservation(
        id=identity,
        agent=key,
        session=session.text,
        decider=session.ordinal,
        action=request.action,
        resource_type=request.resource_type,
        resource_id=request.resource_id,
        program=owner.pasts.number,
        event=state_bytes.encode_event(event),
        position=past.permit(event, reservation=identity),
        history=owner.pasts.next_id(),
        created_us=book.time.us,
    )
    book.rows.append(row)
    return Reserved(identity, active.digest, truths, held=True)


def settle(owner: Owner, raw: Sequence[tuple[Any, ...]]) -> bool:
    """Take in what became of reservations, and of the actions; what is known already changes nothing. Durable when it
    returns, whatever was new; what this owner does not know is acknowledged as well.

    Args:
        raw: `Settlement` tuples.
    Returns: True: all of it is acknowledged.
    Raises: UnavailableError: the active bundle is not there yet. JournalError.
    Cost: one fsync where anything is new.
    """
    # INVARIANT (single owner): an acknowledgement from an owner that was superseded would lose the settlement.
    owner.journal.refuse_fenced()
    news = [one for item in raw if _is_news(owner, one := Settlement._make(item))]
    if not news:
        return True
    if owner.active is None:
        raise UnavailableError("this owner is still compiling the active bundle", code="bundle_loading")
    work = _Settling(owner)
    try:
        with owner.journal.transaction() as step:
            for one in news:
                work.take(step, one)
            work.save(step)
        owner.uses.remember(work.used)
    except BaseException:
        # INVARIANT (forgotten): as for decisions.
        owner.forget_memory()
        raise
    return True


class _Settling:
    """One batch of settlements, in one transaction."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._now_us = owner.event_time().us
        self._known: dict[str, Reservation] = {}
        self._seen: dict[tuple[str, SeenKey], Seen] = {}
        self._changed: dict[Name, None] = {}
        self._stale: dict[Name, None] = {}
        self.used: Used = []
        self._missed: dict[Name, None] = {}

    def take(self, step: Transaction, said: Settlement) -> None:
        row = self._known.get(said.reservation) or reservation_journal.find_reservation(
            self._owner.journal, said.reservation
        )
        if row is None:
            row = self._happened(step, said)
        elif row.verdict is None:
            row = self._verdict(step, row, said.verdict)
        if said.outcome is not None and row.outcome is None and row.verdict == PERMITTED:
            row = self._outcome(step, row, said.outcome, witness=said.witness)
        self._known[row.id] = row
        reservation_journal.save_verdict(step, row)

    def save(self, step: Transaction) -> None:
        owner = self._owner
        self.used = owner.uses.write(
            step, (), [(agent, key, one) for (agent, key), one in self._seen.items()]
        )
        # What is out of date is told by the record, and what is still reserved there (`Pasts`).
        owner.pasts.drop(self._stale)
        owner.pasts.forget(step, self._stale)
        changed = [name for name in self._changed if name not in self._stale]
        owner.pasts.save(step, changed, now_us=self._now_us)
        if owner.shadow is not None:
            names = [*self._changed, *self._stale, *self._missed]
            owner.shadow.pasts.drop(names)
            owner.shadow.pasts.forget(step, names)
        step.set_meta("event_time_us", self._now_us)

    def _verdict(self, step: Transaction, row: Reservation, verdict: str) -> Reservation:
        past = self._past_of(row)
        if verdict == PERMITTED:
            if past is not None:
                past.confirm(row.id)
            self._record(step, row)
        elif past is not None:
            past.cancel(row.id)
            event = self._event(row) if verdict == DENIED else None
            if event is not None:
                past.denied(event._replace(time_us=self._now_us))
        return row._replace(verdict=verdict)

    def _happened(self, step: Transaction, said: Settlement) -> Reservation:
        """Something that touched no clause here, and does in the record: rules to come may ask for it."""
        assert said.action is not None, said
        owner, done = self._owner, Done._make(said.action)
        row = Reservation(
            id=said.reservation,
            agent=done.agent,
            session=done.session,
            decider=session_ordinal(done.session) or 0,
            action=done.action,
            resource_type=done.resource_type,
            resource_id=done.resource_id,
            program=owner.pasts.number,
            event=b"",
            position=0,
            history=owner.pasts.next_id(),
            created_us=self._now_us,
            verdict=PERMITTED,
        )
        reservation_journal.save_reservations(step, [row])
        self._record(step, row)
        self._missed[Scope.AGENT, row.agent] = None
        return row

    def _record(self, step: Transaction, row: Reservation) -> None:
        """It happened: for rules to come, and for whoever looks at what the agent does."""
        owner = self._owner
        # An agent's record is asked by agent alone: its workflow lives elsewhere, and has a record of its own there.
        recorded = HistoryRow(row.history, "", row.session, row.agent, row.created_us, row.kind)
        owner.pasts.record(step, [recorded])
        capability = owner.capability(row.resource_type, row.resource_id)
        key, seen = owner.agent(row.agent).see(row.kind, capability, row.created_us)
        self._seen[row.agent, key] = seen

    def _outcome(self, step: Transaction, row: Reservation, status: str, *, witness: bool) -> Reservation:
        succeeded = status == "succeeded"
        past, event = self._past_of(row), self._event(row)
        if past is not None and event is None:
            self._stale[Scope.AGENT, row.agent] = None
        elif past is not None and event is not None:
            past.outcome(event, row.position, succeeded=succeeded, witnessed=witness)
            if status == "not_executed" and witness:
                past.give_back(event)
        save_outcome(step, row.history, outcome=SUCCEEDED if succeeded else FAILED, witnessed=witness)
        return row._replace(outcome=status)

    def _past_of(self, row: Reservation) -> Past | None:
        """The agent's past; None where the active bundle does not look at it."""
        name: Name = (Scope.AGENT, row.agent)
        active = self._owner.active
        if active is None or Scope.AGENT not in active.program.used:
            self._stale[name] = None
            return None
        self._changed[name] = None
        return _past(self._owner, row.agent)

    def _event(self, row: Reservation) -> Event | None:
        pasts, records = self._owner.pasts, _records(self._owner, row.agent)
        if not row.event:
            return pasts.as_recorded(row.created_us, row.agent, row.kind, records)
        event = state_bytes.decode_event(row.event)
        return pasts.translated(row.program, event, row.agent, row.kind, records)


def _is_news(owner: Owner, said: Settlement) -> bool:
    row = reservation_journal.find_reservation(owner.journal, said.reservation)
    if row is None:
        return said.action is not None and said.verdict == PERMITTED
    if row.verdict is None:
        return True
    if (row.verdict == PERMITTED) is not (said.verdict == PERMITTED):
        # Whoever decides has one word (`reservation_journal`), so this does not happen.
        log.error("reservation %s is %s here, and now it is said to be %s", row.id, row.verdict, said.verdict)
        return False
    return said.outcome is not None and row.outcome is None and row.verdict == PERMITTED


def _truths(bundle: Bundle, past: Past, event: Event, possibly: int) -> Iterator[tuple[str, int, bool]]:
    """What the clauses with scope `agent` say, of the rules whose atom matches."""
    program = bundle.program
    look = Look(program, {Scope.AGENT: past}, event)
    for atom in set_bits(possibly & bundle.asked):
        for number in bundle.asked_of_atom[atom]:
            rule = bundle.rules[number]
            if rule.past is not None and program.monitors[rule.past].scope is Scope.AGENT:
                yield "past", rule.past, look.truth(rule.past)
            if rule.limit is not None and program.limits[rule.limit].scope is Scope.AGENT:
                yield "limit", rule.limit, look.level(rule.limit).exceeded


def _past(owner: Owner, key: str) -> Past:
    return owner.pasts.of(Scope.AGENT, key, workflow="", records=_records(owner, key))


def _records(owner: Owner, key: str) -> dict[str, AgentRecord | None]:
    return {key: owner.agent(key).record}
