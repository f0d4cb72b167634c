from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from unit.evidence.evidence_samples import NOON_US, log
from unit.evidence.signed_tables import NAME, Deployment

from evidence import durability
from evidence.checkpoint import Checkpoint, origin_of
from evidence.checkpoint_files import CheckpointFiles
from evidence.delta import checkpoints as checkpoints_module
from evidence.delta import heads as heads_module
from evidence.delta import table as table_module
from evidence.delta.checkpoints import CheckpointsTable, CommittedHeads
from evidence.delta.maintenance import Cadence
from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable
from evidence.durability import log_file
from evidence.errors import EvidenceDamagedError, EvidenceKeyError, EvidenceUnavailableError
from evidence.landing import LogBatch
from evidence.merkle import root
from evidence.note import parse_notes
from evidence.record import leaf_hash
from evidence.storage import storage_at


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path).made()


def land(table: EvidenceTable, *batches: LogBatch, record: bool = True) -> Any:
    landing = table.land(batches, ingest_time_us=NOON_US)
    if record and table.heads is not None:
        table.heads.record()
    return landing


def leaves_of(log_id: str, size: int) -> list[bytes]:
    return [leaf for _, leaf in log(0, size - 1, log_id=log_id).records]


def check_all(made: Deployment) -> dict[str, int]:
    """Every checkpoint of every commit, against samples and entries; in files and table as well. Returns: sizes."""
    sizes: dict[str, int] = {}
    entries = sorted((made.path / "_delta_log").glob("*.json"))
    delta = [leaf_hash(entry.read_bytes()) for entry in entries]
    rows = DeltaTable(made.checkpoints).to_pyarrow_table().to_pylist()
    stored = sorted((row["table_version"], row["origin"], row["note"]) for row in rows)
    signed = []
    files = made.notes_in_files()
    for version, evidence in made.evidence().items():
        assert parse_notes(files.pop(version)) == list(evidence.notes)
        for note in evidence.checkpoints:
            checkpoint = Checkpoint.parse(note.text)
            log_id = checkpoint.origin.removeprefix(f"{NAME}/")
            assert note.signed_by(made.key().named(checkpoint.origin))
            expected = delta[:version] if log_id == "_delta_log" else leaves_of(log_id, checkpoint.size)
            assert (checkpoint.size, checkpoint.root) == (len(expected), root(expected))
            sizes[log_id] = checkpoint.size
            signed.append((version, checkpoint.origin, str(note)))
    assert (files, stored) == ({}, sorted(signed))
    return sizes


def test_each_landing_signs_the_logs_that_got_rows_and_the_delta_log(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9), log(0, 4, log_id="host-001"))
    version = land(table, log(10, 16)).version
    assert check_all(made) == {"host-000": 17, "host-001": 5, "_delta_log": version}
    origins = [Checkpoint.parse(note.text).origin for note in made.evidence()[version].checkpoints]
    assert origins == [origin_of(NAME, "host-000"), origin_of(NAME, "_delta_log")]


def test_a_table_goes_on_where_its_checkpoints_end(made: Deployment) -> None:
    land(made.opened(), log(0, 9), log(0, 4, log_id="host-001"))
    land(made.opened(), log(10, 16))
    version = land(made.opened(), log(17, 17), log(5, 6, log_id="host-001")).version
    assert check_all(made) == {"host-000": 18, "host-001": 7, "_delta_log": version}


def test_a_round_without_new_rows_signs_nothing(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    before = made.notes_in_files()
    land(table, log(0, 9))
    assert made.notes_in_files() == before


def test_compaction_and_vacuum_are_in_the_next_checkpoint_of_the_delta_log(made: Deployment) -> None:
    table = made.opened(
        cadence=Cadence(compaction_commits=2, large_compaction_commits=3, checkpoint_commits=4)
    )
    for first in range(0, 120, 10):
        land(table, log(first, first + 9))
    land(table, log(120, 120))
    assert check_all(made)["host-000"] == 121
    assert len(made.evidence()) == 13 < DeltaTable(made.path).version()


def test_two_writers_of_one_table_sign_one_history(made: Deployment) -> None:
    writers = [made.opened() for _ in range(2)]
    for first in range(0, 60, 10):
        for index, writer in enumerate(writers):
            land(writer, log(first, first + 9), log(first, first + 9, log_id=f"host-10{index}"))
    assert check_all(made) | {"_delta_log": 0} == {
        "host-000": 60, "host-100": 60, "host-101": 60, "_delta_log": 0
    }  # fmt: skip


def test_a_commit_that_was_beaten_is_signed_again_on_the_new_snapshot(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = made.opened(), made.opened()
    land(slow, log(0, 9))
    signed = slow.heads.sign  # type: ignore[union-attr]

    def beaten(*args: Any) -> Any:
        evidence = signed(*args)
        monkeypatch.setattr(slow.heads, "sign", signed)
        land(quick, log(10, 14), log(0, 4, log_id="host-001"))
        return evidence

    monkeypatch.setattr(slow.heads, "sign", beaten)
    assert land(slow, log(10, 19)).rows == 5
    assert check_all(made)["host-000"] == 20


def test_what_is_not_recorded_is_recorded_by_the_next_start(made: Deployment) -> None:
    table = made.opened()
    for first in range(0, 50, 10):
        land(table, log(first, first + 9), record=first < 20)
    made.opened()
    assert check_all(made)["host-000"] == 50


@pytest.mark.parametrize("gone", ["the table", "its newest rows"])
def test_lost_rows_of_the_checkpoints_table_are_made_again(gone: str, made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9), log(0, 4, log_id="host-001"))
    kept = shutil.copytree(made.checkpoints, made.root / "copy")
    land(table, log(10, 19))
    land(table, log(20, 29))
    shutil.rmtree(made.checkpoints)
    if gone == "its newest rows":
        shutil.copytree(kept, made.checkpoints)
    land(made.opened(), log(5, 9, log_id="host-001"))
    assert {k: v for k, v in check_all(made).items() if k[0] != "_"} == {"host-000": 30, "host-001": 10}


def test_a_file_that_a_crash_left_out_is_written_by_the_next_start(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made.opened()
    land(table, log(0, 9))

    def broken(*args: Any, **options: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(durability, "create_file", broken)
        with pytest.raises(EvidenceUnavailableError, match="disk full"):
            land(table, log(10, 19))
        # Nothing is reported as landed whose checkpoint files are not there, although the rows are.
        with pytest.raises(EvidenceUnavailableError, match="disk full"):
            land(table, log(10, 19))
        with pytest.raises(EvidenceUnavailableError, match="disk full"):
            made.opened()
    assert land(made.opened(), log(10, 19)).landed == {"host-000": 19}
    assert check_all(made)["host-000"] == 20


class Crash(Exception):
    pass


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("module", "step"),
    [
        (table_module, "write_deltalake"),
        (durability, "sync_versions"),
        (durability, "make_folders"),
        (durability, "create_file"),
        (checkpoints_module, "write_deltalake"),
        (table_module, "merge_files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_after_a_crash_anywhere_the_next_start_makes_up_for_it(
    module: Any, step: str, after: bool, made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cadence = Cadence(compaction_commits=2)
    land(made.opened(cadence=cadence), log(0, 9), log(0, 4, log_id="host-001"))
    wrapped = getattr(module, step)

    def crash(*args: Any, **options: Any) -> Any:
        if after:
            wrapped(*args, **options)
        raise Crash

    with monkeypatch.context() as patched:
        table = made.opened(cadence=cadence)
        patched.setattr(module, step, crash)
        with pytest.raises(Crash):
            for first in (10, 20, 30):
                land(table, log(first, first + 9))
    table = made.opened(cadence=cadence)
    assert land(table, log(10, 49)).landed == {"host-000": 49}
    assert check_all(made)["host-000"] == 50
    assert open_dataset(str(made.path)).count_rows() == 55


def test_many_commits_are_followed_in_steps_and_a_full_table_of_checkpoints_is_tidied(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("_COMPACTION_COMMITS", 3),
        ("_CHECKPOINT_COMMITS", 4),
        ("_LARGE_COMPACTION_COMMITS", 6),
    ):
        monkeypatch.setattr(checkpoints_module, name, value)
    monkeypatch.setattr(heads_module, "_AT_ONCE", 2)
    table = made.opened()
    for first in range(0, 110, 10):
        land(table, log(first, first + 9), record=False)
    made.opened()
    for first in range(110, 220, 10):
        land(made.opened(), log(first, first + 9))
    assert check_all(made)["host-000"] == 220
    assert len(DeltaTable(made.checkpoints).file_uris()) < 6


def test_a_table_from_before_checkpoints_is_adopted_with_all_its_logs(
    made: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    old = EvidenceTable.open_or_create(str(made.path))
    land(old, log(0, 9), log(0, 4, log_id="host-001"))
    table = made.opened()
    land(old, log(10, 11))  # the predecessor goes on for a moment
    land(table, log(12, 19))
    assert "no checkpoint" in caplog.text
    assert check_all(made)["host-000"] == 20
    assert check_all(made)["host-001"] == 5
    land(made.opened(), log(5, 5, log_id="host-001"))
    assert check_all(made)["host-001"] == 6


def test_a_table_that_was_stripped_of_all_its_checkpoints_is_not_signed_anew(made: Deployment) -> None:
    land(made.opened(), log(0, 9))
    for folder in (made.path, made.checkpoints, made.root / "files"):
        shutil.rmtree(folder)
    land(
        EvidenceTable.open_or_create(str(made.path)), log(0, 4)
    )  # another history, by somebody without the key
    with pytest.raises(EvidenceDamagedError, match="no checkpoint"):
        land(made.opened(), log(5, 9))
    assert made.evidence() == {}


def test_rows_that_land_without_a_checkpoint_stop_the_landing(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    land(EvidenceTable.open_or_create(str(made.path)), log(10, 19))
    for opened in (lambda: table, made.opened):
        with pytest.raises(EvidenceDamagedError, match="carries no checkpoint"):
            land(opened(), log(20, 29))


@pytest.mark.parametrize("how", ["restored", "deleted"])
def test_a_table_that_lost_rows_in_a_commit_gets_no_more(how: str, made: Deployment) -> None:
    table = made.opened()
    version = land(table, log(0, 9)).version
    land(table, log(10, 19))
    other = DeltaTable(made.path)
    if how == "restored":
        other.restore(version)
    else:
        other.alter.set_table_properties({"delta.appendOnly": "false"})
        other.delete("seq = 13")
        other.alter.set_table_properties({"delta.appendOnly": "true"})
    for opened in (lambda: table, made.opened):
        with pytest.raises(EvidenceDamagedError, match="removes rows"):
            land(opened(), log(20, 29))


def forge(made: Deployment) -> None:
    """Append rows 10 … 19 with the newest checkpoints: those of the rows before."""
    newest = max(made.evidence())
    rows = open_dataset(str(made.path)).to_table()
    seq = rows.schema.get_field_index("seq")
    write_deltalake(
        made.path,
        rows.set_column(seq, rows.schema.field(seq), [list(range(10, 20))]),
        mode="append",
        commit_properties=CommitProperties(
            custom_metadata={"controlplane.evidence": made.evidence()[newest].to_json()},
            app_transactions=[Transaction("host-000", 19)],
        ),
    )


def test_a_forged_landing_stops_the_landing(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    forge(made)
    for opened in (lambda: table, made.opened):
        with pytest.raises(EvidenceDamagedError, match="not to be believed"):
            land(opened(), log(20, 29))


def test_a_key_that_does_not_lead_from_the_one_that_signed_is_refused(
    made: Deployment, tmp_path: Path
) -> None:
    table = made.opened()
    land(table, log(0, 9))
    other = Deployment(tmp_path / "other")
    next(other.random)
    other.made()
    shutil.copy(other.keys.private, made.keys.private)
    with pytest.raises(EvidenceKeyError, match="no rotation leads to it"):
        land(table, log(10, 19))
    with pytest.raises(EvidenceDamagedError, match="signed by no known key"):
        made.opened()


def test_without_a_key_nothing_lands(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    made.keys.private.unlink()
    with pytest.raises(EvidenceKeyError, match="keys evidence create"):
        land(table, log(10, 19))
    assert open_dataset(str(made.path)).count_rows() == 10


@pytest.mark.parametrize("record", [True, False])
def test_a_table_put_back_to_an_older_copy_is_noticed_by_the_files(record: bool, made: Deployment) -> None:
    land(made.opened(), log(0, 9))
    shutil.copytree(made.path, made.root / "copy")
    checkpoints = shutil.copytree(made.checkpoints, made.root / "copy-of-checkpoints")
    land(made.opened(), log(10, 19), record=record)
    shutil.rmtree(made.path)
    shutil.move(made.root / "copy", made.path)
    with pytest.raises(EvidenceDamagedError, match="restored from a copy"):
        made.opened()
    shutil.rmtree(made.checkpoints)
    shutil.move(checkpoints, made.checkpoints)
    with pytest.raises(EvidenceDamagedError, match="not of the history"):
        made.opened()


def test_after_a_loss_for_good_a_new_folder_for_files_lets_it_go_on_but_over_no_gap(made: Deployment) -> None:
    land(made.opened(), log(0, 9))
    shutil.copytree(made.path, made.root / "copy")
    land(made.opened(), log(10, 19))
    shutil.rmtree(made.path)
    shutil.move(made.root / "copy", made.path)
    shutil.rmtree(made.checkpoints)
    shutil.move(made.root / "files", made.root / "the auditors")
    landing = land(made.opened(), log(20, 29), log(0, 4, log_id="host-001"))
    assert landing.landed == {"host-001": 4}
    assert "expected seq 10, found 20" in landing.refused["host-000"]


def test_other_notes_under_a_files_name_stop_the_landing(made: Deployment, tmp_path: Path) -> None:
    table = made.opened()
    version = land(table, log(0, 9)).version
    with pytest.raises(EvidenceDamagedError, match="holds other checkpoints"):
        made.files.write(version, made.entry(version).time_ms, made.evidence()[version].notes[:1])
    made.files.write(version, made.entry(version).time_ms, made.evidence()[version].notes)


def test_checkpoint_files_are_read_only_and_named_by_landing_and_version(made: Deployment) -> None:
    version = land(made.opened(), log(0, 9)).version
    (path,) = (made.root / "files").glob("*/*/*")
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.name == f"{version:020d}.notes"
    assert made.files.newest() == (version, "/".join(path.parts[-3:]))
    assert made.files.name_of(version, 1_788_523_200_123).startswith("2026-09-04/12/")


@pytest.mark.parametrize("length", [0, 1, 200])
def test_a_file_that_a_crash_cut_short_is_completed(length: int, made: Deployment) -> None:
    land(made.opened(), log(0, 9), record=False)
    (path,) = (made.root / "files").glob("*/*/*")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:length])
    made.opened()
    assert check_all(made)["host-000"] == 10
    assert path.stat().st_mode & 0o777 == 0o444


def test_on_storage_where_nothing_can_be_renamed_or_removed_checkpoints_are_kept_all_the_same(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made.opened()

    def refused(*args: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        for name in ("link", "replace", "rename", "unlink"):
            patched.setattr(os, name, refused)
        table.land([log(0, 9)], ingest_time_us=NOON_US)
    land(table, log(10, 19))
    assert check_all(made)["host-000"] == 20


def test_an_entry_of_the_delta_log_that_was_rewritten_since_the_last_record_is_noticed(
    made: Deployment,
) -> None:
    table = made.opened()
    land(table, log(0, 9))
    land(table, log(10, 19), record=False)
    land(table, log(20, 29), record=False)
    entry = log_file(made.path, min(made.evidence()) + 1)
    entry.write_bytes(entry.read_bytes().replace(b"}\n", b"} \n", 1))
    with pytest.raises(EvidenceDamagedError, match="the Delta log before it"):
        made.opened()


def test_a_row_that_was_changed_since_the_last_record_is_noticed(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    land(table, log(10, 19), record=False)
    tampered(made, lambda seq: seq == 13)
    with pytest.raises(EvidenceDamagedError, match="is not what its leaf_hash says"):
        made.opened()


def tampered(made: Deployment, chosen: Callable[[int], bool]) -> None:
    """Change the agent of some rows in their files, and the sizes of these in the log."""
    for uri in DeltaTable(made.path).file_uris():
        rows = pq.read_table(uri, partitioning=None)
        seqs = rows.column("seq").to_pylist()
        if not any(map(chosen, seqs)):
            continue
        agents = ["someone-else" if chosen(seq) else "treasury-bot" for seq in seqs]
        index = rows.schema.get_field_index("agent_id")
        pq.write_table(rows.set_column(index, rows.schema.field(index), [agents]), uri)
        name = Path(uri).name
        for entry in (made.path / "_delta_log").glob("*.json"):
            text = entry.read_text()
            if name in text:
                size = Path(uri).stat().st_size
                before = next(int(part.split(",")[0]) for part in text.split('"size":')[1:])
                entry.write_text(text.replace(f'"size":{before}', f'"size":{size}'))


def test_a_damaged_range_of_the_checkpoints_table_is_refused(made: Deployment) -> None:
    land(made.opened(), log(0, 9))
    checkpoints = CheckpointsTable.open_or_create(storage_at(made.checkpoints), delta_log="_delta_log")
    origin = origin_of(NAME, "host-000")
    (head,) = checkpoints.newest([origin], until=100).values()
    bad = replace(head, range=replace(head.range, roots=head.range.roots[::-1]))
    newest = checkpoints.newest_version()
    checkpoints.append([CommittedHeads(version=newest + 1, time_ms=1_788_523_200_000, heads=(bad,))])
    with pytest.raises(EvidenceDamagedError, match="not what was signed"):
        checkpoints.newest([origin], until=newest + 1)
    with pytest.raises(EvidenceDamagedError, match="restored from a copy"):
        made.opened()


def test_the_checkpoint_files_are_optional(made: Deployment) -> None:
    table = made.opened(files=False)
    land(table, log(0, 9))
    assert made.notes_in_files() == {}
    assert isinstance(made.files, CheckpointFiles)


def test_a_journal_whose_leaf_is_wrong_is_refused_before_it_is_signed(made: Deployment) -> None:
    batch = log(0, 9)
    records = [*batch.records[:9], (batch.records[9][0], bytes(32))]
    landing = land(made.opened(), replace(batch, records=records), log(0, 4, log_id="host-001"))
    assert "seq 9, is not that of its record" in landing.refused["host-000"]
    assert landing.landed == {"host-001": 4}
