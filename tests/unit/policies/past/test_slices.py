"""One state a value: which events a slice sees, and what happens when there are too many values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from policies.past import slices as slices_module
from policies.past.monitor import UNREPORTED, monitor_of
from policies.past.parse import parse
from policies.past.slices import Event, Keys, Sliced, Slices

NUMBERS = {"created": 0, "pays": 1, "scans": 2}
CREATED, PAYS = 1, 2
HOUR_US = 3_600_000_000
NOW_US = 1_750_000_000_000_000


def sliced(text: str, *, restricting: bool = True, reach_us: int | None = HOUR_US) -> Sliced:
    return Sliced(
        monitor=monitor_of(parse(text), number_of=NUMBERS, restricting=restricting),
        keys=Keys(of=((CREATED, CREATED, 0), (PAYS, PAYS, 1)), mask=CREATED | PAYS),
        restricting=restricting,
        reach_us=reach_us,
    )


def created(key: int | None, at_us: int = NOW_US) -> Event:
    return Event(at_us, CREATED, CREATED, {0: None if key is None else value(key)})


def pays(key: int | None, at_us: int = NOW_US) -> Event:
    return Event(at_us, PAYS, PAYS, {1: None if key is None else value(key)})


def value(key: int) -> bytes:
    return key.to_bytes(16, "big")


NEW_PAYEE = "pays and once[1h] created"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(slices_module, "MOST_SLICES", 3)
    yield


def start(one: Sliced) -> Slices:
    return Slices(one.monitor.initial)


def test_only_the_same_value_meets_itself() -> None:
    one = sliced(NEW_PAYEE)
    state = start(one)
    one.take(state, created(7), 1, UNREPORTED)
    assert one.truth(state, pays(7), 2)
    assert not one.truth(state, pays(8), 2)


def test_an_event_without_its_key_counts_in_every_slice_where_that_restricts() -> None:
    one = sliced(NEW_PAYEE)
    state = start(one)
    assert not one.truth(state, pays(None), 1)  # nothing was created at all
    one.take(state, created(7), 1, UNREPORTED)
    assert one.truth(state, pays(None), 2)
    one.take(state, created(None), 2, UNREPORTED)
    assert one.truth(state, pays(99), 3)  # it may have been this one


def test_an_event_without_its_key_grants_nothing() -> None:
    one = sliced("pays and once[1h] done(created)", restricting=False)
    state = start(one)
    one.take(state, created(None), 1, UNREPORTED)
    one.late(state, created(None), 1)
    one.take(state, created(7), 2, UNREPORTED)
    one.late(state, created(7), 2)
    assert one.truth(state, pays(7), 3)
    assert not one.truth(state, pays(8), 3)
    assert not one.truth(state, pays(None), 3)


def test_an_outcome_that_comes_late_finds_its_slice() -> None:
    one = sliced("pays and once[1h] done(created)")
    state = start(one)
    one.take(state, created(7), 1, UNREPORTED)
    assert not state.of  # as a new one would be
    one.late(state, created(7), 1)
    assert one.truth(state, pays(7), 2) and not one.truth(state, pays(8), 2)


@pytest.mark.parametrize("restricting", [True, False])
def test_past_the_bound_a_value_without_a_slice_is_unknown(restricting: bool) -> None:
    text = NEW_PAYEE if restricting else "pays and once[1h] done(created)"
    one = sliced(text, restricting=restricting)
    state = start(one)
    for key in range(4):
        one.take(state, created(key), key + 1, UNREPORTED)
        one.late(state, created(key), key + 1)
    assert len(state.of) == 3
    assert one.truth(state, pays(0), 9)
    assert one.truth(state, pays(3), 9) is restricting
    assert one.truth(state, pays(1000), 9) is restricting


def test_room_comes_back_with_the_window_and_nobody_is_forgotten_meanwhile() -> None:
    one = sliced(NEW_PAYEE)
    state = start(one)
    for key in range(4):  # 3 finds no room
        one.take(state, created(key), key + 1, UNREPORTED)
    later_us = NOW_US + HOUR_US // 2
    assert one.truth(state, pays(3, later_us), 5)
    over_us = NOW_US + HOUR_US + 1
    assert not one.truth(state, pays(3, over_us), 6)
    one.take(state, created(5, over_us), 6, UNREPORTED)
    assert set(state.of) == {value(5)}  # what had run out made room
    assert one.truth(state, pays(5, over_us), 7)


def test_a_value_that_came_in_after_somebody_found_no_room_is_doubtful_for_as_long() -> None:
    one = sliced(NEW_PAYEE)
    state = start(one)
    for key in range(3):
        one.take(state, created(key), key + 1, UNREPORTED)
    half_us = NOW_US + HOUR_US // 2
    one.take(state, created(3, half_us), 4, UNREPORTED)  # no room
    over_us = NOW_US + HOUR_US + 1  # the first three have run out; 3 was created half an hour ago
    one.take(state, pays(3, over_us), 5, UNREPORTED)
    assert one.truth(state, pays(3, over_us), 6)
    assert one.truth(state, pays(4, over_us), 6)
    assert not one.truth(state, pays(4, half_us + HOUR_US + 1), 6)


def test_without_a_window_nobody_is_ever_dropped() -> None:
    one = sliced("pays and once created", reach_us=None)
    state = start(one)
    for key in range(10):
        one.take(state, created(key, NOW_US + key * 100 * HOUR_US), key + 1, UNREPORTED)
    assert set(state.of) == {value(0), value(1), value(2)}
    assert one.truth(state, pays(9, NOW_US + 10**6 * HOUR_US), 11)


def test_an_outcome_that_comes_late_makes_no_value_known_that_found_no_room_since() -> None:
    one = sliced("pays and (once[1h] created or once[1h] done(created))")
    state = start(one)
    for key in range(3):
        one.take(state, created(key), key + 1, UNREPORTED)
    later_us = NOW_US + HOUR_US // 2
    one.take(state, created(8, later_us), 5, UNREPORTED)  # no room
    one.late(state, created(7), 4)  # nor is there for one from half an hour before
    assert one.truth(state, pays(8, later_us + HOUR_US), 6)


def test_an_event_without_its_key_may_be_about_a_value_that_found_no_room() -> None:
    one = sliced("pays and once[1h] (created and once[1h] pays)", reach_us=2 * HOUR_US)
    state = start(one)
    for key in range(3):
        one.take(state, pays(key), key + 1, UNREPORTED)
    assert not one.truth(state, pays(None), 4)
    one.take(state, pays(9), 4, UNREPORTED)  # no room: nobody remembers that it was paid and then created
    one.take(state, created(9), 5, UNREPORTED)
    assert one.truth(state, pays(9), 6)
    assert one.truth(state, pays(None), 6)
    assert not one.truth(state, pays(None, NOW_US + 2 * HOUR_US + 1), 6)


def test_a_copy_looks_for_room_no_sooner_than_the_original_would() -> None:
    one = sliced(NEW_PAYEE)
    state = start(one)
    for key in range(4):
        one.take(state, created(key), key + 1, UNREPORTED)
    assert state.scanned_us == NOW_US and state.copy().scanned_us == NOW_US
