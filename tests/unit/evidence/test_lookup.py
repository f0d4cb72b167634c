"""One event found by its id, in whichever partition it landed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import DAY_US, NOON_US, full_row, record

from evidence.delta.table import EvidenceTable
from evidence.errors import EvidenceUnavailableError, NoEvidenceError
from evidence.landing import LogBatch
from evidence.lookup import find_event

COLUMNS = ("event_id", "seq", "arguments")


def id_at(time_us: int, last: int) -> str:
    digits = f"{time_us // 1000:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{last:012x}"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("table")
    midnight = NOON_US + DAY_US // 2
    # The second's id was drawn just before midnight, the event's time is after it.
    times = [(NOON_US, NOON_US), (midnight - 1_000, midnight + 1_000), (midnight + DAY_US, midnight + DAY_US)]
    rows = [
        full_row(seq=seq, event_id=id_at(drawn, seq), event_time=time)
        for seq, (drawn, time) in enumerate(times)
    ]
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=2, records=[record(row) for row in rows])
    EvidenceTable.open_or_create(str(path)).land([batch], ingest_time_us=NOON_US)
    return str(path)


def test_each_event_is_found_by_its_id(table: str) -> None:
    midnight = NOON_US + DAY_US // 2
    for seq, drawn in enumerate([NOON_US, midnight - 1_000, midnight + DAY_US]):
        row = find_event(table, id_at(drawn, seq), COLUMNS)
        assert row == {"event_id": id_at(drawn, seq), "seq": seq, "arguments": '{"amount":"<number>"}'}


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "nope",
        "x" * 5000,
        id_at(NOON_US, 77),
        "6f2b1c9e-7a1d-4b52-9c53-0d7f5a3e1b11",
        "f" * 12 + "7" + "f" * 19,
        "e677d21fd7ff7fff8fffffffffffffff",
    ],
)
def test_one_that_is_not_there_is_none(table: str, identity: str) -> None:
    assert find_event(table, identity, COLUMNS) is None


def test_without_a_table_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoEvidenceError):
        find_event(str(tmp_path), id_at(NOON_US, 0), COLUMNS)


def test_a_file_that_is_gone_is_said(table: str, tmp_path: Path) -> None:
    copied = shutil.copytree(table, tmp_path / "copy")
    for file in copied.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(EvidenceUnavailableError):
        find_event(str(copied), id_at(NOON_US, 0), COLUMNS)
