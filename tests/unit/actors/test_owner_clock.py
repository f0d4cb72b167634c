"""Event time never goes back, and an unreliable wall clock is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.owner_clock import MAX_STEP_BACK_US, OwnerClock

S = 1_000_000


def test_event_time_follows_the_wall_clock() -> None:
    clock = OwnerClock(last_us=0, wall_us=100 * S, monotonic_us=0)
    assert clock.read(wall_us=101 * S, monotonic_us=1 * S).us == 101 * S


def test_event_time_does_not_go_back_with_the_wall_clock() -> None:
    clock = OwnerClock(last_us=0, wall_us=100 * S, monotonic_us=0)
    clock.read(wall_us=103 * S, monotonic_us=3 * S)
    assert clock.read(wall_us=102 * S, monotonic_us=4 * S).us == 103 * S


def test_a_wall_clock_that_leaves_the_monotonic_one_by_more_than_five_seconds_is_uncertain_until_it_returns() -> (
    None
):
    clock = OwnerClock(last_us=0, wall_us=100 * S, monotonic_us=0)
    assert not clock.read(wall_us=107 * S, monotonic_us=1 * S).certain
    assert clock.read(wall_us=102 * S, monotonic_us=2 * S).certain


def test_a_leap_into_the_future_does_not_move_event_time() -> None:
    clock = OwnerClock(last_us=0, wall_us=100 * S, monotonic_us=0)
    clock.read(wall_us=101 * S, monotonic_us=1 * S)
    assert clock.read(wall_us=10_000 * S, monotonic_us=2 * S).us == 101 * S
    assert clock.read(wall_us=103 * S, monotonic_us=3 * S).us == 103 * S


def test_a_journal_from_more_than_a_day_ahead_makes_every_reading_uncertain() -> None:
    clock = OwnerClock(last_us=MAX_STEP_BACK_US + 101 * S, wall_us=100 * S, monotonic_us=0)
    assert not clock.read(wall_us=100 * S, monotonic_us=0).certain


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**15)), max_size=50))
def test_event_times_never_decrease(readings: list[tuple[int, int]]) -> None:
    clock = OwnerClock(last_us=5, wall_us=10, monotonic_us=0)
    times = [clock.read(wall_us=wall, monotonic_us=monotonic).us for wall, monotonic in readings]
    assert times == sorted(times)
