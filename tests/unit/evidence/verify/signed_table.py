"""A deployment in small: a table with its checkpoints, as docs/evidence-format.md has it, for tests to attack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from unit.evidence.evidence_samples import NOON_US, log

from evidence.checkpoint import DELTA_LOG, Checkpoint, origin_of
from evidence.commit_metadata import KEY, CommitEvidence
from evidence.delta.maintenance import Cadence, merge_files, remove_replaced_files
from evidence.delta.shape import HOOKS, WRITER
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch, rows_of
from evidence.merkle import CompactRange
from evidence.note import Note, PrivateKey, written_notes
from evidence.record import leaf_hash
from evidence.rotation import rotate
from evidence.verify.report import Report
from evidence.verify.verifier import Options, verify

NAME = "controlplane-test"
KEY_A, KEY_B, EVIL = (PrivateKey(NAME, bytes([seed]) * 32) for seed in (1, 2, 3))
CADENCE = Cadence(compaction_commits=10**9, large_compaction_commits=10**9, checkpoint_commits=10**9)


class SignedTable:
    """The table at `root/decisions`, the checkpoints beside it."""

    def __init__(self, root: Path, *, key: PrivateKey = KEY_A, checkpoints_table: bool = True) -> None:
        self.root = root
        self.path = root / "decisions"
        self.key = key
        self.checkpoints_table = checkpoints_table
        self.files = (
            root / "kept"
        )  # where an operator keeps copies; nobody but the tests gives it to the verifier
        self.ranges: dict[str, CompactRange] = {}
        self.rotations: list[Note] = []
        EvidenceTable.open_or_create(str(self.path), cadence=CADENCE)
        (root / "keys.vkey").write_text(f"{key.public}\n")

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.path)

    @property
    def version(self) -> int:
        return int(self.table.version())

    def land(self, *batches: LogBatch, signed: bool = True) -> int:
        """One landing with its checkpoints; the version that it made."""
        for batch in batches:
            leaves = [leaf for _, leaf in batch.records]
            self.ranges[batch.log_id] = self.ranges.get(batch.log_id, CompactRange()).append(leaves)
        version = self.version + 1
        heads = [(batch.log_id, self.ranges[batch.log_id]) for batch in batches]
        heads.append((DELTA_LOG, CompactRange().append(self.entry_leaves(version))))
        notes = [self.note(log_id, range_) for log_id, range_ in heads]
        evidence = CommitEvidence(checkpoints=tuple(notes), rotations=tuple(self.rotations))
        self.rotations = []
        write_deltalake(
            self.table,
            pa.Table.from_batches([rows_of(batch, ingest_time_us=NOON_US) for batch in batches]),
            mode="append",
            writer_properties=WRITER,
            commit_properties=CommitProperties(
                custom_metadata={KEY: evidence.to_json()} if signed else None,
                app_transactions=[Transaction(batch.log_id, batch.last_seq) for batch in batches],
            ),
            post_commithook_properties=HOOKS,
        )
        if signed:
            self.files.mkdir(exist_ok=True)
            (self.files / f"{version:020d}.notes").write_text(written_notes(notes))
            if self.checkpoints_table:
                self._store(version, heads, notes)
        return version

    def note(self, log_id: str, range_: CompactRange, *, key: PrivateKey | None = None) -> Note:
        head = Checkpoint(origin=origin_of(NAME, log_id), size=range_.size, root=range_.root())
        return head.signed(key or self.key)

    def entry(self, version: int) -> Path:
        return self.path / "_delta_log" / f"{version:020d}.json"

    def entry_leaves(self, count: int) -> list[bytes]:
        return [leaf_hash(self.entry(version).read_bytes()) for version in range(count)]

    def rotate(self, new: PrivateKey = KEY_B) -> None:
        self.rotations.append(rotate(self.key, new, time="2026-09-04T12:00:00Z"))
        self.key = new

    def compact(self) -> None:
        merge_files(self.table, 2**30)

    def vacuum(self) -> None:
        remove_replaced_files(self.table, 0)

    def checkpoint(self) -> Path:
        """A Parquet checkpoint of the Delta log."""
        self.table.create_checkpoint()
        return self.path / "_delta_log" / f"{self.version:020d}.checkpoint.parquet"

    def data_files(self) -> list[Path]:
        return sorted(
            self.path / name for name in pa.table(self.table.get_add_actions()).column("path").to_pylist()
        )

    def verify(self, *, keys: Sequence[PrivateKey] = (KEY_A,), **options: Any) -> Report:
        return verify(str(self.path), Options(keys=[str(key.public) for key in keys], jobs=1, **options))

    def _store(self, version: int, heads: list[tuple[str, CompactRange]], notes: list[Note]) -> None:
        rows = [
            {
                "checkpoint_date": "2026-09-04",
                "table_version": version,
                "origin": note.origin,
                "log_id": None if log_id == DELTA_LOG else log_id,
                "size": range_.size,
                "root": range_.root(),
                "note": str(note),
                "range": b"".join(range_.roots),
            }
            for (log_id, range_), note in zip(heads, notes, strict=True)
        ]
        schema = pa.schema(
            [
                ("checkpoint_date", pa.string()),
                ("table_version", pa.int64()),
                ("origin", pa.string()),
                ("log_id", pa.string()),
                ("size", pa.int64()),
                ("root", pa.binary()),
                ("note", pa.string()),
                ("range", pa.binary()),
            ]
        )
        write_deltalake(
            self.root / "checkpoints",
            pa.Table.from_pylist(rows, schema=schema),
            mode="append",
            partition_by=["checkpoint_date"],
        )


def landed(root: Path, **options: Any) -> SignedTable:
    """Six landings of two logs over two dates: log a has the rows 0 to 59, log b 0 to 29."""
    table = SignedTable(root, **options)
    for step in range(6):
        batches = [log(step * 10, step * 10 + 9, log_id="log-a", step_us=900_000_000)]
        if step % 2 == 0:
            batches.append(log(step * 5, step * 5 + 9, log_id="log-b", step_us=900_000_000))
        table.land(*batches)
    return table


def found(report: Report) -> set[str]:
    """The codes of what is wrong."""
    assert report.holds is not bool(report.counts)
    return set(report.counts)


def actions(entry: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in entry.read_text().splitlines()]


def rewrite(entry: Path, changed: list[dict[str, Any]]) -> None:
    entry.write_text("\n".join(json.dumps(action) for action in changed))
