"""What an owner of agents keeps in its journal, and how an agent wakes from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from actors import (
    asked_journal,
    delegation_journal,
    origin_journal,
    past_journal,
    reservation_journal,
)
from actors.approvals import journal as approval_journal
from actors.ids import COUNTER_BITS, decision_key
from actors.journal import Journal, Transaction
from actors.live_agent import (
    IDLE_LIMIT_US,
    STANDING_PREFIX,
    STANDING_WORKFLOW,
    LiveAgent,
    Seen,
    SeenKey,
    Session,
)
from actors.records import AgentRecord
from actors.stops import own as own_stops

# `decided` has a row id for a key: without one SQLite keeps a quarter of a page of a row at most and puts the rest on a
# page of its own, which doubled what a decision costs; and with its id for a key it would have a second tree.
SCHEMA = """
CREATE TABLE IF NOT EXISTS agents (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    agent TEXT, name TEXT, workflow TEXT NOT NULL, opened_us INTEGER, last_us INTEGER, ended_us INTEGER,
    turns INTEGER, actions INTEGER, PRIMARY KEY (agent, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_name ON sessions (name);
CREATE TABLE IF NOT EXISTS seen (
    agent TEXT, action TEXT, resource_type TEXT, resource_id TEXT, first_us INTEGER, last_us INTEGER, count INTEGER,
    PRIMARY KEY (agent, action, resource_type, resource_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decided (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, agent TEXT NOT NULL, digest BLOB NOT NULL, answer BLOB NOT NULL,
    request BLOB NOT NULL, outcome TEXT, idempotency_key TEXT);
CREATE TABLE IF NOT EXISTS bound (
    agent TEXT, key TEXT, decision INTEGER NOT NULL, PRIMARY KEY (agent, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (id INTEGER PRIMARY KEY, used BLOB NOT NULL);
"""
SCHEMA += (
    approval_journal.SCHEMA
    + asked_journal.SCHEMA
    + delegation_journal.SCHEMA
    + origin_journal.SCHEMA
    + own_stops.SCHEMA
    + past_journal.SCHEMA
    + reservation_journal.SCHEMA
)

# How long a decision can be asked for, get its outcome, and keep its idempotency key.
DECISION_MEMORY_US = 24 * 3_600_000_000
ORIGINS_MEMORY_US = 31 * 24 * 3_600_000_000
"""After the last that was heard of a workflow: as long as a session lives, and a day."""


def open_agent_journal(path: Path, *, new_log_id: str) -> Journal:
    journal = Journal.open(path, new_log_id=new_log_id, schema=SCHEMA)
    _carry_over(journal)
    return journal


def _carry_over(journal: Journal) -> None:
    """Take over the decisions of an earlier version's journal, which filed them under their ids."""
    if not journal.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'decisions'"):
        return
    rows = journal.read(
        "SELECT d.id, d.agent, d.digest, d.answer, d.request, d.outcome, i.key FROM decisions d"
        " LEFT JOIN idempotency i ON i.decision = d.id AND i.agent = d.agent"
    )
    with journal.transaction() as step:
        for identity, agent, digest, answer, request, outcome, name in rows:
            key = decision_key(identity)
            step.execute(
                "INSERT OR IGNORE INTO decided VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, identity, agent, digest, answer, request, outcome, name),
            )
            if name is not None:
                step.execute("INSERT OR IGNORE INTO bound VALUES (?, ?, ?)", (agent, name, key))
        step.execute("DROP TABLE decisions")
        step.execute("DROP TABLE idempotency")


def wake(journal: Journal, key: str) -> LiveAgent:
    """Read an agent from its rows; one that was never registered has no record. Its sessions are read as used.

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
            (a, t, i): Seen(first_us=first, last_us=last, count=count, stored=True)
            for a, t, i, first, last, count in seen
        },
    )


def find_session(journal: Journal, key: str, name: str) -> Session | None:
    """One session of an agent, live or not, as its row has it. Cost: two index lookups."""
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
            basis=asked_journal.read_basis(journal, name),
            stored=True,
        )
    return None


def subject_of_session(journal: Journal, name: str) -> str | None:
    """The agent key whose session this is, or None."""
    rows = journal.read("SELECT agent FROM sessions WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def live_sessions(journal: Journal, key: str, *, limit: int) -> list[Session]:
    """The agent's sessions that have not ended, last used first; `Uses.carry_out_of` comes before."""
    names = journal.read(
        "SELECT name FROM sessions WHERE agent = ? AND ended_us IS NULL ORDER BY last_us DESC LIMIT ?",
        (key, limit),
    )
    return [session for (name,) in names if (session := find_session(journal, key, name)) is not None]


def save_record(step: Transaction, key: str, record: AgentRecord) -> None:
    step.execute("INSERT OR REPLACE INTO agents VALUES (?, ?)", (key, json.dumps(record.to_json())))


def save_sessions(step: Transaction, sessions: list[tuple[str, Session]]) -> None:
    for _, session in sessions:
        session.stored = True
    step.executemany(
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_us = excluded.last_us, ended_us = excluded.ended_us, turns = excluded.turns, actions = excluded.actions",
        [
            (agent, s.name, s.workflow_id, s.opened_us, s.last_us, s.ended_us, s.turns, s.actions)
            for agent, s in sessions
        ],
    )


def save_seen(step: Transaction, seen: list[tuple[str, SeenKey, Seen]]) -> None:
    for _, _, one in seen:
        one.stored = True
    step.executemany(
        "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " last_us = excluded.last_us, count = excluded.count",
        [(agent, *key, s.first_us, s.last_us, s.count) for agent, key, s in seen],
    )


def save_decisions(step: Transaction, rows: list[tuple[Any, ...]]) -> None:
    """`rows`: (id, agent, digest, answer, request, idempotency key that is bound to it or None)."""
    if not rows:
        return
    keyed = [(decision_key(row[0]), *row) for row in rows]
    step.executemany(
        "INSERT INTO decided (key, id, agent, digest, answer, request, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?)",
        keyed,
    )
    bound = [(agent, name, key) for key, _, agent, _, _, _, name in keyed if name is not None]
    if bound:
        step.executemany("INSERT INTO bound VALUES (?, ?, ?)", bound)


def find_decision(journal: Journal, identity: str) -> tuple[bytes, bytes, str | None] | None:
    """(answer, request, outcome) of a decision that is remembered. Cost: a lookup."""
    rows = journal.read(
        "SELECT answer, request, outcome FROM decided WHERE key = ? AND id = ?",
        (decision_key(identity), identity),
    )
    return rows[0] if rows else None


def find_by_key(journal: Journal, key: int) -> tuple[str, bytes] | None:
    """(id, request) of a decision that is remembered, by what it is filed under. Cost: a lookup."""
    rows = journal.read("SELECT id, request FROM decided WHERE key = ?", (key,))
    return rows[0] if rows else None


def find_bound(journal: Journal, agent: str, key: str) -> tuple[bytes, bytes, str | None] | None:
    """(digest, answer, outcome) of the decision that an idempotency key is bound to. Cost: two lookups."""
    rows = journal.read(
        "SELECT d.digest, d.answer, d.outcome FROM bound b JOIN decided d ON d.key = b.decision"
        " WHERE b.agent = ? AND b.key = ?",
        (agent, key),
    )
    return rows[0] if rows else None


def find_outcomes(
    journal: Journal, *, since: int, before: int, limit: int
) -> list[tuple[int, str | None, bytes | None, bytes | None]]:
    """What decisions came to, in the order in which they are filed: (key, id, answer, request), the last three only of
    one without an outcome. Cost: about 1 µs a decision."""
    rows: list[tuple[int, str | None, bytes | None, bytes | None]] = journal.read(
        "SELECT key, iif(outcome IS NULL, id, NULL), iif(outcome IS NULL, answer, NULL),"
        " iif(outcome IS NULL, request, NULL) FROM decided WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
        (since, before, limit),
    )
    return rows


def save_decision_outcome(step: Transaction, identity: str, outcome: str) -> None:
    step.execute(
        "UPDATE decided SET outcome = ? WHERE key = ? AND id = ?", (outcome, decision_key(identity), identity)
    )


def forget_what_is_over(journal: Journal, *, now_us: int, limit: int) -> bool:
    """Keep the journal bounded: decisions older than `DECISION_MEMORY_US` stand in the evidence table alone, and
    sessions that ended or ran out a day ago are unknown, and so are delegations that expired and what was reserved and
    settled two days ago. Rows must not be further behind their sessions' uses (`actors.uses`) than a day.

    Returns: whether there is more than `limit` rows' worth left. Cost: one transaction of at most 7 × `limit` rows.
    """
    before = now_us - DECISION_MEMORY_US
    old = journal.read(
        "SELECT key, agent, idempotency_key FROM decided WHERE key < ? ORDER BY key LIMIT ?",
        (before // 1000 << COUNTER_BITS, limit),
    )
    over = journal.read(
        "SELECT agent, name, workflow FROM sessions WHERE (ended_us < ? OR last_us < ?) AND name NOT LIKE ? LIMIT ?",
        (before, before - IDLE_LIMIT_US, STANDING_PREFIX + "%", limit),
    )
    expired = delegation_journal.expired(journal, now_us=now_us, limit=limit)
    reserved, settled = reservation_journal.over(journal, now_us=now_us, limit=limit)
    unheard = origin_journal.over(journal, before_us=now_us - ORIGINS_MEMORY_US, limit=limit)
    if old or over or expired or reserved or settled or unheard:
        keys = [(agent, name, key) for key, agent, name in old if name is not None]
        with journal.transaction() as step:
            step.executemany("DELETE FROM decided WHERE key = ?", [(key,) for key, _, _ in old])
            step.executemany("DELETE FROM bound WHERE agent = ? AND key = ? AND decision = ?", keys)
            names = [name for _, name, _ in over]
            step.executemany(
                "DELETE FROM sessions WHERE agent = ? AND name = ?",
                [(agent, name) for agent, name, _ in over],
            )
            asked_journal.forget(step, names, _begun(journal, over))
            delegation_journal.forget(step, sessions=names, delegations=expired)
            reservation_journal.forget(step, reserved, settled)
            origin_journal.forget(step, unheard)
    more = approval_journal.forget_what_is_over(journal, before_us=before, now_us=now_us, limit=limit)
    return more or limit in (len(old), len(over), len(expired), len(reserved), len(settled), len(unheard))


def _begun(journal: Journal, over: list[tuple[str, str, str]]) -> list[str]:
    """The workflows that began with one of these sessions: nobody acts in them any more."""
    return [
        workflow
        for _, name, workflow in over
        if not workflow.startswith(STANDING_WORKFLOW) and delegation_journal.lineage(journal, name)[1] is None
    ]


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
