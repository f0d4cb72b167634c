"""Each attack on the history of a table, its checkpoints and its keys: caught, named, and located."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from unit.evidence.evidence_samples import log
from unit.evidence.verify import attacks
from unit.evidence.verify.signed_table import (
    EVIL,
    KEY_A,
    KEY_B,
    SignedTable,
    actions,
    found,
    landed,
    rewrite,
)

from evidence.checkpoint import DELTA_LOG
from evidence.commit_metadata import KEY, CommitEvidence
from evidence.merkle import CompactRange
from evidence.verify.faults import Fault
from evidence.verify.report import Report


@pytest.fixture
def table(tmp_path: Path) -> SignedTable:
    return landed(tmp_path / "evidence")


def only(report: Report, code: str) -> Fault:
    assert found(report) == {code}, report.faults
    assert len(report.faults) == 1
    return report.faults[0]


def cut(table: SignedTable, version: int) -> None:
    """Everything of the versions from this one on is gone."""
    for path in table.data_files():
        name = str(path.relative_to(table.path))
        if any(name in table.entry(v).read_text() for v in range(version, table.version + 1)):
            path.unlink(missing_ok=True)
    for later in range(table.version, version - 1, -1):
        table.entry(later).unlink()


def test_a_tail_that_was_cut_off_shows_in_the_checkpoints_table(table: SignedTable) -> None:
    cut(table, 8)
    report = table.verify()
    assert found(report) == {"tail_missing"}
    assert {(fault.log_id, fault.first_seq) for fault in report.faults} == {(None, None), ("log-a", 50)}


def test_cut_off_there_as_well_it_shows_in_copies_alone(table: SignedTable) -> None:
    cut(table, 8)
    checkpoints = SignedTable.__new__(SignedTable)
    checkpoints.path = table.root / "checkpoints"
    checkpoints.entry(checkpoints.version).unlink()
    assert table.verify().holds, (
        "nothing that is there is wrong: copies outside of the attacker's reach must tell"
    )
    report = table.verify(checkpoints=[str(table.files)])
    assert found(report) == {"tail_missing"}
    fault = next(fault for fault in report.faults if fault.log_id == "log-a")
    assert (fault.first_seq, fault.last_seq) == (50, 59)
    assert (fault.file or "").endswith(".notes")


def test_a_witness_remembers_the_tail(table: SignedTable, tmp_path: Path) -> None:
    witness = tmp_path / "witness.notes"
    assert table.verify(witness=str(witness)).holds
    remembered = witness.read_text()
    shutil.rmtree(table.root / "checkpoints")
    cut(table, 8)
    assert found(table.verify(witness=str(witness))) == {"tail_missing"}
    assert witness.read_text() == remembered


def test_a_restored_version_is_told(table: SignedTable) -> None:
    table.table.restore(6)
    report = table.verify()
    assert found(report) == {"delta_operation", "tail_missing"}
    fault = next(fault for fault in report.faults if fault.code == "delta_operation")
    assert fault.version == 9
    assert "RESTORE" in fault.message


@pytest.mark.parametrize("seed", range(40))
def test_no_byte_of_a_signed_entry_can_change(tmp_path: Path, seed: int) -> None:
    """Whatever stands there then, the answer is a verdict, and never that the table holds."""
    random = Random(seed)
    table = small_table(tmp_path)
    entry = table.entry(random.randrange(table.version))
    content = bytearray(entry.read_bytes())
    place = random.randrange(len(content))
    match random.randrange(3):
        case 0:
            content[place] ^= 1 << random.randrange(8)
        case 1:
            del content[place : place + random.randrange(1, 40)]
        case _:
            content[place:place] = random.choice([b"0", b'"', b"null", b"{}", b"\n", b"[", b"-1", b"\xff"])
    entry.write_bytes(content)
    assert "delta_log_rewritten" in found(table.verify())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_stands_in_the_newest_entry_there_is_a_verdict(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    table = small_table(tmp_path)
    entry = table.entry(table.version)
    changed = actions(entry)
    for action in changed:
        for body in action.values():
            for key in random.sample(sorted(body), k=min(2, len(body))):
                body[key] = random.choice([None, "", "x", -1, 2**70, 1.5, [], {}, [None], {"a": []}, True])
    rewrite(entry, changed)
    report = table.verify()
    assert report.holds is not bool(report.counts)


def small_table(tmp_path: Path) -> SignedTable:
    table = SignedTable(tmp_path / "evidence", checkpoints_table=False)
    for step in range(2):
        table.land(log(step * 5, step * 5 + 4))
    return table


def test_a_rewritten_log_is_told_by_version(table: SignedTable) -> None:
    entry = table.entry(5)
    changed = actions(entry)
    changed[0]["commitInfo"]["timestamp"] -= 1
    rewrite(entry, changed)
    fault = only(table.verify(), "delta_log_rewritten")
    assert (fault.version, fault.log_id) == (5, DELTA_LOG)


def test_a_rewritten_log_and_its_checkpoint(table: SignedTable) -> None:
    """Rows hidden in the log, and in a Parquet checkpoint that fits it: readers are content, the verifier is not."""
    entry = table.entry(5)
    rewrite(entry, [action for action in actions(entry) if "add" not in action])
    table.checkpoint()
    assert len(DeltaTable(table.path).to_pyarrow_table()) == 70
    report = table.verify()
    assert found(report) == {"delta_log_rewritten", "row_missing"}
    assert [fault.version for fault in report.faults if fault.code == "delta_log_rewritten"] == [5]


def test_a_checkpoint_that_says_otherwise_than_the_log(table: SignedTable) -> None:
    """The log untouched, and readers deceived all the same: they read the Parquet checkpoint."""
    entry = table.entry(5)
    honest = entry.read_bytes()
    rewrite(entry, [action for action in actions(entry) if "add" not in action])
    path = table.checkpoint()
    entry.write_bytes(honest)
    assert len(DeltaTable(table.path).to_pyarrow_table()) == 70
    fault = only(table.verify(), "delta_log_rewritten")
    assert (fault.version, fault.file) == (8, str(path.relative_to(table.path)))


def test_what_readers_might_take_for_the_log_is_told(table: SignedTable) -> None:
    (table.path / "_delta_log" / f"{0:020d}.{8:020d}.compacted.json").write_bytes(table.entry(3).read_bytes())
    assert only(table.verify(), "delta_log_rewritten").file is not None


def test_an_entry_that_is_gone_is_told(table: SignedTable) -> None:
    table.checkpoint()
    table.entry(5).unlink()
    report = table.verify()
    assert "delta_log_rewritten" in found(report)
    assert report.faults[0].version == 5


def forge(table: SignedTable, version: int, evidence: CommitEvidence) -> None:
    changed = actions(table.entry(version))
    changed[0]["commitInfo"][KEY] = evidence.to_json()
    rewrite(table.entry(version), changed)


def evidence_of(table: SignedTable, version: int) -> CommitEvidence:
    return CommitEvidence.parse(actions(table.entry(version))[0]["commitInfo"][KEY])


def test_a_forged_checkpoint_is_told(table: SignedTable) -> None:
    version = table.version
    honest = evidence_of(table, version)
    other = table.note("log-a", CompactRange().append([bytes(32)] * 60), key=EVIL)
    lie = type(other)(text=other.text, signatures=honest.checkpoints[0].signatures)
    forge(table, version, CommitEvidence(checkpoints=(lie, *honest.checkpoints[1:])))
    shutil.rmtree(table.root / "checkpoints")
    report = table.verify()
    assert found(report) == {"checkpoint_forged", "checkpoint_missing"}
    fault = next(fault for fault in report.faults if fault.code == "checkpoint_forged")
    assert (fault.log_id, fault.version) == ("log-a", version)


def test_notes_that_are_none_are_told(table: SignedTable) -> None:
    changed = actions(table.entry(5))
    changed[0]["commitInfo"][KEY] = '{"v":1}'
    rewrite(table.entry(5), changed)
    assert "checkpoint_forged" in found(table.verify())


def resign(table: SignedTable) -> None:
    """Every note of every commit signed anew with another key, the Delta log's tree computed anew."""
    table.key = EVIL
    for version in range(3, table.version + 1):
        honest = evidence_of(table, version)
        notes = [table.key.named(note.origin).sign(note.text) for note in honest.checkpoints[:-1]]
        kept = [
            type(note)(text=note.text, signatures=(signature,))
            for note, signature in zip(honest.checkpoints[:-1], notes, strict=True)
        ]
        delta = table.note(DELTA_LOG, CompactRange().append(table.entry_leaves(version)))
        forge(table, version, CommitEvidence(checkpoints=(*kept, delta)))
    shutil.rmtree(table.root / "checkpoints")
    (table.root / "keys.vkey").write_text(f"{EVIL.public}\n")


def test_a_swapped_key_is_unknown_to_whoever_pinned_the_right_one(table: SignedTable) -> None:
    resign(table)
    report = table.verify(keys=[KEY_A])
    assert "key_unknown" in found(report) <= {"key_unknown", "checkpoint_missing"}


def test_without_a_pinned_key_the_verdict_says_what_it_is_worth(table: SignedTable, tmp_path: Path) -> None:
    witness = tmp_path / "witness.notes"
    assert table.verify(witness=str(witness)).holds
    resign(table)
    report = table.verify(keys=[])
    assert report.holds
    assert not report.pinned
    assert any("not pinned" in line for line in report.lines())
    assert "key_unknown" in found(table.verify(keys=[], witness=str(witness)))


def test_a_rotation_from_a_key_that_nobody_knows_changes_nothing(table: SignedTable) -> None:
    table.key = EVIL
    table.rotate(KEY_B)
    table.land(log(60, 69, log_id="log-a", step_us=900_000_000))
    report = table.verify()
    assert found(report) == {"key_unknown", "checkpoint_missing"}
    assert {fault.version for fault in report.faults if fault.code == "key_unknown"} == {table.version}


def test_the_old_key_signs_nothing_after_its_rotation(table: SignedTable) -> None:
    table.rotate(KEY_B)
    table.land(log(60, 69, log_id="log-a", step_us=900_000_000))
    assert table.verify().holds
    table.key = KEY_A
    table.land(log(70, 79, log_id="log-a", step_us=900_000_000))
    assert "checkpoint_forged" in found(table.verify())


def drop_log(table: SignedTable, log_id: str) -> None:
    """A log gone without a trace in the table: its rows, its positions, its notes, and those in the copy beside."""
    for path in table.data_files():
        attacks.replace(table, path, attacks.drop_log(log_id))
    for version in range(3, table.version + 1):
        changed = [a for a in actions(table.entry(version)) if a.get("txn", {}).get("appId") != log_id]
        evidence = CommitEvidence.parse(changed[0]["commitInfo"][KEY])
        kept = tuple(note for note in evidence.checkpoints if not note.origin.endswith(f"/{log_id}"))
        changed[0]["commitInfo"][KEY] = CommitEvidence(checkpoints=kept).to_json()
        rewrite(table.entry(version), changed)
    shutil.rmtree(table.root / "checkpoints")


def test_a_dropped_log_shows_in_the_delta_logs_own_tree(table: SignedTable) -> None:
    drop_log(table, "log-b")
    report = table.verify()
    assert found(report) == {"delta_log_rewritten"}
    assert "log-b" not in {each.log_id for each in report.logs}
    report = table.verify(checkpoints=[str(table.files)])
    assert found(report) == {"delta_log_rewritten", "log_missing"}
    fault = next(fault for fault in report.faults if fault.code == "log_missing")
    assert (fault.log_id, fault.first_seq, fault.last_seq) == ("log-b", 0, 29)


def test_two_histories_shown_to_two_auditors(tmp_path: Path) -> None:
    """Both signed with the right key: what the deployment itself would do. The witness file of one tells the other."""
    shown, witness = landed(tmp_path / "shown"), tmp_path / "witness.notes"
    assert shown.verify(witness=str(witness)).holds
    other = SignedTable(tmp_path / "other")
    for step in range(6):
        rows = log(step * 10, step * 10 + 9, log_id="log-a", step_us=899_000_000)
        more = [log(step * 5, step * 5 + 9, log_id="log-b", step_us=900_000_000)] if step % 2 == 0 else []
        other.land(rows, *more)
    assert other.verify().holds
    report = other.verify(witness=str(witness))
    assert found(report) == {"split_view"}
    assert {fault.log_id for fault in report.faults} == {"log-a", DELTA_LOG}
    assert {fault.file for fault in report.faults} == {str(witness)}


def test_more_rows_than_the_witness_has_seen_are_no_other_history(tmp_path: Path) -> None:
    table, witness = landed(tmp_path / "evidence"), tmp_path / "witness.notes"
    assert table.verify(witness=str(witness)).holds
    before = witness.read_text()
    table.land(log(60, 69, log_id="log-a", step_us=900_000_000))
    assert table.verify(witness=str(witness)).holds
    assert witness.read_text() != before


def edit_checkpoints(table: SignedTable, edit: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """The table of checkpoints written anew, row by row; None: without the row."""
    path = table.root / "checkpoints"
    rows = DeltaTable(path).to_pyarrow_table()
    edited = [new for row in rows.to_pylist() if (new := edit(row)) is not None]
    shutil.rmtree(path)
    write_deltalake(path, pa.Table.from_pylist(edited, schema=rows.schema), partition_by=["checkpoint_date"])


def at_20(row: dict[str, Any]) -> bool:
    return (row["log_id"], row["size"]) == ("log-a", 20)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda row: None if at_20(row) else row, "checkpoint_missing"),
        (lambda row: row | {"root": bytes(32)} if at_20(row) else row, "checkpoint_inconsistent"),
        (lambda row: row | {"range": bytes(64)} if at_20(row) else row, "checkpoint_inconsistent"),
        (lambda row: row | {"table_version": 5} if at_20(row) else row, "checkpoint_inconsistent"),
        (lambda row: row | {"table_version": 99} if at_20(row) else row, "tail_missing"),
        (lambda row: row | {"note": "none"} if at_20(row) else row, "checkpoint_forged"),
    ],
)
def test_a_table_of_checkpoints_that_is_no_copy_is_told(
    table: SignedTable, edit: Callable[[dict[str, Any]], dict[str, Any] | None], code: str
) -> None:
    edit_checkpoints(table, edit)
    assert code in found(table.verify())
