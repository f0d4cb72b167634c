"""An alarm begins once and ends once, whatever comes and goes."""

from __future__ import annotations

from actors.alarms.state import (
    DISK_LOW,
    ENDS_AFTER_S,
    EVIDENCE_GAP,
    EVIDENCE_LAG,
    FAILING_S,
    LANDING_FAILED,
    MOST_ON,
    Alarm,
    Alarms,
    Condition,
)

LAG = Condition(EVIDENCE_LAG, "")
FAILED = Condition(LANDING_FAILED, "")
NOW_US = 1_780_000_000_000_000


class Watched:
    """Alarms, and the moments at which they are looked at."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self.now_s = 100.0

    def after(self, seconds: float, *found: Condition, says: str = "so it is") -> tuple[list[str], list[str]]:
        """The codes of what began and of what ended."""
        self.now_s += seconds
        changes = self.alarms.observe(
            dict.fromkeys(found, says), now_s=self.now_s, now_us=NOW_US + int(self.now_s * 1e6)
        )
        return [alarm.code for alarm in changes.begun], [alarm.code for alarm in changes.ended]


def test_it_begins_at_once_and_only_once() -> None:
    watched = Watched()
    assert watched.after(0, LAG) == ([EVIDENCE_LAG], [])
    for _ in range(100):
        assert watched.after(1, LAG, says="it goes on") == ([], [])
    (on,) = watched.alarms.on()
    assert (on.says, on.since_us) == ("it goes on", NOW_US + 100_000_000)


def test_it_ends_once_after_it_has_been_over_for_some_time() -> None:
    watched = Watched()
    watched.after(0, LAG)
    assert watched.after(ENDS_AFTER_S - 1) == ([], [])
    assert watched.after(1) == ([], [EVIDENCE_LAG])
    assert (watched.after(100), watched.alarms.on()) == (([], []), [])


def test_what_comes_and_goes_is_one_alarm() -> None:
    watched = Watched()
    told = [watched.after(ENDS_AFTER_S / 2, *([LAG] if second % 2 else [])) for second in range(1, 50)]
    assert told == [([EVIDENCE_LAG], []), *([([], [])] * 48)]


def test_a_failure_of_landing_must_last() -> None:
    watched = Watched()
    assert watched.after(0, FAILED) == ([], [])
    assert watched.after(FAILING_S - 1) == ([], [])
    assert watched.after(0, FAILED) == ([], [])
    assert watched.after(FAILING_S - 1, FAILED) == ([], [])
    assert watched.after(1, FAILED) == ([LANDING_FAILED], [])


def test_each_log_and_each_disk_has_its_own() -> None:
    watched = Watched()
    gap, other, disk = (
        Condition(EVIDENCE_GAP, "a"),
        Condition(EVIDENCE_GAP, "b"),
        Condition(DISK_LOW, "table"),
    )
    assert watched.after(0, gap) == ([EVIDENCE_GAP], [])
    assert watched.after(1, gap, other, disk) == ([EVIDENCE_GAP, DISK_LOW], [])
    assert watched.after(ENDS_AFTER_S, other) == ([], [EVIDENCE_GAP, DISK_LOW])
    assert [alarm.condition for alarm in watched.alarms.on()] == [other]


def test_a_successor_takes_over_what_was_begun_and_ends_it() -> None:
    before = Alarm(code=EVIDENCE_LAG, about="", says="late", since_us=7)
    watched = Watched()
    watched.alarms.restore([before], now_s=watched.now_s)
    assert watched.after(1, LAG, says="still late") == ([], [])
    assert [(alarm.says, alarm.since_us) for alarm in watched.alarms.on()] == [("still late", 7)]
    assert watched.after(ENDS_AFTER_S) == ([], [EVIDENCE_LAG])


def test_what_a_successor_found_before_it_learned_of_it_is_the_same_alarm() -> None:
    watched = Watched()
    watched.after(0, LAG, says="late again")
    watched.alarms.restore([Alarm(code=EVIDENCE_LAG, about="", says="late", since_us=7)], now_s=watched.now_s)
    assert [(alarm.says, alarm.since_us) for alarm in watched.alarms.on()] == [("late again", 7)]


def test_their_number_is_bounded_and_further_ones_begin_when_there_is_room() -> None:
    watched = Watched()
    many = [Condition(EVIDENCE_GAP, str(number)) for number in range(MOST_ON + 1)]
    assert len(watched.after(0, *many)[0]) == MOST_ON
    assert watched.after(1, *many) == ([], [])
    begun, ended = watched.after(ENDS_AFTER_S, *many[1:])
    assert (len(begun), len(ended)) == (0, 1)
    assert watched.after(1, *many[1:])[0] == [EVIDENCE_GAP]
