"""The evidence table: one Delta table, written exactly once and in order, durable when `land` returns.

The one module that imports deltalake. Facts about delta-rs that shape it: it never calls fsync; a commit that
repeats or lowers a `Transaction` version is accepted; a stale writer of the same application id is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import Field, Schema

from evidence import durability
from evidence.columns import COMMENTS, DECISIONS, SCHEMA
from evidence.errors import (
    EvidenceDamagedError,
    EvidenceUnavailableError,
    NoEvidenceError,
    SchemaMismatchError,
)
from evidence.landing import LogBatch, plan, rows_of
from evidence.record import RecordError

PARTITION: Final = "event_date"

PROPERTIES: Final[Mapping[str, str]] = {
    "delta.appendOnly": "true",
    # Each version stays readable from the log: an audit asks what the table said at a time.
    "delta.enableExpiredLogCleanup": "false",
    # What queries filter on. Without this, delta-rs keeps statistics of the first 32 columns, lists included.
    "delta.dataSkippingStatsColumns": (
        "event_type,event_time,log_id,seq,tenant_id,agent_id,session_id,workflow_id,"
        "resource_id,decision,reason_code,bundle_hash,outcome"
    ),
}
# delta-rs accepts constraints only on a table that exists.
CONSTRAINTS: Final[Mapping[str, str]] = {
    "seq_from_zero": "seq >= 0",
    "decision_known": "decision IS NULL OR decision IN ("
    + ", ".join(f"'{decision}'" for decision in sorted(DECISIONS))
    + ")",
}

# Columns in which nearly every value is another one: building a dictionary for them is in vain.
_DISTINCT: Final = ("event_id", "event_time", "seq", "trace_id", "span_id", "arguments_digest", "leaf_hash")
_WRITER: Final = WriterProperties(
    compression="ZSTD",
    compression_level=1,  # level 3 saves no space here and takes longer
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in _DISTINCT},
)
# Checkpoints are written where we can make them durable, not inside a commit.
_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_ATTEMPTS: Final = 5
_RECENT_VERSIONS: Final = 100  # that far back a log entry may not have reached the disk yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """After how many commits the table is tended.

    Small files are merged often into files of `small_file_bytes`, those rarely into large ones: one cadence
    alone would rewrite a day's whole file again and again. Replaced files stay `replaced_files_hours` for
    readers that have opened them.
    """

    compaction_commits: int = 50
    small_file_bytes: int = 4 * 2**20
    large_compaction_commits: int = 2_500
    large_file_bytes: int = 128 * 2**20
    replaced_files_hours: int = 2
    checkpoint_commits: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What one round did.

    `landed`: last `seq` in the table, durable, of each log handed over and not refused: its journal may trim
    up to there. `refused`: why, by log. `rows`: how many were appended now. `version`: of the table.
    `maintenance_error`: the rows are safe, but compaction or the checkpoint failed; it comes again.
    """

    landed: Mapping[str, int]
    refused: Mapping[str, str]
    version: int
    rows: int
    maintenance_error: str | None = None


class EvidenceTable:
    """The open table; keep it between rounds (opening costs more than a commit). One caller at a time.

    Any number of these, in any processes, may land the same logs: whoever comes second drops what the first
    has landed. But each conflict costs a round, so that one writer for each table is the rule.
    """

    def __init__(self, path: Path, table: DeltaTable, cadence: Cadence) -> None:
        self._path = path
        self._table = table
        self._cadence = cadence
        self._commits = int(table.version())  # so that many short runs are tended like a long one
        self._seen: dict[str, int] = {}
        self._stale = False
        self._durable_version = int(table.version())
        self._broken: str | None = None

    @classmethod
    def open_or_create(cls, path: str, *, cadence: Cadence | None = None) -> EvidenceTable:
        """Open the table, or create it where there is none yet; another process may do so at the same time.

        Raises:
            SchemaMismatchError: something else than our table is there.
            EvidenceDamagedError: a data file is missing or cut short.
            EvidenceUnavailableError: the path cannot be read or written.
        """
        root = Path(path).absolute()
        with _unavailable(f"cannot open the evidence table at `{path}`"):
            table = _opened(root) or _created(root)
            _check_schema(table, path)
            _constrain(table)
            durability.check_sizes(root, _sizes(table))
            # A predecessor may have been killed between a commit and its fsync.
            durability.sync_files(root, [root / name for name in _sizes(table)])
            durability.sync_log(root, int(table.version()) - _RECENT_VERSIONS)
        return cls(root, table, cadence or Cadence())

    @property
    def version(self) -> int:
        """Version of the Delta table as this object last saw it."""
        return int(self._table.version())

    def landed(self, log_id: str) -> int:
        """Last `seq` of the log in the table, as this object last saw it; -1: none."""
        version = self._table.transaction_version(log_id)
        return -1 if version is None else int(version)

    def land(self, batches: Sequence[LogBatch], *, ingest_time_us: int) -> Landing:
        """Append what is new, in one commit, and make it durable.

        Args:
            batches: of any logs, in any number; overlaps with what has landed are dropped.
            ingest_time_us: now, microseconds since the epoch.
        Returns: what landed and what was refused (a gap, records that are not what their batch says); a
            refused log stops no other one. A round without new rows makes no commit.
        Raises: EvidenceUnavailableError: nothing may be trimmed. What this round appended, if anything, is
            found and dropped when the batches are landed again.
        Cost: about 25 ms for 1 000 rows, 110 ms for 10 000, and the fsyncs (two files, three directories).
        """
        if self._broken is not None:
            raise EvidenceUnavailableError(f"evidence table `{self._path}` is closed: {self._broken}")
        with _unavailable(f"cannot write to the evidence table at `{self._path}`"):
            landing = self._land(batches, ingest_time_us)
        if landing.rows:
            self._commits += 1
            landing = replace(landing, maintenance_error=self._maintain(), version=self.version)
        return landing

    def _land(self, batches: Sequence[LogBatch], ingest_time_us: int) -> Landing:
        for _ in range(_ATTEMPTS):
            # INVARIANT (exactly once): plan and commit rest on the same snapshot. delta-rs refuses the commit
            # if another one of any of these logs came after that snapshot.
            self._refresh_if_stale()
            known = {batch.log_id: self.landed(batch.log_id) for batch in batches}
            rewound = self._rewound(known)
            chosen = plan([batch for batch in batches if batch.log_id not in rewound], known)
            if chosen.refused and self._refresh():
                continue  # another writer landed what seemed to be missing, perhaps
            refused = {**chosen.refused, **rewound}
            rows: dict[str, pa.RecordBatch] = {}
            for batch in chosen.append:
                try:
                    rows[batch.log_id] = rows_of(batch, ingest_time_us=ingest_time_us)
                except RecordError as error:
                    refused[batch.log_id] = error.message
            positions = {b.log_id: b.last_seq for b in chosen.append if b.log_id in rows}
            if rows and not self._commit(list(rows.values()), positions):
                continue
            landed = {b.log_id: self.landed(b.log_id) for b in batches if b.log_id not in refused}
            self._seen.update(landed)
            count = sum(len(batch) for batch in rows.values())
            return Landing(landed=landed, refused=refused, version=self.version, rows=count)
        raise EvidenceUnavailableError(
            f"another writer got ahead {_ATTEMPTS} times at the evidence table `{self._path}`"
        )

    def _rewound(self, known: Mapping[str, int]) -> dict[str, str]:
        """Logs whose position went back, which delta-rs allows any writer: their rows would land twice."""
        return {
            log_id: f"log `{log_id}` went back in the table from seq {self._seen[log_id]} to {last}"
            for log_id, last in known.items()
            if last < self._seen.get(log_id, -1)
        }

    def _commit(self, rows: Sequence[pa.RecordBatch], positions: Mapping[str, int]) -> bool:
        """One durable commit; False: another writer of one of these logs was first, plan again."""
        self._stale = True  # until proven otherwise: after an error the commit may or may not be there
        try:
            write_deltalake(
                self._table,
                pa.Table.from_batches(rows),
                mode="append",
                writer_properties=_WRITER,
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(log_id, last) for log_id, last in positions.items()]
                ),
                post_commithook_properties=_HOOKS,
            )
        except CommitFailedError:
            return False
        self._sync()
        self._stale = False
        return True

    def _sync(self) -> None:
        """Make every version durable that this object has come to see since it last did so."""
        try:
            durability.sync_versions(self._path, self._durable_version + 1, self.version)
        except OSError as error:
            self._broken = f"fsync failed: {error}"
            raise
        self._durable_version = self.version

    def _refresh_if_stale(self) -> None:
        if self._stale:
            self._refresh()
            self._stale = False

    def _refresh(self) -> bool:
        """See what other writers did; True: they did something."""
        before = self.version
        self._table.update_incremental()
        # INVARIANT (trim): what we report as landed is durable, whoever wrote it, and whatever failed after.
        self._sync()
        return self.version != before

    def _maintain(self) -> str | None:
        """Compact and checkpoint when it is their turn; what failed, or None."""
        cadence, commits = self._cadence, self._commits
        try:
            if commits % cadence.large_compaction_commits == 0:
                self._compact(cadence.large_file_bytes)
                self._table.vacuum(
                    retention_hours=cadence.replaced_files_hours,
                    dry_run=False,
                    enforce_retention_duration=False,
                    post_commithook_properties=_HOOKS,
                )
                self._refresh()  # a vacuum writes log entries, too
            elif commits % cadence.compaction_commits == 0:
                self._compact(cadence.small_file_bytes)
            if commits % cadence.checkpoint_commits == 0:
                self._table.create_checkpoint()
                durability.sync_log(self._path, self.version - _RECENT_VERSIONS)
        except (DeltaError, OSError, EvidenceUnavailableError) as error:
            self._stale = True
            return f"{type(error).__name__}: {error}"
        return None

    def _compact(self, target_size_bytes: int) -> None:
        """Merge small files of each date: no row changes (`dataChange` is false), so appendOnly allows it."""
        before, rows = self.version, _row_count(self._table)
        self._table.optimize.compact(
            target_size=target_size_bytes, writer_properties=_WRITER, post_commithook_properties=_HOOKS
        )
        self._sync()
        if self.version == before + 1 and _row_count(self._table) != rows:
            found = _row_count(self._table)
            self._broken = f"a compaction changed the number of rows from {rows} to {found}"
            raise EvidenceDamagedError(self._broken, expected=rows, found=found)


def open_dataset(path: str) -> ds.Dataset:
    """The table's rows as they are now, for readers; needs no control plane, writes nothing.

    Raises: NoEvidenceError: no table there. EvidenceUnavailableError: it cannot be read.
    """
    with _unavailable(f"cannot read the evidence table at `{path}`"):
        root = Path(path).absolute()
        table = _opened(root)
        if table is None:
            raise NoEvidenceError(f"no evidence table at `{path}`")
        # Arrow's own file system, not delta-rs's default one: that calls back into Python from Arrow's
        # threads, and a scan that a LIMIT has abandoned then crashes or hangs the interpreter at its exit.
        return table.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()))


@contextmanager
def _unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as error:
        raise EvidenceUnavailableError(f"{what}: {error}") from error


def _opened(root: Path) -> DeltaTable | None:
    try:
        return DeltaTable(root)
    except TableNotFoundError:
        return None


def _created(root: Path) -> DeltaTable:
    """Create the table in one commit: who opens it in the same moment sees all of it or nothing."""
    root.mkdir(parents=True, exist_ok=True)
    if any(path.name != durability.LOG_DIRECTORY for path in root.iterdir()) and _opened(root) is None:
        raise SchemaMismatchError(f"`{root}` is not empty and holds no evidence table")
    try:
        return DeltaTable.create(
            root,
            schema=_delta_schema(),
            name="evidence",
            description="what was decided, done and changed: docs/evidence-format.md",
            partition_by=[PARTITION],
            configuration=dict(PROPERTIES),
            post_commithook_properties=_HOOKS,
        )
    except DeltaError:
        table = _opened(root)  # another process was first
        if table is None:
            raise
        return table


def _delta_schema() -> Schema:
    return Schema(
        [
            Field(field.name, field.type, nullable=field.nullable, metadata={"comment": COMMENTS[field.name]})
            for field in Schema.from_arrow(SCHEMA).fields
        ]
    )


def _check_schema(table: DeltaTable, path: str) -> None:
    expected, found = (
        {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in schema.fields}
        for schema in (_delta_schema(), table.schema())
    )
    for name in {**expected, **found}:
        ours, theirs = expected.get(name, "absent"), found.get(name, "absent")
        if ours != theirs:
            raise SchemaMismatchError(
                f"the table at `{path}` is not the evidence table of this version: "
                f"column `{name}` is {theirs}, expected {ours}",
                column=name,
                expected=ours,
                found=theirs,
            )
    metadata = table.metadata()
    facts: list[tuple[str, Any, Any]] = [("partition columns", [PARTITION], metadata.partition_columns)]
    facts += [
        (f"property {key}", value, metadata.configuration.get(key)) for key, value in PROPERTIES.items()
    ]
    # A transaction version that expires is a log that lands twice.
    key = "delta.setTransactionRetentionDuration"
    facts.append((f"property {key}", None, metadata.configuration.get(key)))
    for what, ours, theirs in facts:
        if ours != theirs:
            raise SchemaMismatchError(
                f"the table at `{path}` has {what} {theirs}, expected {ours}", expected=ours, found=theirs
            )


def _constrain(table: DeltaTable) -> None:
    for name, expression in CONSTRAINTS.items():
        for _ in range(_ATTEMPTS):
            if f"delta.constraints.{name}" in table.metadata().configuration:
                break
            try:
                table.alter.add_constraint({name: expression}, post_commithook_properties=_HOOKS)
            except CommitFailedError:
                table.update_incremental()  # another process creates the same table
        else:
            raise EvidenceUnavailableError(f"cannot add the constraint `{name}`: other writers got ahead")


def _sizes(table: DeltaTable) -> dict[str, int]:
    actions = pa.table(table.get_add_actions(flatten=True))
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    return dict(zip(paths, sizes, strict=True))


def _row_count(table: DeltaTable) -> int:
    return sum(pa.table(table.get_add_actions(flatten=True)).column("num_records").to_pylist())
