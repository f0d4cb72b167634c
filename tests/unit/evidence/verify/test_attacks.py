"""Each attack on the rows of a table by somebody who can write all of its files: caught, named, and located."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import pytest
from deltalake import DeltaTable
from unit.evidence.evidence_samples import log
from unit.evidence.verify import attacks
from unit.evidence.verify.signed_table import (
    SignedTable,
    actions,
    found,
    landed,
    rewrite,
)

from evidence.verify.faults import Fault
from evidence.verify.report import Report


@pytest.fixture
def table(tmp_path: Path) -> SignedTable:
    return landed(tmp_path / "evidence")


def file_with(table: SignedTable, log_id: str, seq: int) -> Path:
    for path in table.data_files():
        rows = attacks.read(path).to_pylist()
        if any((row["log_id"], row["seq"]) == (log_id, seq) for row in rows):
            return path
    raise AssertionError


def only(report: Report, code: str) -> Fault:
    assert found(report) == {code}, report.faults
    assert len(report.faults) == 1
    return report.faults[0]


def test_a_changed_field_is_told_by_row_and_file(table: SignedTable) -> None:
    path = file_with(table, "log-a", 25)
    name = attacks.rearrange(table, path, attacks.change(25, decision="allow"), hashes=False)
    fault = only(table.verify(), "row_changed")
    assert (fault.log_id, fault.first_seq, fault.last_seq, fault.file) == ("log-a", 25, 25, name)


@pytest.mark.parametrize(
    "changed",
    [{"decision": None}, {"rule_ids": []}, {"reasons": None}, {"duration_us": 1}, {"risk_steps": None}],
)
def test_whatever_the_field_is(table: SignedTable, changed: dict[str, object]) -> None:
    path = file_with(table, "log-a", 25)
    attacks.rearrange(table, path, attacks.change(25, **changed), hashes=False)
    assert only(table.verify(), "row_changed").first_seq == 25


def test_a_changed_field_with_the_leaf_adjusted_is_told_by_the_landing(table: SignedTable) -> None:
    path = file_with(table, "log-a", 25)
    name = attacks.rearrange(table, path, attacks.change(25, decision="allow"), hashes=True)
    fault = only(table.verify(), "checkpoint_inconsistent")
    assert (fault.log_id, fault.first_seq, fault.last_seq, fault.file) == ("log-a", 20, 29, name)
    assert fault.version == 5


def test_without_the_checkpoints_table_nothing_beyond_is_believed(tmp_path: Path) -> None:
    table = landed(tmp_path / "evidence", checkpoints_table=False)
    path = file_with(table, "log-a", 25)
    attacks.rearrange(table, path, attacks.change(25, decision="allow"), hashes=True)
    report = table.verify()
    assert (only(report, "checkpoint_inconsistent").first_seq, report.logs[0].unchecked) == (20, 3)


def test_a_date_in_the_path_is_covered_too(table: SignedTable) -> None:
    entry = table.entry(5)
    changed = actions(entry)
    for action in changed:
        if "add" in action:
            action["add"]["partitionValues"]["event_date"] = "2026-09-09"
    rewrite(entry, changed)
    assert {"delta_log_rewritten", "row_changed"} <= found(table.verify())


def test_a_deleted_row_is_missed(table: SignedTable) -> None:
    path = file_with(table, "log-a", 25)
    attacks.rearrange(table, path, attacks.drop(25), hashes=False)
    report = table.verify()
    assert found(report) == {"row_missing", "delta_operation"}
    fault = next(fault for fault in report.faults if fault.code == "row_missing")
    assert (fault.log_id, fault.first_seq, fault.last_seq) == ("log-a", 25, 25)


def test_a_row_deleted_in_its_file_shows_in_the_log_as_well(table: SignedTable) -> None:
    path = file_with(table, "log-a", 25)
    attacks.replace(table, path, attacks.drop(25))
    report = table.verify()
    assert found(report) == {"row_missing", "delta_log_rewritten"}
    assert [fault.version for fault in report.faults if fault.code == "delta_log_rewritten"] == [5]


def test_a_delete_through_delta_is_told_by_version(table: SignedTable) -> None:
    delta = table.table
    delta.alter.set_table_properties({"delta.appendOnly": "false"})
    delta.delete("log_id = 'log-a' and seq = 25")
    delta.alter.set_table_properties({"delta.appendOnly": "true"})
    report = table.verify()
    assert found(report) == {"row_missing", "delta_operation"}
    versions = [fault.version for fault in report.faults if fault.code == "delta_operation"]
    assert versions == [table.version - 1] * len(versions)


def test_an_overwrite_is_told(table: SignedTable) -> None:
    from deltalake import write_deltalake

    rows = table.table.to_pyarrow_table()
    table.table.alter.set_table_properties({"delta.appendOnly": "false"})
    write_deltalake(table.table, rows, mode="overwrite")
    assert found(table.verify()) == {"delta_operation"}


def test_a_row_inserted_in_the_middle_is_one_too_many(table: SignedTable) -> None:
    path = file_with(table, "log-a", 25)
    only_one = attacks.change(25, event_id="another", decision="allow")
    name = attacks.append(
        table, path, lambda rows: [row for row in only_one(rows) if row["seq"] == 25], position=None
    )
    report = table.verify()
    assert found(report) == {"row_duplicate", "checkpoint_missing"}
    fault = next(fault for fault in report.faults if fault.code == "row_duplicate")
    assert (fault.log_id, fault.first_seq, fault.last_seq) == ("log-a", 25, 25)
    assert name in fault.message


def test_a_row_appended_is_covered_by_no_checkpoint(table: SignedTable) -> None:
    path = file_with(table, "log-a", 59)
    shifted = lambda rows: [{**row, "seq": 60} for row in rows if row["seq"] == 59]  # noqa: E731
    attacks.append(table, path, shifted, position=("log-a", 60))
    report = table.verify()
    assert {"checkpoint_missing", "row_duplicate"} == found(report)  # its event was there before
    missing = [fault.first_seq for fault in report.faults if fault.code == "checkpoint_missing"]
    assert 60 in missing


def test_a_log_of_the_attackers_own_is_covered_by_no_checkpoint(table: SignedTable) -> None:
    table.land(log(0, 4, log_id="log-c"), signed=False)
    report = table.verify()
    assert found(report) == {"checkpoint_missing"}
    assert {fault.log_id for fault in report.faults} == {"log-c", None}


@pytest.mark.parametrize("hashes", [False, True])
def test_swapped_rows(table: SignedTable, hashes: bool) -> None:
    path = file_with(table, "log-a", 25)
    attacks.rearrange(table, path, attacks.swap(22, 25), hashes=hashes)
    report = table.verify()
    places = [(fault.code, fault.first_seq, fault.last_seq) for fault in report.faults]
    landing = ("checkpoint_inconsistent", 20, 29)
    assert places == ([landing] if hashes else [("row_changed", 22, 22), ("row_changed", 25, 25), landing])


def test_a_replaced_file_is_told(table: SignedTable) -> None:
    old, new = file_with(table, "log-a", 5), file_with(table, "log-a", 25)
    shutil.copy(old, new)
    report = table.verify()
    assert (
        {"row_missing", "row_duplicate"} <= found(report) <= {"row_missing", "row_duplicate", "file_changed"}
    )
    missing = {(f.log_id, f.first_seq, f.last_seq) for f in report.faults if f.code == "row_missing"}
    assert missing == {("log-a", 20, 29), ("log-b", 10, 19)}


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1", None])
def test_a_file_that_is_none_is_told(table: SignedTable, content: bytes | None) -> None:
    path = file_with(table, "log-a", 25)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    report = table.verify()
    assert {"file_changed", "row_missing"} == found(report)
    assert {f.file for f in report.faults if f.code == "file_changed"} == {str(path.relative_to(table.path))}


def test_statistics_of_the_log_that_hide_rows_are_told(table: SignedTable) -> None:
    """Nothing is missing, and whoever asks for the row is told that the file cannot have it."""
    path = file_with(table, "log-a", 25)
    name = attacks.rearrange(table, path, lambda rows: rows, hashes=False)
    entry = table.entry(table.version)
    changed = actions(entry)
    changed[-1]["add"]["stats"] = json.dumps(
        {"numRecords": 20, "minValues": {"seq": 10, "agent_id": "treasury-bot"}, "maxValues": {"seq": 24}}
    )
    rewrite(entry, changed)
    assert (
        len(DeltaTable(table.path).to_pyarrow_table(filters=[("log_id", "=", "log-a"), ("seq", "=", 25)]))
        == 0
    )
    fault = only(table.verify(), "file_changed")
    assert fault.file == name
    assert fault.message.endswith(": seq")


def test_statistics_within_a_file_that_hide_rows_are_told(table: SignedTable) -> None:
    """A file of the same size with the same rows, of which the footer says that nobody of this name is in it."""
    path = file_with(table, "log-a", 25)
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:footer] + content[footer:].replace(b"treasury-bot", b"treasury-aaa"))
    fault = only(table.verify(), "file_changed")
    assert fault.file == str(path.relative_to(table.path))
    assert "agent_id" in fault.message


def rows_of(path: Path) -> list[dict[str, object]]:
    return sorted(
        DeltaTable(path).to_pyarrow_table().to_pylist(), key=lambda row: (row["log_id"], row["seq"])
    )


@pytest.mark.parametrize("seed", range(30))
def test_whatever_bits_of_a_data_file_change_there_is_a_verdict(table: SignedTable, seed: int) -> None:
    """If the table still holds, then no row is another one: what changed says nothing of rows."""
    random = Random(seed)
    honest = rows_of(table.path)
    path = random.choice(table.data_files())
    content = bytearray(path.read_bytes())
    for _ in range(random.choice([1, 1, 3])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    if table.verify().holds:
        assert rows_of(table.path) == honest
