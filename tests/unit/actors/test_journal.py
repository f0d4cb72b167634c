"""The journal: one transaction for state and evidence, one owner at a time, and no second try after a failure."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from actors.journal import FencedError, Journal, JournalError
from controlplane.errors import InputError
from evidence.record import EvidenceRow, leaf_hash


def row(event_id: str = "0190a000-0000-7000-8000-000000000001") -> EvidenceRow:
    return EvidenceRow(
        event_id=event_id,
        event_type="decision",
        schema_version=1,
        event_time=1_700_000_000_000_000,
        tenant_id="t",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host-000.db"


def test_what_a_transaction_wrote_is_there_after_opening_again(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with journal.transaction() as step:
        assert step.append(row()) == 0
        assert step.append(row()) == 1
        step.set_meta("colour", "green")
    journal.close()
    again = Journal.open(path, new_log_id="log-b")
    assert (again.log_id, again.next_seq, again.meta("colour", "")) == ("log-a", 2, "green")
    assert [seq for seq, _, _ in again.pending(after_seq=-1, limit=10)] == [0, 1]


def test_a_block_that_raises_leaves_neither_state_nor_evidence_nor_a_gap(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with pytest.raises(KeyError), journal.transaction() as step:
        step.append(row())
        step.set_meta("colour", "green")
        raise KeyError
    with journal.transaction() as step:
        assert step.append(row()) == 0
    assert journal.meta("colour", "none") == "none"
    assert journal.pending_count() == 1


def test_a_row_that_the_table_could_not_hold_is_the_callers_error(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with pytest.raises(InputError) as caught, journal.transaction() as step:
        step.append(row() | {"decision": "perhaps"})  # type: ignore[operator]
    assert (caught.value.code, caught.value.fields) == ("invalid_record", {"column": "decision"})


def test_the_leaf_is_fixed_when_journalled(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with journal.transaction() as step:
        step.append(row())
    ((_, canonical, leaf),) = journal.pending(after_seq=-1, limit=10)
    assert leaf == leaf_hash(canonical)
    assert b'"log_id":"log-a"' in canonical
    assert b'"seq":0' in canonical


def test_an_owner_that_was_superseded_cannot_write(path: Path) -> None:
    old = Journal.open(path, new_log_id="log-a")
    new = Journal.open(path, new_log_id="log-a")
    assert new.epoch == old.epoch + 1
    with pytest.raises(FencedError), old.transaction() as step:
        step.append(row())
    assert not old.usable
    with new.transaction() as step:
        assert step.append(row()) == 0


def test_after_an_sqlite_failure_the_handle_is_never_used_again(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with pytest.raises(JournalError), journal.transaction() as step:
        step.execute("INSERT INTO nowhere VALUES (1)")
    assert not journal.usable
    with pytest.raises(JournalError), journal.transaction():
        pass
    with pytest.raises(JournalError):
        journal.read("SELECT 1")


def test_a_full_disk_fails_the_transaction_and_loses_nothing_that_was_acknowledged(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with journal.transaction() as step:
        step.append(row())
    journal._live().execute(
        f"PRAGMA max_page_count = {journal._live().execute('PRAGMA page_count').fetchone()[0]}"
    )
    with pytest.raises(JournalError, match="full"):
        for _ in range(1000):
            with journal.transaction() as step:
                for _ in range(100):
                    step.append(row())
    kept = Journal.open(path, new_log_id="log-a")
    rows = kept.pending(after_seq=-1, limit=1_000_000)
    assert [seq for seq, _, _ in rows] == list(range(kept.next_seq))


def test_a_folder_that_does_not_exist_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot open the journal"):
        Journal.open(tmp_path / "missing" / "x.db", new_log_id="log")


def test_a_file_that_is_no_journal_is_a_clear_error(path: Path) -> None:
    path.write_bytes(b"this is not sqlite" * 100)
    with pytest.raises(JournalError, match="cannot open the journal"):
        Journal.open(path, new_log_id="log")


def test_journals_are_readable_by_us_alone(path: Path) -> None:
    Journal.open(path, new_log_id="log-a")
    assert path.stat().st_mode & 0o077 == 0


def test_a_superseded_owner_knows_that_it_must_not_open_the_journal_again(path: Path) -> None:
    old = Journal.open(path, new_log_id="log-a")
    Journal.open(path, new_log_id="log-a")
    with pytest.raises(FencedError), old.transaction():
        pass
    assert old.fenced


def test_the_journal_is_in_wal_mode_with_full_synchronisation(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    assert journal.read("PRAGMA journal_mode") == [("wal",)]
    assert journal.read("PRAGMA synchronous") == [(2,)]
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_else_may_read_a_journal_or_what_sqlite_puts_beside_it(path: Path) -> None:
    journal = Journal.open(path, new_log_id="log-a")
    with journal.transaction() as step:
        step.append(row())
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
