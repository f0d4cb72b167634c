"""The one module that opens journals: SQLite in WAL mode, `synchronous=FULL`, fenced by an epoch.

A journal belongs to one owner (an agent host or the control store). State and evidence of a batch are written in
one transaction; when `transaction` returns, they are on disk. Evidence records keep their canonical bytes and leaf
hash as they were when journalled, so that no retry can change them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.errors import InputError, UnavailableError
from evidence.record import EvidenceRow, RecordError, canonical_bytes, leaf_hash

Row = tuple[Any, ...]

TRIMMED_AT_ONCE = 1_000
"""Rows of evidence that one step deletes: about 2 ms, for which decisions wait."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (seq INTEGER PRIMARY KEY, canonical BLOB NOT NULL, leaf BLOB NOT NULL);
"""


class JournalError(UnavailableError):
    """The journal cannot be used; whoever holds it fails closed."""

    code = "journal_unavailable"


class FencedError(JournalError):
    """Another owner has opened this journal: this one must never write again."""

    code = "journal_fenced"


class Transaction:
    """What one durable step writes. Made by `Journal.transaction`."""

    def __init__(self, connection: sqlite3.Connection, log_id: str, next_seq: int) -> None:
        self._connection = connection
        self._log_id = log_id
        self._records: list[tuple[int, bytes, bytes]] = []
        self.next_seq = next_seq

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._connection.execute(sql, values)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, values)

    def set_meta(self, name: str, value: str | int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def append(self, row: EvidenceRow) -> int:
        """Add one evidence record; `log_id` and `seq` are filled in here.

        Returns: the sequence number. Raises: InputError (`invalid_record`): the table could not hold the row.
        """
        row["log_id"] = self._log_id
        row["seq"] = seq = self.next_seq
        try:
            canonical = canonical_bytes(row)
        except RecordError as error:
            raise InputError(error.message, code=error.code, **error.fields) from error
        self._records.append((seq, canonical, leaf_hash(canonical)))
        self.next_seq = seq + 1
        return seq

    def flush(self) -> None:
        if self._records:
            self._connection.executemany("INSERT INTO evidence VALUES (?, ?, ?)", self._records)
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('next_seq', ?)", (self.next_seq,))


class Journal:
    """An open journal.

    Attributes:
        log_id: name of its evidence log; stays with the file for good.
        epoch: raised by each opening; a transaction under an older epoch fails.
        next_seq: the sequence number that the next evidence record gets (the first is 0).
        first_seq: of the oldest evidence record that is not trimmed yet; `next_seq` when there is none.
        fenced: another owner has opened the journal; whoever holds this object must not open it again.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, log_id: str, epoch: int, next_seq: int, first_seq: int
    ) -> None:
        self._connection: sqlite3.Connection | None = connection
        self.log_id = log_id
        self.epoch = epoch
        self.next_seq = next_seq
        self.first_seq = first_seq
        self.fenced = False

    @classmethod
    def open(cls, path: Path, *, new_log_id: str, schema: str = "") -> Journal:
        """Open or create a journal and raise its epoch, which fences whoever held it before.

        Args:
            path: the file; its folder exists.
            new_log_id: the log's name if the journal is new; ignored otherwise.
            schema: the owner's own tables (`CREATE TABLE IF NOT EXISTS …`).
        Raises: JournalError: the file cannot be opened, read or written.
        """
        connection: sqlite3.Connection | None = None
        try:
            # SQLite gives the files beside it the mode that it finds: they hold what the journal does.
            path.touch(mode=0o600)
            connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=OFF")
            connection.executescript(_SCHEMA + schema)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('log_id', ?)", (new_log_id,))
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            epoch = int(meta.get("epoch", 0)) + 1
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
            (oldest,) = connection.execute("SELECT min(seq) FROM evidence").fetchone()
            connection.execute("COMMIT")
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                # Left to the collector it would hold the write lock, and keep the next attempt out.
                connection.close()
            raise JournalError(f"cannot open the journal `{path}`: {error}") from error
        next_seq = int(meta.get("next_seq", 0))
        return cls(
            connection,
            log_id=str(meta["log_id"]),
            epoch=epoch,
            next_seq=next_seq,
            first_seq=next_seq if oldest is None else int(oldest),
        )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One atomic, durable step.

        When the block raises, nothing is written and the error goes on. When SQLite itself fails, the handle is
        closed for good: after a failed fsync nobody knows what is on disk, so it is never tried again on the same
        handle; opening the journal anew finds out.

        Raises: FencedError: another owner has opened the journal. JournalError: SQLite failed.
        Cost: one fsync.
        """
        connection = self._live()
        try:
            connection.execute("BEGIN IMMEDIATE")
            # INVARIANT (single owner): read inside the write lock, so that no other owner can step in between.
            (epoch,) = connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
            if epoch != self.epoch:
                self.fenced = True
                self.close()
                raise FencedError(
                    f"the journal `{self.log_id}` has another owner", expected=self.epoch, found=epoch
                )
            step = Transaction(connection, self.log_id, self.next_seq)
            try:
                yield step
            except sqlite3.Error:
                raise
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            step.flush()
            # INVARIANT (ack): whoever opened this block answers nobody before this line has returned.
            connection.execute("COMMIT")
            self.next_seq = step.next_seq
        except sqlite3.Error as error:
            self.close()
            raise JournalError(f"the journal `{self.log_id}` cannot be written: {error}") from error

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query. Raises: JournalError."""
        try:
            return self._live().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            self.close()
            raise JournalError(f"the journal `{self.log_id}` cannot be read: {error}") from error

    def refuse_fenced(self) -> None:
        """For what is answered without a transaction, and must not come from an owner that was superseded.

        Raises: FencedError. JournalError. Cost: an index lookup.
        """
        epoch = self.meta("epoch", 0)
        if epoch != self.epoch:
            self.fenced = True
            self.close()
            raise FencedError(
                f"the journal `{self.log_id}` has another owner", expected=self.epoch, found=epoch
            )

    def meta(self, name: str, default: str | int) -> Any:
        rows = self.read("SELECT value FROM meta WHERE name = ?", (name,))
        return rows[0][0] if rows else default

    def pending(self, *, after_seq: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Evidence records that are not yet trimmed, oldest first: (seq, canonical bytes, leaf hash)."""
        return self.read(
            "SELECT seq, canonical, leaf FROM evidence WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
        )

    def pending_count(self) -> int:
        """How many evidence records wait to land. Cost: a subtraction (sequence numbers have no gaps)."""
        return self.next_seq - self.first_seq

    def trim(self, *, landed_seq: int) -> bool:
        """Forget evidence that is durable in the table, the oldest `TRIMMED_AT_ONCE` rows of it.

        Returns: whether there is more of it.

        INVARIANT (nothing lost): called only with what the evidence table holds and has fsynced.
        """
        last = min(landed_seq, self.first_seq + TRIMMED_AT_ONCE - 1)
        with self.transaction() as step:
            step.execute("DELETE FROM evidence WHERE seq <= ?", (last,))
        self.first_seq = max(self.first_seq, min(last + 1, self.next_seq))
        return self.first_seq <= min(landed_seq, self.next_seq - 1)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                # Closing a broken handle may fail again; it is never used afterwards either way.
                return

    @property
    def usable(self) -> bool:
        return self._connection is not None

    def _live(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"the journal `{self.log_id}` is closed after a failure")
        return self._connection
