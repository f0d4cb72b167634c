"""Files are rewritten for readers, rows are not: beside a writer, proved each time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from unit.evidence.evidence_samples import DAY_US, NOON_US, log

from controlplane.errors import InputError
from evidence import durability
from evidence.delta import maintenance, optimizing
from evidence.delta.optimizing import Rewrite, optimize
from evidence.delta.table import EvidenceTable
from evidence.errors import (
    EvidenceDamagedError,
    EvidenceUnavailableError,
    NoEvidenceError,
    SchemaMismatchError,
)
from evidence.record import canonical_from_arrow, leaf_hash
from evidence.storage import storage_at

FIRST = date(1970, 1, 1) + timedelta(days=NOON_US // DAY_US)
LARGE = 128 * 2**20
HALF_DAYS_US = DAY_US // 20  # ten rows to noon, twenty a day


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """45 rows: 10, 20 and 15 on three dates, in 2, 4 and 3 files."""
    path = tmp_path / "decisions"
    table = EvidenceTable.open_or_create(str(path))
    for first in range(0, 45, 5):
        table.land([log(first, first + 4, step_us=HALF_DAYS_US)], ingest_time_us=NOON_US)
    return path


def contents(path: Path) -> list[tuple[bytes, bytes]]:
    rows = DeltaTable(path).to_pyarrow_table().sort_by("seq")
    return list(zip(canonical_from_arrow(rows), rows.column("leaf_hash").to_pylist(), strict=True))


def run(path: Path, **options: Any) -> list[Rewrite]:
    return optimize(str(path), **({"target_size_bytes": LARGE} | options))


def test_small_files_of_each_date_become_one_and_every_row_and_leaf_stays(path: Path) -> None:
    before = contents(path)
    done = run(path)
    assert [(one.event_date, one.rows, one.files_before, one.files_after) for one in done] == [
        (FIRST, 10, 2, 1),
        (FIRST + timedelta(days=1), 20, 4, 1),
        (FIRST + timedelta(days=2), 15, 3, 1),
    ]
    assert contents(path) == before
    assert all(leaf_hash(canonical) == leaf for canonical, leaf in before)
    assert run(path) == []


@pytest.mark.parametrize("columns", [["agent_id", "event_time"], ["seq"]])
def test_z_order_rewrites_every_date_and_every_row_and_leaf_stays(columns: list[str], path: Path) -> None:
    before = contents(path)
    done = run(path, z_order=columns)
    assert [one.rows for one in done] == [10, 20, 15]
    assert len(DeltaTable(path).file_uris()) == 3
    assert contents(path) == before
    assert {entry["operation"] for entry in DeltaTable(path).history(3)} == {"OPTIMIZE"}


def test_rows_that_are_alike_come_to_lie_together(tmp_path: Path) -> None:
    table = EvidenceTable.open_or_create(str(tmp_path / "t"))
    table.land(
        [log(0, 99), log(0, 99, log_id="host-001"), log(0, 99, log_id="host-002")], ingest_time_us=NOON_US
    )
    run(tmp_path / "t", z_order=["seq"])
    seqs = DeltaTable(tmp_path / "t").to_pyarrow_table(columns=["seq"]).column("seq").to_pylist()
    assert seqs == sorted(seqs) == sorted([*range(100)] * 3)


def test_a_dry_run_says_what_would_be_rewritten_and_does_nothing(path: Path) -> None:
    version = DeltaTable(path).version()
    said = run(path, dry_run=True)
    assert [(one.rows, one.files_before, one.files_after, one.version) for one in said] == [
        (10, 2, None, None),
        (20, 4, None, None),
        (15, 3, None, None),
    ]
    assert DeltaTable(path).version() == version
    done = run(path)
    assert [(one.event_date, one.bytes_before) for one in done] == [
        (one.event_date, one.bytes_before) for one in said
    ]


@pytest.mark.parametrize(
    ("since", "until", "days"), [(1, None, [1, 2]), (None, 1, [0, 1]), (1, 1, [1]), (3, None, [])]
)
def test_dates_that_are_not_asked_for_stay(
    since: int | None, until: int | None, days: list[int], path: Path
) -> None:
    given = {
        name: None if day is None else FIRST + timedelta(days=day)
        for name, day in (("since", since), ("until", until))
    }
    assert [one.event_date for one in run(path, **given)] == [FIRST + timedelta(days=day) for day in days]


def test_files_of_the_target_size_stay(path: Path) -> None:
    assert run(path, target_size_bytes=1) == []


def test_a_column_without_statistics_orders_nothing(path: Path) -> None:
    with pytest.raises(
        InputError, match="ordering by `reasons` lets no reader skip a file; choose among event_type,"
    ):
        run(path, z_order=["event_time", "reasons"])


def test_a_table_that_is_unlocked_is_left_alone(path: Path) -> None:
    DeltaTable(path).alter.set_table_properties({"delta.appendOnly": "false"})
    with pytest.raises(SchemaMismatchError, match=r"property delta.appendOnly false, expected true"):
        run(path)


def test_where_there_is_no_table_it_says_so_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(NoEvidenceError):
        run(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_written_is_durable_before_it_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durability, "_sync", synced.append)
    for one in run(path):
        assert one.version is not None
        assert durability.log_file(path, one.version) in synced
    assert {Path(uri.removeprefix("file://")) for uri in DeltaTable(path).file_uris()} <= set(synced)


def losing(times: int) -> Callable[..., None]:
    """A merge that another writer precedes that many times."""
    left = [times]

    def merge(table: DeltaTable, *arguments: Any, **more: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise CommitFailedError("another writer was first")
        maintenance.merge_files(table, *arguments, **more)

    return merge


def test_a_conflict_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "merge_files", losing(3))
    assert len(run(path)) == 3


def test_one_who_loses_each_time_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "merge_files", losing(99))
    with pytest.raises(
        EvidenceUnavailableError, match=f"got ahead 5 times at `{FIRST}`; leave out today with --until"
    ):
        run(path)


def test_one_process_at_a_time_rewrites(path: Path) -> None:
    where = storage_at(path)
    with (
        maintenance.rewriting(where, wait=False) as first,
        maintenance.rewriting(where, wait=False) as second,
    ):
        assert (first, second) == (True, False)
    with maintenance.rewriting(storage_at(path), wait=True) as after:
        assert after


def test_the_writer_lands_and_puts_its_compaction_off_while_an_operator_optimizes(path: Path) -> None:
    table = EvidenceTable.open_or_create(str(path), cadence=maintenance.Cadence(compaction_commits=1))
    files = len(DeltaTable(path).file_uris())
    with maintenance.rewriting(storage_at(path), wait=False):
        landing = table.land([log(45, 49, step_us=HALF_DAYS_US)], ingest_time_us=NOON_US)
    assert (landing.landed, landing.maintenance_error) == ({"host-000": 49}, None)
    assert len(DeltaTable(path).file_uris()) == files + 1
    table.land([log(50, 54, step_us=HALF_DAYS_US)], ingest_time_us=NOON_US)
    assert len(DeltaTable(path).file_uris()) < files


def test_a_writer_that_has_not_seen_a_rewrite_merges_what_is_there_now(path: Path) -> None:
    """delta-rs would commit it: every row of the files twice."""
    table = EvidenceTable.open_or_create(str(path))
    run(path)
    table._compact(LARGE)
    assert contents(path) == log(0, 44, step_us=HALF_DAYS_US).records


def test_on_object_storage_nothing_is_rewritten() -> None:
    with pytest.raises(
        InputError, match="is on object storage, where rewriting beside the writer is not safe"
    ):
        optimize("s3://bucket/decisions", target_size_bytes=LARGE)


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        (
            "_added",
            lambda known: lambda add: known(add) if add["size"] < 0 else optimizing._File(FIRST, 1, 1),
            "rows where",
        ),
        (
            "leaf_hash",
            lambda known: lambda canonical: known(canonical + b"!"),
            "have other leaves than those stored",
        ),
    ],
)
def test_a_rewrite_that_changed_something_is_an_alarm(
    name: str, broken: Any, message: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizing, name, broken(getattr(optimizing, name)))
    with pytest.raises(EvidenceDamagedError, match=message):
        run(path)


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from unit.evidence.evidence_samples import NOON_US, log
from evidence.delta.maintenance import Cadence
from evidence.delta.table import EvidenceTable
table = EvidenceTable.open_or_create({path!r}, cadence=Cadence(compaction_commits=7))
for first in range(45, 345, 5):
    landing = table.land([log(first, first + 4, step_us={step})], ingest_time_us=NOON_US)
    assert landing.landed == {{"host-000": first + 4}} and not landing.refused, landing
"""


def test_beside_a_writer_that_lands_and_compacts_nothing_is_lost_or_doubled(path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parents[2]), path=str(path), step=HALF_DAYS_US)
    writer = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    rewritten, rounds = 0, 0
    while writer.poll() is None:
        rounds += 1
        rewritten += len(run(path, z_order=["seq"] if rounds % 2 else []))
    assert writer.returncode == 0, writer.communicate()[1].decode()
    assert rewritten
    run(path)
    assert contents(path) == log(0, 344, step_us=HALF_DAYS_US).records
