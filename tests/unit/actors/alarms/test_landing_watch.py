"""What the evidence writer sees, and which alarms that calls for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.alarms.disks import Disk, measure
from actors.alarms.state import DISK_LOW, EVIDENCE_GAP, EVIDENCE_LAG, LANDING_FAILED, Condition
from actors.alarms.watch import MOST_NAMED, LandingWatch, Thresholds
from actors.evidence_sources import Offer

START_US = 1_780_000_000_000_000
LIMIT = 3
LAG = Condition(EVIDENCE_LAG, "")


def at(seconds: float) -> int:
    return START_US + int(seconds * 1e6)


def offer(name: str, *times_s: float, disk: Disk | None = None) -> Offer:
    """What an owner hands out: a row of each of these moments."""
    rows = [(seq, json.dumps({"event_time": at(s)}).encode(), b"leaf") for seq, s in enumerate(times_s)]
    return Offer(name=name, log_id=f"{name}.x", records=rows, unconfirmed=False, disk=disk)


@pytest.fixture
def watch() -> LandingWatch:
    return LandingWatch(Thresholds(lag_s=60, disk_low_bytes=1000), limit=LIMIT, now_us=START_US)


def test_what_lands_as_it_comes_is_never_late(watch: LandingWatch) -> None:
    for second in range(100):
        offers = [offer("host-000", second - 0.5)]
        watch.offered(offers, now_us=at(second))
        watch.landed(offers, {})
        assert watch.conditions([], now_us=at(second + 1)) == {}
    assert watch.lag_s([], now_us=at(99)) == {"host-000": 0.0}


def test_the_oldest_row_that_waits_is_what_lags(watch: LandingWatch) -> None:
    watch.offered([offer("host-000", 1, 50), offer("host-001")], now_us=at(61))
    assert watch.lag_s([], now_us=at(61)) == {"host-000": 60.0, "host-001": 0.0}
    assert watch.conditions([], now_us=at(61)) == {}
    assert watch.conditions([], now_us=at(62)) == {LAG: "the evidence of `host-000` has not landed for 61 s"}


def test_who_handed_out_as_much_as_it_may_has_more_that_is_as_old(watch: LandingWatch) -> None:
    offers = [offer("host-000", 1, 2, 3)]
    watch.offered(offers, now_us=at(100))
    watch.landed(offers, {})
    assert LAG in watch.conditions([], now_us=at(100))
    watch.offered([offer("host-000", 99)], now_us=at(101))
    assert watch.conditions([], now_us=at(101)) == {}


def test_an_owner_that_is_silent_and_a_landing_that_hangs_are_late_as_well(watch: LandingWatch) -> None:
    watch.offered([offer("host-000")], now_us=at(10))
    assert watch.conditions(["host-001"], now_us=at(60)) == {}
    assert watch.lag_s(["host-001"], now_us=at(65)) == {"host-000": 55.0, "host-001": 65.0}
    late = watch.conditions(["host-001"], now_us=at(71))
    assert late == {LAG: "the evidence of `host-001`, `host-000` has not landed for 71 s"}


def test_a_gap_is_one_alarm_for_each_log_and_stays_until_it_lands(watch: LandingWatch) -> None:
    offers = [offer("host-000", 1), offer("host-001", 1)]
    watch.offered(offers, now_us=at(2))
    watch.landed(offers, {"host-000.x": "gap in log `host-000.x`: expected seq 10, found 11"})
    found = watch.conditions([], now_us=at(2))
    assert found == {
        Condition(EVIDENCE_GAP, "host-000.x"): "gap in log `host-000.x`: expected seq 10, found 11"
    }
    # What was refused goes on waiting.
    assert watch.lag_s([], now_us=at(3)) == {"host-000": 2.0, "host-001": 1.0}
    watch.landed(offers, {})
    assert watch.conditions([], now_us=at(3)) == {}


def test_a_failed_landing_says_why_and_is_over_with_one_that_succeeds(watch: LandingWatch) -> None:
    watch.failed("no space left")
    watch.failed("no space left at all")
    assert watch.conditions([], now_us=at(1)) == {Condition(LANDING_FAILED, ""): "no space left at all"}
    watch.landed([], {})
    assert watch.conditions([], now_us=at(2)) == {}
    assert watch.status([], now_us=at(2))["landing_failures"] == 2


def test_a_disk_is_low_below_its_bound_wherever_it_is(watch: LandingWatch) -> None:
    watch.measured(Disk("table", 1000, 2**31))
    watch.offered([offer("host-000", disk=Disk("journals on a", 999, 2**31))], now_us=at(0))
    watch.offered([offer("host-001", disk=Disk("journals on a", 999, 2**31))], now_us=at(0))
    low = Condition(DISK_LOW, "journals on a")
    assert watch.conditions([], now_us=at(0)) == {low: "0.0 GiB of 2.0 GiB are free"}
    watch.measured(Disk("journals on a", 1001, 2**31))
    assert watch.conditions([], now_us=at(0)) == {}


def test_a_thousand_owners_that_lag_are_one_alarm_that_names_some(watch: LandingWatch) -> None:
    watch.offered([offer(f"agent-{number:04}", number / 1000) for number in range(1000)], now_us=at(1))
    found = watch.conditions([], now_us=at(100))
    assert found.keys() == {LAG}
    assert found[LAG].count("agent-") == MOST_NAMED and found[LAG].startswith("the evidence of `agent-0000`")
    assert "and 980 more has not landed for 100 s" in found[LAG]


def test_a_disk_is_measured_where_its_folder_is_or_will_be(tmp_path: Path) -> None:
    there, later = measure(tmp_path, "table"), measure(tmp_path / "not" / "yet", "table")
    assert there is not None and later is not None
    assert there.size_bytes == later.size_bytes > there.free_bytes > 0
    (tmp_path / "file").write_text("")
    assert measure(tmp_path / "file" / "inside", "table") is None
