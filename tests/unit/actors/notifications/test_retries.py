"""When a failed delivery is tried again."""

from __future__ import annotations

import pytest

from actors.notifications.retries import ATTEMPTS, delay_s, read_retry_after


def test_delays_grow_threefold_to_six_hours_and_end_within_a_day() -> None:
    delays = [delay_s(attempts, random=0.5) for attempts in range(1, ATTEMPTS + 1)]
    assert delays == [10, 30, 90, 270, 810, 2430, 7290, 21600, 21600, 21600, None]
    assert 20 * 3600 < sum(filter(None, delays)) < 24 * 3600


def test_jitter_spreads_a_delay_by_a_fifth_to_either_side() -> None:
    assert delay_s(1, random=0.0) == pytest.approx(8)
    assert delay_s(1, random=0.999_999) == pytest.approx(12, abs=0.01)


def test_what_the_receiver_asks_for_is_waited_for_and_a_day_at_most() -> None:
    assert delay_s(1, random=0.5, asked_s=300) == 300
    assert delay_s(1, random=0.5, asked_s=1) == 10
    assert delay_s(1, random=0.5, asked_s=10**8) == 86_400
    assert delay_s(ATTEMPTS, random=0.5, asked_s=1) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("Thu, 01 Jan 1970 00:05:00 GMT", 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1" * 40, None),
    ],
)
def test_retry_after_in_both_its_forms(value: str | None, seconds: int | None) -> None:
    assert read_retry_after(value, now_s=100) == seconds
