"""What happened before a rule existed, as far as the record tells: ids and times, and no arguments.

An atom that is all `on` is known exactly. One with a CEL condition is possibly true, because nobody knows the arguments
any more; or untrue, where whoever activated the bundle said so (`--past lenient`). Where the record ends, anything may
have happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from policies import ledgers
from policies.action import Subject
from policies.bundle import Bundle
from policies.catalog import ResourceFacts
from policies.index import OnIndex
from policies.past.monitor import FAILED, SUCCEEDED, UNREPORTED
from policies.past.slices import Event
from policies.past.state import Past, Remembered, amount_of, key_of
from policies.prepare import resource_masks, subject_bits, unlabelled_masks

_UNKNOWN = ResourceFacts()


class Recorded(NamedTuple):
    """One permitted action, as it is kept for rules to come.

    Args:
        labels_known: whether the subject's labels are those that it has; without them any may be.
        outcome: FAILED, SUCCEEDED or UNREPORTED. witnessed: by a key with the grant `witness`.
    """

    time_us: int
    tenant: str
    subject: Subject
    action: str
    resource_type: str
    resource_id: str
    outcome: int
    witnessed: bool
    labels_known: bool = True


class Recall:
    """Tells recorded actions to new monitors and accounts. One a bundle.

    Args:
        lenient: whether conditions count as untrue of what was before.
    """

    def __init__(self, bundle: Bundle, *, lenient: bool) -> None:
        self._bundle = bundle
        self._index = OnIndex(bundle.atoms)
        self._conditioned = 0
        for number, atom in enumerate(bundle.atoms):
            if atom.when is not None:
                self._conditioned |= 1 << number
        self._lenient = lenient

    def event(self, recorded: Recorded) -> Event:
        """A recorded action with this bundle's atoms; it has no keys and no amounts."""
        facts = self._bundle.catalog.facts(recorded.resource_type, recorded.resource_id) or _UNKNOWN
        possibly, certainly = resource_masks(self._index, recorded.resource_type, recorded.resource_id, facts)
        if recorded.labels_known:
            may = must = subject_bits(self._index, recorded.tenant, recorded.subject)
        else:
            may, must = unlabelled_masks(self._index, recorded.tenant, recorded.subject)
        named = self._index.keys["action"].of(recorded.action)
        possibly, certainly = possibly & may & named, certainly & must & named & ~self._conditioned
        if self._lenient:
            possibly &= ~self._conditioned
        return Event(recorded.time_us, possibly, certainly)

    def tell(
        self,
        past: Past,
        monitors: frozenset[int],
        accounts: frozenset[int],
        record: Sequence[Recorded],
        *,
        unknown_until_us: int,
    ) -> None:
        """Have new monitors and accounts of a past remember what the record tells.

        Args:
            monitors, accounts: their numbers; those of other scopes are left out.
            record: what happened in this past's scope, in order.
            unknown_until_us: where the record begins; 0 = it is complete.
        Cost: about a microsecond for each monitor and recorded action.
        """
        program, scope = past.program, past.scope
        monitors = frozenset(one for one in monitors if program.monitors[one].scope is scope)
        accounts = frozenset(
            one for one in accounts if program.limits[one].scope is scope and program.account_of[one] == one
        )
        if not monitors and not accounts:
            return
        told = Past(program, scope)
        if unknown_until_us and not self._lenient:
            everything = (1 << len(self._bundle.atoms)) - 1
            unknown = Event(unknown_until_us, everything, 0)
            # `previous` below `previous` asks for one after the other; each has a slot.
            for _ in range(
                1 + max((len(program.monitors[one].monitor.initial) for one in monitors), default=0)
            ):
                self._tell_one(told, unknown, SUCCEEDED, True)
            for number in accounts:
                if program.limits[number].counted != "denials":
                    told.ledgers[number] = ledgers.EMPTY._replace(overflowed_us=unknown_until_us)
        # The last one stands where it stood or behind: an outcome that is still to come names places of its own.
        told.position = max(told.position, past.position - len(record))
        for recorded in record:
            event = self.event(recorded)
            self._tell_one(told, event, recorded.outcome, recorded.witnessed)
            self._count(told, event, accounts)
        # What it remembers is not later than its last action: it may be written before another is permitted.
        past.last_us = max(past.last_us, told.last_us)
        found: Remembered = told.settled
        for number in monitors:
            if number in found.slots:
                past.settled.slots[number] = found.slots[number]
            if number in found.slices:
                past.settled.slices[number] = found.slices[number]
        for number in accounts:
            if number in told.ledgers:
                past.ledgers[number] = told.ledgers[number]
        for opened in past.open:
            # Not taken in yet, and counted all the same: whoever cancels it gives back what it added.
            self._count(past, opened.event, accounts)

    def _tell_one(self, told: Past, event: Event, outcome: int, witnessed: bool) -> None:
        told.position += 1
        told.last_us = event.time_us
        assert outcome in (FAILED, SUCCEEDED, UNREPORTED)
        told.settled.take(told.program, told.scope, event, told.position, outcome, witnessed=witnessed)

    def _count(self, past: Past, event: Event, accounts: frozenset[int]) -> None:
        for number in accounts & frozenset(past.program.limited(past.scope, event.possibly)):
            limit = past.program.limits[number]
            ledger = past.ledgers.get(number, ledgers.EMPTY)
            amount = amount_of(limit, event)
            if limit.counted == "sum" and amount is None:
                # How much it was is not known any more: until it has passed out of the window, nor is the sum.
                past.ledgers[number] = ledger._replace(overflowed_us=event.time_us)
            elif limit.counted != "denials" and limit.counts(event.certainly):
                key = key_of(limit, event)
                past.ledgers[number] = ledgers.add(ledger, event.time_us, key, amount, limit.window)
