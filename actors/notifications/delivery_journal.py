"""The notifier's journal: which notices it has taken, and what has become of each delivery."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from actors.journal import Journal
from actors.notifications.attempt import Attempt
from actors.notifications.channels import NoticeChannel
from actors.notifications.notice import Notice

State = Literal["waiting", "delivered", "dead"]

MOST_WAITING: Final = 10_000
"""Deliveries of one channel; what comes beyond them is dead at once."""
MOST_DEAD: Final = 10_000
MOST_DELIVERED: Final = 100_000
"""Of one channel, as MOST_DEAD; beyond them the oldest are forgotten."""
LOG_MEMORY_US: Final = 30 * 86_400_000_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS notices (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, taken_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY, channel TEXT NOT NULL, notice TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_us INTEGER NOT NULL, created_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, status INTEGER,
    error TEXT NOT NULL, in_evidence INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_by_channel ON deliveries (channel, state, next_us);
CREATE INDEX IF NOT EXISTS deliveries_by_notice ON deliveries (notice);
CREATE INDEX IF NOT EXISTS deliveries_by_age ON deliveries (state, changed_us);
CREATE INDEX IF NOT EXISTS deliveries_given_up ON deliveries (changed_us) WHERE state = 'dead' AND in_evidence = 0;
"""
_SHOWN: Final = (
    "SELECT d.id, d.channel, d.state, d.attempts, d.next_us, d.created_us, d.changed_us, d.status, d.error, n.body"
    " FROM deliveries d JOIN notices n ON n.id = d.notice"
)
_TOLD: Final = "(state != 'dead' OR in_evidence = 1)"


def open_delivery_journal(path: Path, *, new_log_id: str) -> Journal:
    return Journal.open(path, new_log_id=new_log_id, schema=_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice on its way to one channel.

    Args:
        id: the same for every attempt; receivers tell a second one by it.
        channel: the key of a `NoticeChannel`.
        next_us: not before this moment.
        changed_us: when the last attempt ended; when it was created, before the first.
        status, error: of the last attempt.
    """

    id: str
    channel: str
    state: State
    attempts: int
    next_us: int
    created_us: int
    changed_us: int
    status: int | None
    error: str
    notice: Notice


class Deliveries:
    """Over an open journal. Not thread-safe. Every change is durable when its method returns."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def take(self, notices: Iterable[Notice], channels: Sequence[NoticeChannel], *, now_us: int) -> int:
        """Make a delivery for each channel that wants a notice. One that was taken before makes none.

        Returns: how many deliveries are new.
        """
        made = 0
        waiting: dict[str, int] = {}
        with self.journal.transaction() as step:
            for notice in notices:
                wanted = [channel for channel in channels if channel.wants(notice)]
                # INVARIANT (once): the notice's own id, in the transaction that makes its deliveries; an owner that
                # was not told to forget it hands it out again in vain.
                if not wanted or self.journal.read("SELECT 1 FROM notices WHERE id = ?", (notice.id,)):
                    continue
                step.execute(
                    "INSERT INTO notices VALUES (?, ?, ?)", (notice.id, json.dumps(notice.to_json()), now_us)
                )
                for channel in wanted:
                    if channel.key not in waiting:
                        waiting[channel.key] = self._waiting(channel.key)
                    full = waiting[channel.key] >= MOST_WAITING
                    waiting[channel.key] += not full
                    state, error = ("dead", "too many deliveries wait") if full else ("waiting", "")
                    step.execute(
                        "INSERT INTO deliveries VALUES (?, ?, ?, ?, 0, ?, ?, ?, NULL, ?, 0)",
                        (
                            delivery_id(notice.id, channel.key),
                            channel.key,
                            notice.id,
                            state,
                            now_us,
                            now_us,
                            now_us,
                            error,
                        ),
                    )
                    made += 1
        return made

    def due(self, channel: str, *, now_us: int, limit: int) -> list[Delivery]:
        """What is to be tried now, longest due first."""
        return self._read(
            "d.channel = ? AND d.state = 'waiting' AND d.next_us <= ? ORDER BY d.next_us LIMIT ?",
            (channel, now_us, limit),
        )

    def note(self, delivery: Delivery, attempt: Attempt, *, now_us: int, next_us: int | None) -> None:
        """What an attempt came to. Args: next_us: when to try again; None = never."""
        state = "delivered" if attempt.delivered else "dead" if next_us is None else "waiting"
        with self.journal.transaction() as step:
            step.execute(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, next_us = ?, changed_us = ?, status = ?,"
                " error = ? WHERE id = ? AND state = 'waiting'",
                (state, next_us or 0, now_us, attempt.status, attempt.error, delivery.id),
            )

    def bury(self, channels: Iterable[str], *, now_us: int) -> None:
        """Whatever waits for other channels than these waits in vain."""
        kept = json.dumps(list(channels))
        orphaned = "state = 'waiting' AND channel NOT IN (SELECT value FROM json_each(?))"
        if self.journal.read(f"SELECT 1 FROM deliveries WHERE {orphaned} LIMIT 1", (kept,)):  # noqa: S608 - ours
            with self.journal.transaction() as step:
                step.execute(
                    f"UPDATE deliveries SET state = 'dead', changed_us = ?, error = 'the channel was removed'"  # noqa: S608
                    f" WHERE {orphaned}",
                    (now_us, kept),
                )

    def revive(self, identity: str, *, now_us: int) -> bool:
        """Let a dead delivery of a channel try again, from the beginning of its schedule. Returns: whether it was."""
        if not self._read("d.id = ? AND d.state = 'dead'", (identity,)):
            return False
        with self.journal.transaction() as step:
            step.execute(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, in_evidence = 0, next_us = ?, changed_us = ?"
                " WHERE id = ?",
                (now_us, now_us, identity),
            )
        return True

    def given_up(self, *, limit: int) -> list[Delivery]:
        """Dead letters of which evidence does not know yet, the oldest first."""
        return self._read("d.state = 'dead' AND d.in_evidence = 0 ORDER BY d.changed_us LIMIT ?", (limit,))

    def note_evidence(self, deliveries: Iterable[Delivery]) -> None:
        """Evidence knows of these; one that was revived meanwhile and died again is told once more."""
        with self.journal.transaction() as step:
            step.executemany(
                "UPDATE deliveries SET in_evidence = 1 WHERE id = ? AND state = 'dead' AND changed_us = ?",
                [(delivery.id, delivery.changed_us) for delivery in deliveries],
            )

    def one(self, identity: str) -> Delivery | None:
        found = self._read("d.id = ?", (identity,))
        return found[0] if found else None

    def latest(self, channel: str, *, limit: int, state: State | None = None) -> list[Delivery]:
        """The newest first. Args: channel: a key, or a tenant and a slash: all of it."""
        where = "d.channel = ?" if not channel.endswith("/") else "substr(d.channel, 1, length(?)) = ?"
        values: tuple[Any, ...] = (channel,) if not channel.endswith("/") else (channel, channel)
        if state is not None:
            where, values = where + " AND d.state = ?", (*values, state)
        return self._read(f"{where} ORDER BY d.created_us DESC, d.id LIMIT ?", (*values, limit))

    def counts(self) -> dict[str, dict[str, int]]:
        """By channel and state. Cost: a scan of an index."""
        found: dict[str, dict[str, int]] = {}
        for channel, state, count in self.journal.read(
            "SELECT channel, state, count(*) FROM deliveries GROUP BY channel, state"
        ):
            found.setdefault(channel, {})[state] = count
        return found

    def open_counts(self) -> dict[str, int]:
        """How many wait and how many are dead, of all channels. Cost: a scan of these alone."""
        rows = self.journal.read(
            "SELECT state, count(*) FROM deliveries WHERE state IN ('waiting', 'dead') GROUP BY state"
        )
        return {"waiting": 0, "dead": 0} | dict(rows)

    def forget(self, *, now_us: int) -> None:
        """What is over for longer than the log remembers, and the oldest of a channel beyond their bounds.

        INVARIANT (not in silence): no dead letter before evidence knows of it.
        """
        over_us = now_us - LOG_MEMORY_US
        with self.journal.transaction() as step:
            step.execute(
                f"DELETE FROM deliveries WHERE state IN ('delivered', 'dead') AND changed_us < ? AND {_TOLD}",  # noqa: S608
                (over_us,),
            )
            for channel, states in self.counts().items():
                for state, most in (("dead", MOST_DEAD), ("delivered", MOST_DELIVERED)):
                    if (surplus := states.get(state, 0) - most) > 0:
                        step.execute(
                            "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE channel = ?"  # noqa: S608
                            f" AND state = ? AND {_TOLD} ORDER BY changed_us LIMIT ?)",
                            (channel, state, surplus),
                        )
            step.execute(
                "DELETE FROM notices WHERE taken_us < ?"
                " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notice = notices.id)",
                (over_us,),
            )

    def _waiting(self, channel: str) -> int:
        rows = self.journal.read(
            "SELECT count(*) FROM deliveries WHERE channel = ? AND state = 'waiting'", (channel,)
        )
        return int(rows[0][0])

    def _read(self, where: str, values: Sequence[Any]) -> list[Delivery]:
        return [
            Delivery(
                id=row[0],
                channel=row[1],
                state=row[2],
                attempts=row[3],
                next_us=row[4],
                created_us=row[5],
                changed_us=row[6],
                status=row[7],
                error=row[8],
                notice=Notice.from_json(json.loads(row[9])),
            )
            for row in self.journal.read(f"{_SHOWN} WHERE {where}", values)
        ]


def delivery_id(notice: str, channel: str) -> str:
    """The same for the same notice and channel, whoever asks and however often."""
    return "msg_" + hashlib.sha256(f"{notice}\0{channel}".encode()).hexdigest()[:32]
