"""Event time as an owner tells it: never back, and never trusted when the wall clock cannot be."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DRIFT_US = 5_000_000
MAX_STEP_BACK_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class EventTime:
    """An event's time in microseconds since the epoch, and whether the clock behind it can be trusted."""

    us: int
    certain: bool


class OwnerClock:
    """max(last, wall clock), where "last" is persisted by the owner's journal.

    Args:
        last_us: the last event time in the journal; 0 for a new one.
        wall_us: the wall clock now.
        monotonic_us: the monotonic clock at the same moment.
    """

    def __init__(self, *, last_us: int, wall_us: int, monotonic_us: int) -> None:
        self._last_us = last_us
        self._offset_us = wall_us - monotonic_us
        # A journal that ends more than a day in the future means that the clock was set back over the restart.
        self._restarted_in_the_past = last_us - wall_us > MAX_STEP_BACK_US

    @property
    def last_us(self) -> int:
        return self._last_us

    def read(self, *, wall_us: int, monotonic_us: int) -> EventTime:
        """The time of an event that happens now. Cost: well below a microsecond.

        Not certain while the wall clock stands more than 5 s from where the monotonic clock says that it should
        be: the caller then denies with `clock_uncertain`.
        """
        drift_us = wall_us - monotonic_us - self._offset_us
        certain = abs(drift_us) <= MAX_DRIFT_US and not self._restarted_in_the_past
        # INVARIANT (order): event times of one owner never decrease, whatever the wall clock does. An uncertain
        # clock does not move event time at all, or one leap into the future would hold every window open for years.
        if certain and wall_us > self._last_us:
            self._last_us = wall_us
        return EventTime(self._last_us or wall_us, certain)
