from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from unit.evidence.evidence_samples import NOON_US, full_row, log, record

from evidence import durability
from evidence.columns import COMMENTS
from evidence.delta.maintenance import Cadence
from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable
from evidence.errors import (
    EvidenceDamagedError,
    EvidenceUnavailableError,
    NoEvidenceError,
    SchemaMismatchError,
)
from evidence.landing import LogBatch
from evidence.record import canonical_from_arrow, leaf_hash


def land(table: EvidenceTable, *batches: LogBatch) -> Any:
    return table.land(batches, ingest_time_us=NOON_US)


def seqs(path: Path, log_id: str = "host-000") -> list[int]:
    rows = open_dataset(str(path)).to_table(columns=["log_id", "seq"]).to_pylist()
    return sorted(row["seq"] for row in rows if row["log_id"] == log_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "decisions"


@pytest.fixture
def table(path: Path) -> EvidenceTable:
    return EvidenceTable.open_or_create(str(path))


def test_leaves_can_be_recomputed_from_the_table_alone(table: EvidenceTable, path: Path) -> None:
    batch = log(0, 999, step_us=300_000_000)  # 1 000 rows over four dates
    landing = land(table, batch)
    assert (landing.rows, landing.landed, landing.refused) == (1000, {"host-000": 999}, {})
    rows = DeltaTable(path).to_pyarrow_table().sort_by("seq")
    assert len(set(rows.column("event_date").to_pylist())) == 4
    canonical = canonical_from_arrow(rows)
    assert canonical == [text for text, _ in batch.records]
    assert rows.column("leaf_hash").to_pylist() == [leaf_hash(text) for text in canonical]


@pytest.mark.parametrize(
    ("case", "rounds"),
    [
        ("the same batch twice", [log(0, 9), log(0, 9)]),
        ("overlapping batches", [log(0, 9), log(5, 14), log(12, 13)]),
        ("an older batch after a newer one", [log(0, 9), log(10, 19), log(0, 9)]),
        ("an empty batch", [log(0, 9), log(10, 9)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_row_lands_exactly_once(
    case: str, rounds: list[LogBatch], table: EvidenceTable, path: Path
) -> None:
    for batch in rounds:
        landing = land(table, batch)
        assert landing.refused == {}
    last = max(batch.last_seq for batch in rounds)
    assert landing.landed == {"host-000": last}
    assert seqs(path) == list(range(last + 1))


def test_a_round_without_new_rows_makes_no_commit(table: EvidenceTable) -> None:
    land(table, log(0, 9))
    version = table.version
    assert land(table).landed == {}
    assert land(table, log(0, 9)).rows == 0
    assert table.version == version


def test_after_a_crash_between_commit_and_trim_nothing_lands_twice(table: EvidenceTable, path: Path) -> None:
    land(table, log(0, 9))
    reopened = EvidenceTable.open_or_create(str(path))
    assert reopened.landed("host-000") == 9
    assert land(reopened, log(0, 12)).rows == 3
    assert seqs(path) == list(range(13))


def test_a_gap_is_refused_and_stops_no_other_log(table: EvidenceTable, path: Path) -> None:
    land(table, log(0, 9))
    landing = land(table, log(11, 12), log(0, 3, log_id="host-001"))
    assert landing.refused == {"host-000": "gap in log `host-000`: expected seq 10, found 11"}
    assert landing.landed == {"host-001": 3}
    assert (seqs(path), seqs(path, "host-001")) == (list(range(10)), list(range(4)))


def test_records_of_another_log_are_refused_and_stop_no_other(table: EvidenceTable, path: Path) -> None:
    stray = replace(log(0, 3, log_id="host-002"), log_id="host-000")
    landing = land(table, stray, log(0, 3, log_id="host-001"))
    assert "holds other records" in landing.refused["host-000"]
    assert landing.landed == {"host-001": 3}
    assert (seqs(path), table.landed("host-000")) == ([], -1)


def test_the_landed_position_of_a_log_never_goes_back(table: EvidenceTable) -> None:
    land(table, log(0, 9))
    for last in (3, 9):
        land(table, log(0, last))
        assert table.landed("host-000") == 9


def test_two_writers_of_one_log_land_each_row_once(path: Path) -> None:
    writers = [EvidenceTable.open_or_create(str(path)) for _ in range(2)]
    for first in range(0, 60, 10):
        for writer in writers:  # the second one's snapshot is a commit behind
            assert land(writer, log(first, first + 9)).landed == {"host-000": first + 9}
    assert seqs(path) == list(range(60))


def test_what_another_writer_landed_is_no_gap(path: Path) -> None:
    one, two = (EvidenceTable.open_or_create(str(path)) for _ in range(2))
    land(one, log(0, 9))
    assert land(two, log(10, 19)).landed == {"host-000": 19}


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from unit.evidence.evidence_samples import NOON_US, log
from evidence.delta.table import EvidenceTable
table = EvidenceTable.open_or_create({path!r})
for first in range(0, 100, 10):
    landing = table.land([log(first, first + 9), log(first, first + 9, log_id=sys.argv[1])], ingest_time_us=NOON_US)
    assert not landing.refused and landing.landed["host-000"] >= first + 9, landing
"""


def test_processes_that_create_and_write_one_table_at_once_land_each_row_once(path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parents[2]), path=str(path))
    names = ["own-a", "own-b"]
    writers = [subprocess.Popen([sys.executable, "-c", code, n], stderr=subprocess.PIPE) for n in names]
    for writer in writers:
        _, stderr = writer.communicate(timeout=120)
        assert writer.returncode == 0, stderr.decode()
    for name in ["host-000", *names]:
        assert seqs(path, name) == list(range(100))


def test_compaction_and_checkpoint_keep_rows_and_positions(path: Path) -> None:
    cadence = Cadence(compaction_commits=4, checkpoint_commits=5, large_compaction_commits=9)
    table = EvidenceTable.open_or_create(str(path), cadence=cadence)
    for first in range(0, 300, 10):
        landing = land(table, log(first, first + 9))
        assert landing.maintenance_error is None
        assert landing.version == table.version
    assert seqs(path) == list(range(300))
    reopened = EvidenceTable.open_or_create(str(path))
    assert reopened.landed("host-000") == 299
    assert len(DeltaTable(path).file_uris()) < 10
    assert (path / "_delta_log" / "_last_checkpoint").exists()
    rows = DeltaTable(path).to_pyarrow_table()
    assert sorted(canonical_from_arrow(rows)) == sorted(text for text, _ in log(0, 299).records)


def test_files_that_a_compaction_replaced_are_removed_when_their_time_is_over(path: Path) -> None:
    cadence = Cadence(large_compaction_commits=5, replaced_files_hours=0)
    table = EvidenceTable.open_or_create(str(path), cadence=cadence)
    for first in range(0, 200, 10):
        assert land(table, log(first, first + 9)).maintenance_error is None
    assert len(list(path.rglob("*.parquet"))) < 10
    assert seqs(path) == list(range(200))


def test_what_was_committed_before_an_error_is_synced_before_it_counts_as_landed(
    table: EvidenceTable, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        write_deltalake(*arguments, **options)
        raise OSError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("evidence.delta.table.write_deltalake", interrupted)
        with pytest.raises(EvidenceUnavailableError, match="interrupted"):
            land(table, log(0, 9))
    synced: list[Path] = []
    monkeypatch.setattr(durability, "_sync", synced.append)
    landing = land(table, log(0, 9))
    assert (landing.rows, landing.landed) == (0, {"host-000": 9})
    assert durability.log_file(path, landing.version) in synced
    assert seqs(path) == list(range(10))


def test_landing_goes_on_when_compaction_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: EvidenceTable, target_size_bytes: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(EvidenceTable, "_compact", broken)
    table = EvidenceTable.open_or_create(str(path), cadence=Cadence(compaction_commits=1))
    assert land(table, log(0, 9)).maintenance_error == "OSError: no space left"
    assert land(table, log(10, 19)).landed == {"host-000": 19}
    assert seqs(path) == list(range(20))


def test_data_then_log_then_directories_are_synced_before_land_returns(
    table: EvidenceTable, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    original = durability._sync

    def spy(target: Path) -> None:
        synced.append(target)
        original(target)

    monkeypatch.setattr(durability, "_sync", spy)
    landing = land(table, log(0, 9))
    data = [p for p in synced if p.suffix == ".parquet"]
    entry = durability.log_file(path, landing.version)
    assert {str(p) for p in data} == {uri.removeprefix("file://") for uri in DeltaTable(path).file_uris()}
    assert set(synced) == {*data, data[0].parent, path, entry, path / "_delta_log"}
    assert synced.index(data[0]) < synced.index(entry) < synced.index(path / "_delta_log")


def test_after_a_failed_fsync_the_table_takes_nothing_more(
    table: EvidenceTable, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(EvidenceUnavailableError, match="input/output error"):
            land(table, log(0, 9))
    with pytest.raises(EvidenceUnavailableError, match="fsync failed"):
        land(table, log(0, 9))
    assert land(EvidenceTable.open_or_create(str(path)), log(0, 9)).landed == {"host-000": 9}
    assert seqs(path) == list(range(10))


def test_a_data_file_cut_short_is_noticed_when_the_table_is_opened(table: EvidenceTable, path: Path) -> None:
    land(table, log(0, 9))
    data = next(path.rglob("*.parquet"))
    size = data.stat().st_size
    os.truncate(data, 10)
    with pytest.raises(EvidenceDamagedError) as caught:
        EvidenceTable.open_or_create(str(path))
    assert (caught.value.fields["expected"], caught.value.fields["found"]) == (size, 10)
    data.unlink()
    with pytest.raises(EvidenceDamagedError, match="is missing"):
        EvidenceTable.open_or_create(str(path))


def test_a_log_entry_that_power_loss_emptied_is_landed_again(table: EvidenceTable, path: Path) -> None:
    land(table, log(0, 9))
    version = land(table, log(10, 19)).version
    durability.log_file(path, version).write_bytes(b"")
    reopened = EvidenceTable.open_or_create(str(path))
    assert reopened.landed("host-000") == 9
    assert land(reopened, log(10, 19)).landed == {"host-000": 19}
    assert seqs(path) == list(range(20))


def test_the_table_is_append_only_and_says_what_its_columns_mean(table: EvidenceTable, path: Path) -> None:
    land(table, log(0, 9))
    delta = DeltaTable(path)
    with pytest.raises(Exception, match="append-only"):
        delta.delete()
    configuration = delta.metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.constraints.seq_from_zero"] == "seq >= 0"
    assert {f.name: f.metadata["comment"] for f in delta.schema().fields} == COMMENTS
    statistics = pa.table(delta.get_add_actions(flatten=True)).to_pylist()[0]
    assert (statistics["min.seq"], statistics["max.seq"], statistics["null_count.decision"]) == (0, 9, 0)


@pytest.mark.parametrize("column, value", [("seq", -1), ("decision", "maybe"), ("log_id", None)])
def test_the_table_itself_refuses_rows_that_break_its_constraints(
    column: str, value: object, table: EvidenceTable, path: Path
) -> None:
    land(table, log(0, 0))
    row = DeltaTable(path).to_pyarrow_table()
    field = row.schema.field(column).with_nullable(True)
    bad = row.set_column(row.schema.get_field_index(column), field, pa.array([value], field.type))
    with pytest.raises(Exception, match="Invalid data"):
        write_deltalake(DeltaTable(path), bad, mode="append")


def foreign_table(path: Path) -> None:
    write_deltalake(path, pa.table({"seq": pa.array([1], pa.int64())}))


def foreign_files(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "notes.txt").write_text("mine")


def unlocked_table(path: Path) -> None:
    EvidenceTable.open_or_create(str(path))
    DeltaTable(path).alter.set_table_properties({"delta.appendOnly": "false"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_table, "column `event_date` is absent, expected"),
        (foreign_files, "is not empty and holds no evidence table"),
        (unlocked_table, "property delta.appendOnly false, expected true"),
    ],
)
def test_something_else_in_the_place_of_the_table_is_a_schema_mismatch(
    make: Callable[[Path], None], message: str, path: Path
) -> None:
    make(path)
    with pytest.raises(SchemaMismatchError, match=message) as caught:
        EvidenceTable.open_or_create(str(path))
    assert caught.value.code == "schema_mismatch"


def test_a_place_that_cannot_be_written_is_evidence_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceUnavailableError, match="cannot open the evidence table"):
        EvidenceTable.open_or_create(str(tmp_path / "file" / "decisions"))


def test_reading_where_no_table_is_creates_none(path: Path) -> None:
    with pytest.raises(NoEvidenceError):
        open_dataset(str(path))
    assert not path.exists()


def test_a_hundred_logs_land_in_one_commit(table: EvidenceTable, path: Path) -> None:
    version = table.version
    landing = land(table, *(log(0, 1, log_id=f"host-{n:03d}") for n in range(100)))
    assert (landing.rows, landing.version) == (200, version + 1)
    entry = durability.log_file(path, landing.version).read_text().splitlines()
    transactions = [json.loads(line)["txn"]["version"] for line in entry if '"txn"' in line]
    assert transactions == [1] * 100


def test_ten_thousand_rows_take_at_most_350_bytes_each(table: EvidenceTable, path: Path) -> None:
    rows = [
        full_row(seq=n, event_id=f"{n * 7919:032x}", arguments_digest=leaf_hash(b"%d" % n), details="{}")
        for n in range(10_000)
    ]
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=9_999, records=[record(row) for row in rows])
    assert land(table, batch).rows == 10_000
    assert sum(p.stat().st_size for p in path.rglob("*.parquet")) <= 350 * 10_000


def test_a_log_that_a_stranger_rewound_is_refused_and_stops_no_other(
    table: EvidenceTable, path: Path
) -> None:
    land(table, log(0, 9))
    rows = DeltaTable(path).to_pyarrow_table()
    rewind = CommitProperties(app_transactions=[Transaction("host-000", 3)])  # delta-rs accepts it
    write_deltalake(DeltaTable(path), rows.slice(0, 0), mode="append", commit_properties=rewind)
    landing = land(table, log(4, 14), log(0, 1, log_id="host-001"))
    assert landing.refused == {"host-000": "log `host-000` went back in the table from seq 9 to 3"}
    assert landing.landed == {"host-001": 1}
    assert seqs(path) == list(range(10))
