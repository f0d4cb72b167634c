"""`by`: one small state for each value, so that a formula speaks of the *same* account, customer or file.

A slice sees the events that bind its value: those where an atom with a key holds and its key has that value. In it an
atom with another value does not hold. Where the key is missing or could not be evaluated, the event is possibly one of
every slice, so it counts in each slice of a restricting rule and in none of an allowing one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from policies.past.monitor import FAILED, Monitor, Slots

MOST_SLICES: Final = 1_000
"""Of one rule in one scope; past it a value that is not there counts as matched where that restricts."""

Measured: TypeAlias = bytes | int | None
"""A key's digest, an exact amount (`policies.quantities`), or None: missing, failed, or not a number."""


class Event(NamedTuple):
    """One action as the past sees it.

    Args:
        possibly, certainly: bit i = atom i of the bundle.
        measures: number of a measure of the bundle → its value, for those whose atom possibly holds.
    """

    time_us: int
    possibly: int
    certainly: int
    measures: Mapping[int, Measured] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Which atoms of a formula have a key: (bit in events, bit in the monitor, number of the measure).

    The two bits differ where names with different keys stand for the same atom: "paid to" and "paid from" are one tool.
    `renamed` says that some do.
    """

    of: tuple[tuple[int, int, int], ...]
    mask: int
    renamed: bool = False

    def bound(self, event: Event) -> tuple[Collection[bytes], bool]:
        """(the values that an event binds, whether a key is missing)."""
        values: list[bytes] = []
        missing = False
        for bit, _, measure in self.of:
            if event.possibly & bit:
                value = event.measures.get(measure)
                if isinstance(value, bytes):
                    if value not in values:
                        values.append(value)
                else:
                    missing = True
        return values, missing

    def seen_by(self, event: Event, value: bytes | None) -> tuple[int, int]:
        """(possibly, certainly) in the slice of one value; None = of a value that the event does not name."""
        _, possible, certain, measures = event
        possibly, certainly = possible, certain
        for bit, own, measure in self.of:
            holds, surely = possible & bit, certain & bit
            if holds:
                key = measures.get(measure)
                if not isinstance(key, bytes):
                    surely = 0
                elif key != value:
                    holds = surely = 0
            possibly = possibly | own if holds else possibly & ~own
            certainly = certainly | own if surely else certainly & ~own
        return possibly, certainly


class SliceStep(NamedTuple):
    """What the slice of one value is stepped to."""

    value: bytes
    slots: Slots


class Slices:
    """The states of one monitor by value.

    Attributes:
        base: what a value that was never bound has seen: the events without a key alone.
        of: value → slots, where they differ from `base`.
        overflowed_us: when a value last found no room; -1 = never. What came then was not kept, so that until the
            formula looks back no further a value without a slice is unknown, not new.
        doubts: value → when somebody last had found no room before it came in: it may lack what came then.
    """

    __slots__ = ("base", "doubts", "of", "overflowed_us", "scanned_us")

    def __init__(
        self,
        base: Slots,
        of: dict[bytes, Slots] | None = None,
        overflowed_us: int = -1,
        doubts: dict[bytes, int] | None = None,
    ) -> None:
        self.base = base
        self.of = of if of is not None else {}
        self.overflowed_us = overflowed_us
        self.doubts = doubts if doubts is not None else {}
        self.scanned_us = -1

    def copy(self) -> Slices:
        copied = Slices(self.base, dict(self.of), self.overflowed_us, dict(self.doubts))
        copied.scanned_us = self.scanned_us
        return copied

    def unknown(self, value: bytes, now_us: int, reach_us: int | None) -> bool:
        """Whether this value may have a past that was not kept."""
        since_us = self.doubts.get(value, -1) if value in self.of else self.overflowed_us
        return _reaches(since_us, now_us, reach_us)

    def incomplete(self, now_us: int, reach_us: int | None) -> bool:
        """Whether there may be such a value at all."""
        # No doubt is younger than what it comes from.
        return _reaches(self.overflowed_us, now_us, reach_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced:
    """A monitor with keys.

    Attributes:
        reach_us: how far the formula looks back; None = as far as the scope goes.
    """

    monitor: Monitor
    keys: Keys
    restricting: bool
    reach_us: int | None

    def truth(self, slices: Slices, event: Event, position: int) -> bool:
        """Whether the formula holds in one of the slices that the event is seen by.

        Cost: one step for each value bound (usually one); for an event without a key, one for each slice.
        """
        return self.look(slices, event, position)[0]

    def look(self, slices: Slices, event: Event, position: int) -> tuple[bool, SliceStep | None]:
        """`truth`, and the step of the slice that it rests on, where that is all that a permission would change."""
        values, missing = self.keys.bound(event)
        step = self.monitor.step
        _, p, c, _ = event
        alone = (
            len(values) == 1 and not missing and not self.keys.renamed
        )  # the slice sees all that the event has
        for value in values:
            if self._no_room(slices, value, event.time_us):
                if self.restricting:
                    return True, None
                continue
            if not alone:
                p, c = self.keys.seen_by(event, value)
            truth, after = step(slices.of.get(value, slices.base), p, c, event.time_us, position, FAILED)
            if alone:
                return truth, SliceStep(value, after)
            if truth:
                return True, None
        if not missing or not self.restricting:
            return False, None
        if slices.incomplete(event.time_us, self.reach_us):
            return True, None
        p, c = self.keys.seen_by(event, None)
        truth = any(
            step(slots, p, c, event.time_us, position, FAILED)[0]
            for slots in (slices.base, *slices.of.values())
        )
        return truth, None

    def put(self, slices: Slices, step: SliceStep, now_us: int) -> None:
        """Take a permitted event in that was looked at."""
        self._put(slices, step.value, step.slots, now_us)

    def take(self, slices: Slices, event: Event, position: int, outcome: int) -> None:
        """Take a permitted event in."""
        step, t = self.monitor.step, event.time_us
        self._advance(slices, event, lambda slots, p, c: step(slots, p, c, t, position, outcome)[1])

    def late(self, slices: Slices, event: Event, position: int) -> None:
        """An event that was taken in has succeeded."""
        late, t = self.monitor.late, event.time_us
        self._advance(slices, event, lambda slots, p, c: late(slots, p, c, t, position))

    def _advance(self, slices: Slices, event: Event, advanced: Callable[[Slots, int, int], Slots]) -> None:
        values, missing = self.keys.bound(event)
        now_us = event.time_us
        if missing:
            # It may be about any value: about those without a slice, too, which is what `base` is for.
            before = {**slices.of, **{value: slices.of.get(value, slices.base) for value in values}}
            slices.base = advanced(slices.base, *self.keys.seen_by(event, None))
            for value, slots in before.items():
                self._put(slices, value, advanced(slots, *self.keys.seen_by(event, value)), now_us)
            return
        _, p, c, _ = event
        alone = len(values) == 1 and not self.keys.renamed  # its slice sees all that the event has
        for value in values:
            if value not in slices.of and slices.unknown(value, now_us, self.reach_us):
                slices.doubts[value] = slices.overflowed_us
            slots = slices.of.get(value, slices.base)
            if not alone:
                p, c = self.keys.seen_by(event, value)
            self._put(slices, value, advanced(slots, p, c), now_us)

    def _no_room(self, slices: Slices, value: bytes, now_us: int) -> bool:
        if slices.unknown(value, now_us, self.reach_us):
            return True
        return (
            value not in slices.of and len(slices.of) >= MOST_SLICES and not self._make_room(slices, now_us)
        )

    def _put(self, slices: Slices, value: bytes, slots: Slots, now_us: int) -> None:
        if slots == slices.base:
            slices.of.pop(value, None)
            slices.doubts.pop(value, None)
        elif value in slices.of or len(slices.of) < MOST_SLICES or self._make_room(slices, now_us):
            slices.of[value] = slots
        else:
            # What comes late was earlier: it takes nothing back of what found no room since.
            slices.overflowed_us = max(slices.overflowed_us, now_us)
            slices.doubts.pop(value, None)

    def _make_room(self, slices: Slices, now_us: int) -> bool:
        """Forget the slices in which nothing is left to remember: what they hold is what a new one would.

        Looked for at most once a thousandth of the reach, so that a flood of values does not cost a scan each.
        """
        if self.reach_us is None or now_us - slices.scanned_us < self.reach_us // MOST_SLICES:
            return False
        slices.scanned_us = now_us
        base = self._settled(slices.base, now_us)
        for value in [one for one, slots in slices.of.items() if self._settled(slots, now_us) == base]:
            del slices.of[value]
            slices.doubts.pop(value, None)
        return len(slices.of) < MOST_SLICES

    def _settled(self, slots: Slots, now_us: int) -> Slots:
        """The slots without what has passed out of every window."""
        if not self.monitor.skippable:
            return slots
        return self.monitor.step(slots, 0, 0, now_us, 0, FAILED)[1]


def _reaches(since_us: int, now_us: int, reach_us: int | None) -> bool:
    return since_us >= 0 and (reach_us is None or now_us - since_us <= reach_us)
