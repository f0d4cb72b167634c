"""The evidence table: one Delta table, written exactly once and in order, durable when `land` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from evidence.commit_metadata import KEY, CommitEvidence
from evidence.delta.heads import Heads, Signing
from evidence.delta.maintenance import OBJECT_STORE, Cadence, merge_files, remove_replaced_files, rewriting
from evidence.delta.retiring import remove, settle
from evidence.delta.shape import (
    HOOKS,
    WRITER,
    check_schema,
    constrain,
    created,
    grow,
    opened,
    row_count,
    sizes,
    told,
    unavailable,
)
from evidence.errors import EvidenceDamagedError, EvidenceUnavailableError, RetentionOvertakenError
from evidence.failpoints import reach
from evidence.landing import LogBatch, leaves_of, plan, rows_of
from evidence.record import RecordError
from evidence.retention import Departure, Retirement
from evidence.storage import Storage, storage_at

_LANDING_ATTEMPTS: Final = (
    20  # a signed commit goes on top of no other: whoever rewrites many dates is often first
)
_RECENT_VERSIONS: Final = 100  # that far back a log entry may not have reached the disk yet


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

    def __init__(self, storage: Storage, table: DeltaTable, cadence: Cadence, heads: Heads | None) -> None:
        self._storage = storage
        self._table = table
        self._cadence = cadence
        self._heads = heads
        self._commits = int(table.version())  # so that many short runs are tended like a long one
        self._seen: dict[str, int] = {}
        self._stale = False
        self._durable_version = int(table.version())
        self._broken: str | None = None

    @classmethod
    def open_or_create(
        cls, path: str, *, cadence: Cadence | None = None, signing: Signing | None = None
    ) -> EvidenceTable:
        """Open the table, or create it where there is none yet; another process may do so at the same time.

        Args:
            path: a directory, or `s3://bucket/prefix` (see `evidence.object_store`).
            signing: what each landing is signed with; None: nothing is, as for a table that nobody has to believe.
        Raises:
            EvidencePlaceError: the path names no such place.
            SchemaMismatchError: something else than our table is there.
            EvidenceDamagedError: a data file is missing or cut short, or the table is not what was signed.
            EvidenceKeyError: there is no usable key.
            EvidenceUnavailableError: the path cannot be read or written.
        """
        storage = storage_at(path)
        with unavailable(f"cannot open the evidence table at `{path}`"):
            table = opened(storage) or created(storage)
            if signing is not None:
                settle(
                    table,
                    storage,
                    signing.signer.known(),
                    synced=lambda: storage.sync_log(int(table.version()) - 1),
                )
            check_schema(table, path)
            grow(table)
            constrain(table)
            storage.check_sizes(sizes(table))
            # A predecessor may have been killed between a commit and its fsync.
            storage.sync_files(sizes(table))
            storage.sync_log(int(table.version()) - _RECENT_VERSIONS)
            heads = None if signing is None else Heads.open(storage, table, signing)
        return cls(storage, table, cadence or (OBJECT_STORE if storage.options else Cadence()), heads)

    @property
    def heads(self) -> Heads | None:
        """Where the Merkle trees stand; None: nothing is signed here."""
        return self._heads

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
            raise EvidenceUnavailableError(f"evidence table `{self._storage.uri}` is closed: {self._broken}")
        with unavailable(f"cannot write to the evidence table at `{self._storage.uri}`"):
            landing = self._land(batches, ingest_time_us)
        if landing.rows:
            self._commits += 1
            landing = replace(landing, maintenance_error=self._maintain(), version=self.version)
        return landing

    def retire(self, departure: Departure, retirement: Retirement) -> int:
        """Let dates leave whose rows were checked: see `evidence.delta.retiring.remove`. Durable when it returns.

        Args: retirement: what is signed of them.
        Returns: the version of the commit that removes them.
        Raises: RetentionOvertakenError: nothing left; to be checked anew. EvidenceUnavailableError: this object is of
            no use any more; the next opening completes or undoes what stands half-way.
        """
        heads = self._heads
        if self._broken is not None or heads is None:
            why = self._broken or "nothing is signed there"
            raise EvidenceUnavailableError(
                f"nothing can leave the evidence table `{self._storage.uri}`: {why}"
            )

        def signed() -> CommitEvidence:
            heads.follow()
            return heads.sign({}, {}, retention=retirement)

        self._broken = "dates were leaving"  # until proven otherwise
        with unavailable(f"cannot let dates leave the evidence table at `{self._storage.uri}`"):
            self._refresh()
            try:
                version = remove(
                    self._table, self._storage, departure, retirement, signed=signed, synced=self._sync
                )
            except RetentionOvertakenError:
                self._broken = None
                raise
            heads.follow()
        self._broken = None
        return version

    def remove_replaced_files(self) -> None:
        """Delete the files of what was replaced, or has left, some hours ago.

        Raises: EvidenceUnavailableError. Cost: one deletion a file; two commits.
        """
        if self._broken is not None:
            raise EvidenceUnavailableError(f"evidence table `{self._storage.uri}` is closed: {self._broken}")
        with unavailable(
            f"cannot delete files that the evidence table at `{self._storage.uri}` no longer names"
        ):
            self._stale = True
            remove_replaced_files(self._table, self._cadence.replaced_files_hours)
            self._refresh_if_stale()

    def _land(self, batches: Sequence[LogBatch], ingest_time_us: int) -> Landing:
        for _ in range(_LANDING_ATTEMPTS):
            # INVARIANT (exactly once): plan and commit rest on the same snapshot. delta-rs refuses the commit
            # if another one of any of these logs came after that snapshot.
            self._refresh_if_stale()
            self._follow()
            known = {batch.log_id: self.landed(batch.log_id) for batch in batches}
            rewound = self._rewound(known)
            chosen = plan([batch for batch in batches if batch.log_id not in rewound], known)
            if chosen.refused and self._refresh():
                continue  # another writer landed what seemed to be missing, perhaps
            refused = {**chosen.refused, **rewound}
            rows: dict[str, pa.RecordBatch] = {}
            leaves: dict[str, list[bytes]] = {}
            for batch in chosen.append:
                try:
                    leaves[batch.log_id] = leaves_of(batch)
                    rows[batch.log_id] = rows_of(batch, ingest_time_us=ingest_time_us)
                except RecordError as error:
                    refused[batch.log_id] = error.message
            positions = {b.log_id: b.last_seq for b in chosen.append if b.log_id in rows}
            if rows:
                # INVARIANT (signed): rows and the checkpoints that cover them are one commit. What is signed here is
                # of this snapshot: a commit that is planned again signs again.
                evidence = self._signed({log_id: leaves[log_id] for log_id in rows}, known)
                if not self._commit(list(rows.values()), positions, evidence):
                    continue
                self._follow()
            landed = {b.log_id: self.landed(b.log_id) for b in batches if b.log_id not in refused}
            self._seen.update(landed)
            count = sum(len(batch) for batch in rows.values())
            return Landing(landed=landed, refused=refused, version=self.version, rows=count)
        raise EvidenceUnavailableError(
            f"another writer got ahead {_LANDING_ATTEMPTS} times at the evidence table `{self._storage.uri}`"
        )

    def _signed(
        self, leaves: Mapping[str, Sequence[bytes]], landed: Mapping[str, int]
    ) -> CommitEvidence | None:
        return None if self._heads is None else self._heads.sign(leaves, landed)

    def _follow(self) -> None:
        """What is reported as landed has its checkpoint files, whoever committed it."""
        if self._heads is not None:
            self._heads.follow()

    def _rewound(self, known: Mapping[str, int]) -> dict[str, str]:
        """Logs whose position went back, which delta-rs allows any writer: their rows would land twice."""
        return {
            log_id: f"log `{log_id}` went back in the table from seq {self._seen[log_id]} to {last}"
            for log_id, last in known.items()
            if last < self._seen.get(log_id, -1)
        }

    def _commit(
        self,
        rows: Sequence[pa.RecordBatch],
        positions: Mapping[str, int],
        evidence: CommitEvidence | None,
    ) -> bool:
        """One durable commit; False: another writer of one of these logs was first, plan again."""
        self._stale = True  # until proven otherwise: after an error the commit may or may not be there
        reach("table.before_commit")
        try:
            write_deltalake(
                self._table,
                pa.Table.from_batches(rows),
                mode="append",
                writer_properties=WRITER,
                commit_properties=CommitProperties(
                    custom_metadata=None if evidence is None else {KEY: evidence.to_json()},
                    # Never put on top of another commit: what is signed is the Delta log up to this snapshot.
                    max_commit_retries=None if evidence is None else 0,
                    app_transactions=[Transaction(log_id, last) for log_id, last in positions.items()],
                ),
                post_commithook_properties=HOOKS,
            )
        except CommitFailedError:
            return False
        reach("table.after_commit")
        self._sync()
        reach("table.after_sync")
        self._stale = False
        return True

    def _sync(self) -> None:
        """Make every version durable that this object has come to see since it last did so."""
        try:
            self._storage.sync_versions(self._durable_version + 1, self.version)
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
        if self.version == before:
            return False
        # INVARIANT (append only): a table that somebody else unlocks, or changes otherwise, gets no rows of ours.
        check_schema(self._table, self._storage.uri)
        return True

    def _maintain(self) -> str | None:
        """Compact and checkpoint when it is their turn; what failed, or None."""
        cadence, commits = self._cadence, self._commits
        try:
            if commits % cadence.large_compaction_commits == 0:
                self._compact(cadence.large_file_bytes)
                reach("table.before_vacuum")
                remove_replaced_files(self._table, cadence.replaced_files_hours)
                reach("table.after_vacuum")
                self._refresh()  # a vacuum writes log entries, too
            elif commits % cadence.compaction_commits == 0:
                self._compact(cadence.small_file_bytes)
            if commits % cadence.checkpoint_commits == 0:
                reach("table.before_delta_checkpoint")
                self._table.create_checkpoint()
                reach("table.after_delta_checkpoint")
                self._storage.sync_log(self.version - _RECENT_VERSIONS)
        except (DeltaError, OSError, EvidenceUnavailableError) as error:
            self._stale = True
            return f"{type(error).__name__}: {told(error)}"
        return None

    def _compact(self, target_size_bytes: int) -> None:
        """Merge small files of each date: no row changes (`dataChange` is false), so appendOnly allows it."""
        with rewriting(self._storage, wait=False) as alone:
            if not alone:
                return  # an operator optimizes the table: the next time will do
            # INVARIANT (exactly once): what is merged is what is there now. delta-rs sees no conflict between rewrites.
            self._refresh()
            before, rows = self.version, row_count(self._table)
            reach("table.before_compaction")
            merge_files(self._table, target_size_bytes)
            reach("table.after_compaction")
            self._sync()
        if self.version == before + 1 and row_count(self._table) != rows:
            found = row_count(self._table)
            self._broken = f"a compaction changed the number of rows from {rows} to {found}"
            raise EvidenceDamagedError(self._broken, expected=rows, found=found)
