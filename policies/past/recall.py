"""What happened before a rule existed, as far as the record tells: ids and times, and no arguments.

An atom that is all `on` is known exactly. One with a CEL condition is possibly true, because nobody knows the arguments
any more; or untrue, where whoever activated the bundle said so (`--past lenient`). Where the record ends, anything may
have happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from policies import ledgers
from policies.action import Subject
from policies.bundle import Bundle
from policies.catalog import ResourceFacts
from policies.index import OnIndex
from policies.past.monitor import FAILED, SUCCEEDED, UNREPORTED
from policies.past.slices import Event
from policies.past.state import Open, Past, Remembered
from policies.prepare import resource_masks, subject_bits

_UNKNOWN = ResourceFacts()


class Recorded(NamedTuple):
    """One permitted action, as it is kept for rules to come.

    Args:
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
        bits = subject_bits(self._index, recorded.tenant, recorded.subject)
        bits &= self._index.keys["action"].of(recorded.action)
        possibly, certainly = possibly & bits, certainly & bits & ~self._conditioned
        if self._lenient:
            possibly &= ~self._conditioned
        return Event(recorded.time_us, possibly, certainly)

    def tell(
        self,
        past: Past,
        monitors: frozenset[int],
        accounts: frozenset[int],
        record: Iterable[Recorded],
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
            self._tell_one(told, Event(unknown_until_us, everything, 0), SUCCEEDED, True, accounts)
        for recorded in record:
            event = self.event(recorded)
            self._tell_one(told, event, recorded.outcome, recorded.witnessed, accounts)
        found: Remembered = told.settled
        for number in monitors:
            if number in found.slots:
                past.settled.slots[number] = found.slots[number]
            if number in found.slices:
                past.settled.slices[number] = found.slices[number]
        for number in accounts:
            if number in told.ledgers:
                past.ledgers[number] = told.ledgers[number]

    def _tell_one(
        self, told: Past, event: Event, outcome: int, witnessed: bool, accounts: frozenset[int]
    ) -> None:
        told.position += 1
        told.last_us = event.time_us
        assert outcome in (FAILED, SUCCEEDED, UNREPORTED)
        told.settled.take(
            told.program,
            told.scope,
            Open(event=event, position=told.position, outcome=outcome, witnessed=witnessed),
        )
        for number in accounts & frozenset(told.program.limited(told.scope, event.possibly)):
            limit = told.program.limits[number]
            ledger = told.ledgers.get(number, ledgers.EMPTY)
            if limit.counted == "sum":
                # How much it was is not known any more: until it has passed out of the window, nor is the sum.
                told.ledgers[number] = ledger._replace(overflowed_us=event.time_us)
            elif limit.counted == "actions" and limit.counts(event.certainly):
                key = b"" if limit.key is None else None
                told.ledgers[number] = ledgers.add(ledger, event.time_us, key, 1, limit.window)
