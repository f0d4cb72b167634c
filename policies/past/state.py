"""The past of one session, one workflow or one agent: what its monitors and budgets remember.

What was permitted is *taken in* in order. Two things stay beside it, in order, until they are settled: an action that
an owner elsewhere is still deciding (a reservation: it counts as permitted until it is cancelled), and the last action,
where a formula asks below another operator whether it succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from policies import ledgers
from policies.budget_bytes import Written
from policies.ledgers import Ledger
from policies.past.monitor import FAILED, SUCCEEDED, UNREPORTED, Slots
from policies.past.program import Limit, PastMonitor, Program, Scope
from policies.past.slices import Event, Slices, SliceStep

MOST_OPEN: Final = 32
"""Actions that one past may have open, those behind a reservation included; with as many, further ones are denied."""


@dataclass(slots=True, kw_only=True)
class Open:
    """An action that is not taken in yet.

    Attributes:
        outcome: FAILED, SUCCEEDED or UNREPORTED.
        witnessed: whether a key with the grant `witness` reported it.
        reservation: id of the reservation that has not been settled; "" = it is permitted.
    """

    event: Event
    position: int
    outcome: int = UNREPORTED
    witnessed: bool = False
    reservation: str = ""


class Stepped:
    """What is known, from looking at the very same state, of the state after an event.

    Attributes:
        slots: by monitor, those that were stepped one by one.
        slices: by monitor with keys.
        together: by scope, what changes of all monitors without keys that the event touches, where they were stepped
            together.
    """

    __slots__ = ("slices", "slots", "together")

    def __init__(self) -> None:
        self.slots: dict[int, Slots] = {}
        self.slices: dict[int, SliceStep] = {}
        self.together: dict[Scope, dict[int, Slots]] = {}


NOT_STEPPED: Final = Stepped()


class Remembered:
    """What monitors remember of the actions that were taken in; what is as it was at the beginning is left out."""

    __slots__ = ("slices", "slots")

    def __init__(
        self, slots: dict[int, Slots] | None = None, slices: dict[int, Slices] | None = None
    ) -> None:
        self.slots = slots if slots is not None else {}
        self.slices = slices if slices is not None else {}

    def copy(self) -> Remembered:
        return Remembered(dict(self.slots), {number: one.copy() for number, one in self.slices.items()})

    def truth(self, program: Program, number: int, event: Event, position: int) -> tuple[bool, Slots | None]:
        """(whether a monitor's formula holds at this event as if it were permitted, its slots after it).

        The slots are None where there is one state a value. Cost: one step.
        """
        one = program.monitors[number]
        if one.sliced is not None:
            slices = self.slices.get(number)
            if slices is None:
                slices = Slices(one.monitor.initial)
            return one.sliced.truth(slices, event, position), None
        slots = self.slots.get(number, one.monitor.initial)
        return one.monitor.step(slots, event.possibly, event.certainly, event.time_us, position, FAILED)

    def take(
        self,
        program: Program,
        scope: Scope,
        event: Event,
        position: int,
        outcome: int = UNREPORTED,
        *,
        witnessed: bool = False,
        stepped: Stepped = NOT_STEPPED,
    ) -> None:
        """Take a permitted action in.

        Args:
            outcome, witnessed: as in `Open`.
        Cost: one step for each monitor that the action's atoms touch and that is not stepped already.
        """
        time_us, possibly, certainly, _ = event
        kept = self.slots
        together = stepped.together.get(scope)
        if together is None:
            touched = program.touched(scope, possibly)
        else:
            touched = program.by_value(scope, possibly)
            for number, after in together.items():
                if after == program.monitors[number].monitor.initial:
                    kept.pop(number, None)
                else:
                    kept[number] = after
        for number in touched:
            one = program.monitors[number]
            initial = one.monitor.initial
            found = stepped.slots.get(number)
            if found is None:
                known = outcome
                if outcome == SUCCEEDED and one.witnessed and not witnessed:
                    known = UNREPORTED
                if one.sliced is not None:
                    slices = self._slices(number, one)
                    step = stepped.slices.get(number)
                    if step is not None:
                        one.sliced.put(slices, step, time_us)
                    else:
                        one.sliced.take(slices, event, position, known)
                    self._tidy(number, slices, initial)
                    continue
                before = kept.get(number, initial)
                found = one.monitor.step(before, possibly, certainly, time_us, position, known)[1]
            if found == initial:
                kept.pop(number, None)
            else:
                kept[number] = found

    def late(self, program: Program, scope: Scope, event: Event, position: int, *, witnessed: bool) -> None:
        """An action that was taken in turns out to have succeeded."""
        for number in program.touched(scope, event.possibly):
            one = program.monitors[number]
            if one.witnessed and not witnessed:
                continue
            if one.sliced is not None:
                slices = self._slices(number, one)
                one.sliced.late(slices, event, position)
                self._tidy(number, slices, one.monitor.initial)
                continue
            initial = one.monitor.initial
            before = self.slots.get(number, initial)
            after = one.monitor.late(before, event.possibly, event.certainly, event.time_us, position)
            if after == initial:
                self.slots.pop(number, None)
            else:
                self.slots[number] = after

    def _slices(self, number: int, one: PastMonitor) -> Slices:
        slices = self.slices.get(number)
        if slices is None:
            slices = self.slices[number] = Slices(one.monitor.initial)
        return slices

    def _tidy(self, number: int, slices: Slices, initial: Slots) -> None:
        if not slices.of and slices.overflowed_us < 0 and slices.base == initial:
            del self.slices[number]


class Past:
    """One scope instance: what was taken in, what is still open, in order, and the budgets.

    Attributes:
        ledgers: account of the program → what counts in it; what is open counts as well.
        position: of the last action; the first is 1.
        last_us: its time.
        written: by account, the ledger that was written last and its bytes: most actions change none
            (`policies.past.state_bytes`).
    """

    __slots__ = ("_view", "last_us", "ledgers", "open", "position", "program", "scope", "settled", "written")

    def __init__(self, program: Program, scope: Scope) -> None:
        self.program = program
        self.scope = scope
        self.settled = Remembered()
        self.open: list[Open] = []
        self.ledgers: dict[int, Ledger] = {}
        self.written: dict[int, tuple[Ledger, bytes, Written]] = {}
        self.position = 0
        self.last_us = 0
        self._view: Remembered | None = None

    def view(self) -> Remembered:
        """What monitors remember with everything open taken in. Cost: a copy after a change, where anything is open."""
        if not self.open:
            return self.settled
        if self._view is None:
            self._view = self.settled.copy()
            for opened in self.open:
                self._view.take(
                    self.program,
                    self.scope,
                    opened.event,
                    opened.position,
                    opened.outcome,
                    witnessed=opened.witnessed,
                )
        return self._view

    def permit(self, event: Event, *, stepped: Stepped = NOT_STEPPED, reservation: str = "") -> int:
        """An action was permitted, or may be by an owner elsewhere (`reservation`). Returns: its position."""
        self.position += 1
        self.last_us = event.time_us
        self._count(event, denied=False)
        if not self.open and not reservation and self.scope not in self.program.defers:
            self.settled.take(self.program, self.scope, event, self.position, stepped=stepped)
        else:
            self.open.append(Open(event=event, position=self.position, reservation=reservation))
            self._settle()
        return self.position

    def confirm(self, reservation: str) -> None:
        """The reserved action was permitted. Idempotent."""
        for opened in self.open:
            if opened.reservation == reservation:
                opened.reservation = ""
        self._settle()

    def cancel(self, reservation: str) -> None:
        """The reserved action was not permitted: it never happened. Idempotent."""
        for opened in self.open:
            if opened.reservation == reservation:
                self.give_back(opened.event)
        self.open = [one for one in self.open if one.reservation != reservation]
        self._settle()

    def reserved(self) -> frozenset[str]:
        """The reservations that are open."""
        return frozenset(one.reservation for one in self.open if one.reservation)

    def crowded(self) -> bool:
        """Whether no further action may be open here."""
        return len(self.open) >= MOST_OPEN

    def outcome(self, event: Event, position: int, *, succeeded: bool, witnessed: bool) -> None:
        """What an earlier action came to.

        Args:
            event: as it was permitted, with the atoms of this program.
        """
        for opened in self.open:
            # A past that was told by a record counts anew: the same position may be another action's.
            if opened.position == position and opened.event.time_us == event.time_us:
                opened.outcome = SUCCEEDED if succeeded else FAILED
                opened.witnessed = witnessed
                self._settle()
                return
        if succeeded:
            self.settled.late(self.program, self.scope, event, position, witnessed=witnessed)
        self._view = None

    def denied(self, event: Event) -> bool:
        """An action was denied: it did not happen, and limits on denials count it. Returns: whether one does."""
        return self._count(event, denied=True)

    def give_back(self, event: Event) -> None:
        """An action that counted in budgets was not executed."""
        for number in self.program.limited(self.scope, event.possibly):
            limit, ledger = self.program.limits[number], self.ledgers.get(number)
            if ledger is not None and limit.counted != "denials" and limit.counts(event.certainly):
                self.ledgers[number] = ledgers.give_back(
                    ledger, event.time_us, key_of(limit, event), amount_of(limit, event), limit.window
                )

    def _count(self, event: Event, *, denied: bool) -> bool:
        counted = False
        for number in self.program.limited(self.scope, event.possibly):
            limit = self.program.limits[number]
            window = limit.window
            if denied is not (limit.counted == "denials"):
                continue
            if not limit.counts(event.certainly):
                continue
            counted = True
            before = self.ledgers.get(number, ledgers.EMPTY)
            key, amount = key_of(limit, event), amount_of(limit, event)
            self.ledgers[number] = ledgers.add(before, event.time_us, key, amount, window, given_away=True)
        return counted

    def _settle(self) -> None:
        """Take in what is settled, from the oldest on."""
        self._view = None
        kept = 1 if self.scope in self.program.defers else 0
        taken = 0
        for opened in self.open:
            waits = len(self.open) - taken <= kept and opened.outcome == UNREPORTED
            if opened.reservation or waits:
                break
            self.settled.take(
                self.program,
                self.scope,
                opened.event,
                opened.position,
                opened.outcome,
                witnessed=opened.witnessed,
            )
            taken += 1
        del self.open[:taken]


def key_of(limit: Limit, event: Event) -> bytes | None:
    """Whose account: `b""` where the limit has one, None where the key is missing."""
    if limit.key is None:
        return b""
    key = event.measures.get(limit.key)
    return key if isinstance(key, bytes) else None


def amount_of(limit: Limit, event: Event) -> int | None:
    """What an action adds, in the units of `policies.quantities`, or 1 where actions are counted; None = no number."""
    if limit.amount is None:
        return 1
    amount = event.measures.get(limit.amount)
    return amount if isinstance(amount, int) else None
