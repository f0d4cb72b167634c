"""What an owner of agents keeps in its journal, and how an agent wakes from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actors import delegation_journal, past_journal, reservation_journal
from actors.journal import Journal, Transaction
from actors.live_agent import IDLE_LIMIT_US, STANDING_PREFIX, LiveAgent, Seen, SeenKey, Session
from actors.records import AgentRecord

# `decisions` has row ids: without them SQLite keeps a quarter of a page of a row at most and puts the rest on a page of
# its own, which doubled what a decision costs (82 µs instead of 42 in batches of 64, fsync included).
SCHEMA = """
CREATE TABLE IF NOT EXISTS agents (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    agent TEXT, name TEXT, workflow TEXT NOT NULL, opened_us INTEGER, last_us INTEGER, ended_us INTEGER,
    turns INTEGER, actions INTEGER, PRIMARY KEY (agent, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_name ON sessions (name);
CREATE TABLE IF NOT EXISTS seen (
    agent TEXT, action TEXT, resource_type TEXT, resource_id TEXT, first_us INTEGER, last_us INTEGER, count INTEGER,
    PRIMARY KEY (agent, action, resource_type, resource_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, created_us INTEGER NOT NULL, digest BLOB NOT NULL,
    answer BLOB NOT NULL, request BLOB NOT NULL, outcome TEXT);
CREATE INDEX IF NOT EXISTS decisions_by_age ON decisions (created_us);
CREATE TABLE IF NOT EXISTS idempotency (
    agent TEXT, key TEXT, decision TEXT NOT NULL, created_us INTEGER NOT NULL, PRIMARY KEY (agent, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_by_age ON idempotency (created_us);
"""
SCHEMA += delegation_journal.SCHEMA + past_journal.SCHEMA + reservation_journal.SCHEMA

# How long a decision can be asked for, get its outcome, and keep its idempotency key.
DECISION_MEMORY_US = 24 * 3_600_000_000


def open_agent_journal(path: Path, *, new_log_id: str) -> Journal:
    return Journal.open(path, new_log_id=new_log_id, schema=SCHEMA)


def wake(journal: Journal, key: str) -> LiveAgent:
    """Read an agent from the journal; one that was never registered has no record. Its sessions are read as used.

    Cost: two index lookups, about 40 µs.
    """
    record = journal.read("SELECT record FROM agents WHERE key = ?", (key,))
    seen = journal.read(
        "SELECT action, resource_type, resource_id, first_us, last_us, count FROM seen WHERE agent = ?",
        (key,),
    )
    return LiveAgent(
        key=key,
        record=AgentRecord.from_json(json.loads(record[0][0])) if record else None,
        seen={
            (a, t, i): Seen(first_us=first, last_us=last, count=count) for a, t, i, first, last, count in seen
        },
    )


def find_session(journal: Journal, key: str, name: str) -> Session | None:
    """One session of an agent, live or not. Cost: two index lookups."""
    rows = journal.read(
        "SELECT workflow, opened_us, last_us, ended_us, turns, actions FROM sessions WHERE agent = ? AND name = ?",
        (key, name),
    )
    for workflow, opened, last, ended, turns, actions in rows:
        principal, delegated = delegation_journal.lineage(journal, name)
        return Session(
            name=name,
            workflow_id=workflow,
            opened_us=opened,
            last_us=last,
            ended_us=ended,
            turns=turns,
            actions=actions,
            principal=principal,
            delegated=delegated,
        )
    return None


def subject_of_session(journal: Journal, name: str) -> str | None:
    """The agent key whose session this is, or None."""
    rows = journal.read("SELECT agent FROM sessions WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def live_sessions(journal: Journal, key: str, *, limit: int) -> list[Session]:
    """The agent's sessions that have not ended, last used first."""
    names = journal.read(
        "SELECT name FROM sessions WHERE agent = ? AND ended_us IS NULL ORDER BY last_us DESC LIMIT ?",
        (key, limit),
    )
    return [session for (name,) in names if (session := find_session(journal, key, name)) is not None]


def save_record(step: Transaction, key: str, record: AgentRecord) -> None:
    step.execute("INSERT OR REPLACE INTO agents VALUES (?, ?)", (key, json.dumps(record.to_json())))


def save_sessions(step: Transaction, sessions: Iterable[tuple[str, Session]]) -> None:
    step.executemany(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_us = excluded.last_us, ended_us = excluded.ended_us, turns = excluded.turns, actions = excluded.actions",
        [
            (agent, s.name, s.workflow_id, s.opened_us, s.last_us, s.ended_us, s.turns, s.actions)
            for agent, s in sessions
        ],
    )


def save_seen(step: Transaction, seen: Iterable[tuple[str, SeenKey, Seen]]) -> None:
    step.executemany(
        "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_us = excluded.last_us, count = excluded.count",
        [(agent, *key, s.first_us, s.last_us, s.count) for agent, key, s in seen],
    )


def save_decisions(step: Transaction, rows: list[tuple[Any, ...]], keys: list[tuple[Any, ...]]) -> None:
    """`rows`: (id, agent, created_us, digest, answer, request); `keys`: (agent, key, decision, created_us)."""
    if rows:
        step.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, NULL)", rows)
    if keys:
        step.executemany("INSERT INTO idempotency VALUES (?, ?, ?, ?)", keys)


def forget_what_is_over(journal: Journal, *, now_us: int, limit: int) -> bool:
    """Keep the journal bounded: decisions older than `DECISION_MEMORY_US` stand in the evidence table alone, and
    sessions that ended or ran out a day ago are unknown, and so are delegations that expired and what was reserved and
    settled two days ago.

    Returns: whether there is more than `limit` rows' worth left. Cost: one transaction of at most 7 × `limit` rows.
    """
    before = now_us - DECISION_MEMORY_US
    old = journal.read("SELECT id FROM decisions WHERE created_us < ? LIMIT ?", (before, limit))
    keys = journal.read("SELECT agent, key FROM idempotency WHERE created_us < ? LIMIT ?", (before, limit))
    over = journal.read(
        "SELECT agent, name FROM sessions WHERE (ended_us < ? OR last_us < ?) AND name NOT LIKE ? LIMIT ?",
        (before, before - IDLE_LIMIT_US, STANDING_PREFIX + "%", limit),
    )
    expired = delegation_journal.expired(journal, now_us=now_us, limit=limit)
    reserved, settled = reservation_journal.over(journal, now_us=now_us, limit=limit)
    if old or keys or over or expired or reserved or settled:
        with journal.transaction() as step:
            step.executemany("DELETE FROM decisions WHERE id = ?", old)
            step.executemany("DELETE FROM idempotency WHERE agent = ? AND key = ?", keys)
            step.executemany("DELETE FROM sessions WHERE agent = ? AND name = ?", over)
            delegation_journal.forget(step, sessions=[name for _, name in over], delegations=expired)
            reservation_journal.forget(step, reserved, settled)
    return limit in (len(old), len(keys), len(over), len(expired), len(reserved), len(settled))


def count_live_sessions(journal: Journal, key: str, *, limit: int) -> int:
    """How many sessions of an agent have not ended, counted up to `limit`."""
    rows = journal.read(
        "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE agent = ? AND ended_us IS NULL LIMIT ?)",
        (key, limit),
    )
    return int(rows[0][0])


def count_registered(journal: Journal) -> int:
    """How many agents have a record. Cost: a scan; done once when the journal is opened."""
    return int(journal.read("SELECT count(*) FROM agents")[0][0])
