"""The checkpoints table: every signed checkpoint with the compact range that it was made of, for readers and restarts.

Derived: each checkpoint stands in the evidence table's commit first, so that this table can be made again from there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from evidence.checkpoint import Checkpoint
from evidence.delta.shape import ATTEMPTS, HOOKS, opened, sizes, unavailable
from evidence.errors import EvidenceDamagedError, EvidenceUnavailableError, SchemaMismatchError
from evidence.note import Note, NoteError
from evidence.storage import Storage
from evidence.tree_heads import HeadMismatchError, TreeHead, packed, unpacked

PARTITION: Final = "checkpoint_date"
SCHEMA: Final = pa.schema(
    [
        pa.field("checkpoint_date", pa.date32(), nullable=False),
        pa.field("checkpoint_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("table_version", pa.int64(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("log_id", pa.string()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("root", pa.binary(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("range", pa.binary(), nullable=False),
    ]
)
PROPERTIES: Final[Mapping[str, str]] = {
    "delta.appendOnly": "true",
    "delta.enableExpiredLogCleanup": "false",
    "delta.dataSkippingStatsColumns": "checkpoint_time,table_version,origin,log_id,size",
}
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=1)
_APPLICATION: Final = "controlplane.checkpoints"
_COMPACTION_COMMITS: Final = 50
_SMALL_FILE_BYTES: Final = 2 * 2**20
_LARGE_COMPACTION_COMMITS: Final = (
    1_000  # one cadence alone would rewrite a date's whole file again and again
)
_LARGE_FILE_BYTES: Final = 64 * 2**20
_CHECKPOINT_COMMITS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedHeads:
    """The checkpoints that one commit of the evidence table carries. `log_id` None: the Delta log's."""

    version: int
    time_ms: int
    heads: tuple[TreeHead, ...]


class CheckpointsTable:
    """The open table; one caller at a time. Any number of processes may append: each commit's rows stand there once.

    Args: delta_log: what stands in the place of a log id for the Delta log; its column is null there.
    """

    def __init__(self, path: Storage, table: DeltaTable, delta_log: str) -> None:
        self._path = path
        self._table = table
        self._delta_log = delta_log

    @classmethod
    def open_or_create(cls, path: Storage, *, delta_log: str) -> CheckpointsTable:
        """Raises: EvidenceDamagedError: files are missing. SchemaMismatchError. EvidenceUnavailableError."""
        with unavailable(f"cannot open the checkpoints table at `{path}`"):
            table = opened(path) or _created(path)
            if pa.schema(table.schema().to_arrow()).names != SCHEMA.names:
                raise SchemaMismatchError(
                    f"the table at `{path}` is not the checkpoints table of this version"
                )
            try:
                path.check_sizes(sizes(table))
            except EvidenceDamagedError as error:
                raise EvidenceDamagedError(
                    f"the checkpoints table at `{path}` is damaged ({error.fields.get('file')}): restore it, or move "
                    f"it away: it is made again from the commits of the evidence table",
                    file=error.fields.get("file"),
                ) from error
        return cls(path, table, delta_log)

    def newest_version(self) -> int:
        """The newest commit of the evidence table whose checkpoints stand here; -1: none. Cost: O(files)."""
        files = pa.table(self._table.get_add_actions(flatten=True))
        return int(pc.max(files.column("max.table_version")).as_py()) if len(files) else -1

    def newest(self, origins: Collection[str], *, until: int) -> dict[str, TreeHead]:
        """The newest head of each of these origins, as far as there is one; its signature is not verified here.

        Args: until: no heads of later versions of the evidence table.
        Raises: EvidenceDamagedError: a range is not the one that was signed. EvidenceUnavailableError.
        Cost: reads dates from the newest back until all are found: a log that never was costs all of them.
        """
        missing, found = set(origins), dict[str, Mapping[str, Any]]()
        with unavailable(f"cannot read the checkpoints table at `{self._path}`"):
            dataset = self._table.to_pyarrow_dataset(filesystem=self._path.files)
            for day in self._dates():
                # One date further than each was found: the clock may have gone back over midnight.
                wanted = (
                    (ds.field(PARTITION) == day)
                    & (ds.field("table_version") <= until)
                    & ds.field("origin").isin(sorted(missing))
                )
                versions = dataset.to_table(filter=wanted, columns=["origin", "table_version"])
                newest = versions.group_by("origin").aggregate([("table_version", "max")])
                these = ds.field("table_version").isin(newest.column("table_version_max").combine_chunks())
                for row in dataset.to_table(filter=wanted & these).sort_by("table_version").to_pylist():
                    before = found.get(row["origin"])
                    if before is None or row["table_version"] > before["table_version"]:
                        found[row["origin"]] = row
                missing -= {origin for origin, row in found.items() if row[PARTITION] > day}
                if not missing:
                    break
        return {origin: self._head(row) for origin, row in found.items()}

    def append(self, commits: Sequence[CommittedHeads]) -> None:
        """Add the checkpoints of these commits, durably, but for those that are there.

        Raises: EvidenceUnavailableError. Cost: one commit, about 10 ms, and its fsyncs.
        """
        with unavailable(f"cannot write to the checkpoints table at `{self._path}`"):
            for _ in range(ATTEMPTS):
                newest = self.newest_version()
                new = [commit for commit in commits if commit.version > newest and commit.heads]
                if not new or self._append(new):
                    return
                self._table.update_incremental()  # another writer of the evidence table was first
        raise EvidenceUnavailableError(f"another writer got ahead {ATTEMPTS} times at `{self._path}`")

    def tend(self) -> None:
        """Merge small files when it is their turn. Raises: EvidenceUnavailableError: it comes again."""
        version = int(self._table.version())
        with unavailable(f"cannot tidy up the checkpoints table at `{self._path}`"):
            if version % _COMPACTION_COMMITS == 0:
                large = version % _LARGE_COMPACTION_COMMITS == 0
                self._table.optimize.compact(
                    target_size=_LARGE_FILE_BYTES if large else _SMALL_FILE_BYTES,
                    writer_properties=_WRITER,
                    post_commithook_properties=HOOKS,
                )
                self._path.sync_versions(version + 1, int(self._table.version()))
            if version % _CHECKPOINT_COMMITS == 0:
                self._table.create_checkpoint()
                self._table.vacuum(
                    retention_hours=2,
                    dry_run=False,
                    enforce_retention_duration=False,
                    post_commithook_properties=HOOKS,
                )
                self._table.update_incremental()
                self._path.sync_log(version)

    def _append(self, commits: Sequence[CommittedHeads]) -> bool:
        rows = [self._row(commit, head) for commit in commits for head in commit.heads]
        before = int(self._table.version())
        try:
            write_deltalake(
                self._table,
                pa.Table.from_pylist(rows, schema=SCHEMA),
                mode="append",
                writer_properties=_WRITER,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(_APPLICATION, commits[-1].version)], max_commit_retries=0
                ),
                post_commithook_properties=HOOKS,
            )
        except CommitFailedError:
            return False
        self._path.sync_versions(before + 1, int(self._table.version()))
        return True

    def _dates(self) -> list[date]:
        """Newest first."""
        files = pa.table(self._table.get_add_actions(flatten=True))
        dates = pc.unique(files.column(f"partition.{PARTITION}")).to_pylist() if len(files) else []
        return sorted(dates, reverse=True)

    def _row(self, commit: CommittedHeads, head: TreeHead) -> dict[str, Any]:
        moment = datetime.fromtimestamp(commit.time_ms / 1000, UTC)
        return {
            "checkpoint_date": moment.date(),
            "checkpoint_time": moment,
            "table_version": commit.version,
            "origin": head.checkpoint.origin,
            "log_id": None if head.log_id == self._delta_log else head.log_id,
            "size": head.checkpoint.size,
            "root": head.checkpoint.root,
            "note": str(head.note),
            "range": packed(head.range),
        }

    def _head(self, row: Mapping[str, Any]) -> TreeHead:
        try:
            note = Note.parse(row["note"])
            checkpoint = Checkpoint.parse(note.text)
            if (checkpoint.origin, checkpoint.size) != (row["origin"], row["size"]):
                raise NoteError("the columns and the note differ")
            return TreeHead(
                log_id=row["log_id"] or self._delta_log,
                note=note,
                checkpoint=checkpoint,
                range=unpacked(checkpoint, row["range"]),
            )
        except (NoteError, HeadMismatchError) as error:
            raise EvidenceDamagedError(
                f"the checkpoints table at `{self._path}` is damaged at `{row['origin']}`, size {row['size']}: "
                f"{error}; if it was not changed on purpose, move it away: it is made again from the evidence table"
            ) from error


def _created(path: Storage) -> DeltaTable:
    path.prepare()
    try:
        table = DeltaTable.create(
            path.uri,
            storage_options=path.options,
            schema=SCHEMA,
            name="checkpoints",
            description="signed checkpoints of the evidence table: docs/evidence-format.md",
            partition_by=[PARTITION],
            configuration=dict(PROPERTIES),
            post_commithook_properties=HOOKS,
        )
        path.sync_log(0)
        return table
    except DeltaError:
        table = opened(path)  # another process was first
        if table is None:
            raise
        return table
