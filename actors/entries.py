"""Versioned entries of the control store's journal: each carries the revision at which it last changed. No Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from actors import evidence_rows
from actors.ids import decision_id
from actors.journal import Journal, Transaction
from actors.owner import Surroundings
from actors.owner_clock import OwnerClock
from actors.placement import CONTROL_ORDINAL
from evidence.record import EvidenceRow

ENTRIES = """
CREATE TABLE IF NOT EXISTS entries (
    kind TEXT, id TEXT, value TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_revision ON entries (revision);
"""


class Entries:
    """JSON values by kind and id, in the order in which they changed. Not thread-safe.

    Attributes:
        revision: of the last change.
    """

    def __init__(self, journal: Journal, world: Surroundings) -> None:
        self._journal = journal
        self._world = world
        self.revision = int(journal.meta("revision", 0))
        self._clock = OwnerClock(
            last_us=journal.meta("event_time_us", 0),
            wall_us=world.wall_us(),
            monotonic_us=world.monotonic_us(),
        )

    def now_us(self) -> int:
        """Event time: never before the last change."""
        return self._clock.read(wall_us=self._world.wall_us(), monotonic_us=self._world.monotonic_us()).us

    def event_id(self, now_us: int) -> str:
        random = int.from_bytes(self._world.random_bytes(6), "big")
        return decision_id(now_us=now_us, ordinal=CONTROL_ORDINAL, random=random)

    @contextmanager
    def change(
        self,
        event_type: str,
        tenant: str,
        details: dict[str, Any],
        now_us: int,
        bundle: str | None = None,
        about: EvidenceRow | None = None,
    ) -> Iterator[Transaction]:
        """One transaction that raises the revision and leaves one evidence row. Durable when it is left.

        Args: about: further columns of the row: what the change is about.
        """
        row = evidence_rows.event(
            event_id=self.event_id(now_us),
            event_type=event_type,
            time_us=now_us,
            tenant=tenant,
            details=details,
        )
        if bundle is not None:
            row["bundle_hash"] = bundle
        if about is not None:
            row.update(about)
        before = self.revision
        try:
            with self._journal.transaction() as step:
                self.revision = before + 1
                yield step
                step.append(row)
                step.set_meta("revision", self.revision)
                step.set_meta("event_time_us", now_us)
        except BaseException:
            self.revision = before
            raise

    def put(self, step: Transaction, kind: str, identity: str, value: dict[str, Any]) -> None:
        step.execute(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)",
            (kind, identity, json.dumps(value), self.revision),
        )

    def newer(self, since: int, kinds: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
        """(kind, id, value) of the entries of these kinds that changed after a revision. Cost: an index range."""
        rows = self._journal.read(
            "SELECT kind, id, value FROM entries WHERE revision > ? AND kind IN (SELECT value FROM json_each(?))",
            (since, json.dumps(kinds)),
        )
        return [(kind, identity, json.loads(value)) for kind, identity, value in rows]

    def get(self, kind: str, identity: str) -> dict[str, Any] | None:
        rows = self._journal.read("SELECT value FROM entries WHERE kind = ? AND id = ?", (kind, identity))
        return json.loads(rows[0][0]) if rows else None

    def all(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        rows = self._journal.read("SELECT id, value FROM entries WHERE kind = ? ORDER BY id", (kind,))
        return [(identity, json.loads(value)) for identity, value in rows]
