from __future__ import annotations

from dataclasses import replace

import pytest
from unit.evidence.evidence_samples import log

from evidence.landing import LogBatch, plan, rows_of
from evidence.record import RecordError


def batch(first: int, last: int, log_id: str = "a") -> LogBatch:
    records = [(b"%d" % seq, b"") for seq in range(first, last + 1)]
    return LogBatch(log_id=log_id, first_seq=first, last_seq=last, records=records)


@pytest.mark.parametrize(
    ("case", "landed", "batches", "expected"),
    [
        ("nothing is nothing", {}, [], []),
        ("a new log starts at 0", {}, [batch(0, 4)], [(0, 4)]),
        ("a log goes on where it ended", {"a": 4}, [batch(5, 9)], [(5, 9)]),
        ("what has landed is dropped", {"a": 4}, [batch(0, 4)], []),
        ("what lies before the end is dropped", {"a": 4}, [batch(0, 2)], []),
        ("of an overlap the new part lands", {"a": 4}, [batch(2, 9)], [(5, 9)]),
        ("batches of one log are joined", {}, [batch(0, 4), batch(5, 9)], [(0, 9)]),
        ("overlapping batches of one round, too", {}, [batch(0, 4), batch(3, 9), batch(0, 1)], [(0, 9)]),
        ("an empty batch is nothing", {"a": 4}, [batch(5, 4)], []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_plan_continues_a_log_exactly(
    case: str, landed: dict[str, int], batches: list[LogBatch], expected: list[tuple[int, int]]
) -> None:
    chosen = plan(batches, landed)
    assert [(b.first_seq, b.last_seq) for b in chosen.append] == expected
    for b in chosen.append:
        assert [text for text, _ in b.records] == [b"%d" % s for s in range(b.first_seq, b.last_seq + 1)]
    assert chosen.refused == {}


@pytest.mark.parametrize(
    ("batches", "reason"),
    [
        ([batch(6, 9)], "gap in log `a`: expected seq 5, found 6"),
        ([batch(5, 6), batch(8, 9)], "gap in log `a`: expected seq 7, found 8"),
        ([replace(batch(5, 6), last_seq=9)], "batch of log `a` says seq 5 to 9 and holds 2 records"),
        ([batch(-1, 6)], "batch of log `a` says seq -1 to 6 and holds 8 records"),
    ],
)
def test_a_refused_log_stops_no_other(batches: list[LogBatch], reason: str) -> None:
    chosen = plan([*batches, batch(0, 1, "b")], {"a": 4})
    assert chosen.refused == {"a": reason}
    assert [(b.log_id, b.first_seq) for b in chosen.append] == [("b", 0)]


def test_rows_are_those_that_the_batch_says() -> None:
    assert rows_of(log(3, 5), ingest_time_us=0).column("seq").to_pylist() == [3, 4, 5]


@pytest.mark.parametrize(
    "wrong",
    [replace(log(3, 5), first_seq=2, last_seq=4), replace(log(3, 5), log_id="host-001")],
    ids=["other positions", "another log"],
)
def test_records_of_another_place_are_refused(wrong: LogBatch) -> None:
    with pytest.raises(RecordError, match="holds other records"):
        rows_of(wrong, ingest_time_us=0)


@pytest.mark.parametrize("log_id", ["", "_keys", "two words", "a+b", "a\nb", "x" * 201])
def test_a_log_whose_name_cannot_be_signed_is_refused_alone(log_id: str) -> None:
    chosen = plan([batch(0, 4, log_id), batch(0, 4)], {})
    assert chosen.refused[log_id].startswith(f"`{log_id[:100]}` is no name of a log")
    assert [each.log_id for each in chosen.append] == ["a"]
