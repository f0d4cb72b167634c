"""What an owner's journal keeps of approvals: tasks, arguments while somebody may look at them, notices, values.

Nothing of it is kept in memory: a task is read where it is needed, inside the transaction that changes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from actors.approvals.task import Task
from actors.journal import Journal, Transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (
    id TEXT PRIMARY KEY, decision TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL,
    bound TEXT NOT NULL, due_us INTEGER, over_us INTEGER, task BLOB NOT NULL, arguments BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS approvals_bound ON approvals (bound) WHERE over_us IS NULL;
CREATE INDEX IF NOT EXISTS approvals_due ON approvals (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS approvals_open ON approvals (agent) WHERE state IN ('pending', 'partial');
CREATE INDEX IF NOT EXISTS approvals_over ON approvals (over_us) WHERE over_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS approvals_by_state ON approvals (tenant, state, id, agent);
CREATE TABLE IF NOT EXISTS approval_notices (seq INTEGER PRIMARY KEY AUTOINCREMENT, notice BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS approval_values (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, rule TEXT NOT NULL, holder TEXT NOT NULL, value TEXT NOT NULL,
    until_us INTEGER NOT NULL, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS approval_values_by_value ON approval_values (value, rule, holder);
CREATE INDEX IF NOT EXISTS approval_values_by_end ON approval_values (until_us);
"""

MOST_NOTICES: Final = 20_000
"""That wait for a channel; past them the oldest are forgotten: evidence and `GET /v1/approvals` have it all."""
_OPEN = "state IN ('pending', 'partial')"


class Value(NamedTuple):
    """A value that was approved for a rule.

    Attributes:
        rule: the rule's hash.
        holder: the agent key or the workflow that it is approved for.
        value: digest.
        entry: JSON of what is shown of it.
    """

    id: str
    tenant: str
    rule: str
    holder: str
    value: str
    until_us: int
    entry: bytes


def find(journal: Journal, identity: str) -> Task | None:
    """Cost: a lookup and a decoding."""
    rows = journal.read("SELECT task FROM approvals WHERE id = ?", (identity,))
    return Task.from_bytes(rows[0][0]) if rows else None


def of_decision(journal: Journal, decision: str) -> Task | None:
    rows = journal.read("SELECT task FROM approvals WHERE decision = ?", (decision,))
    return Task.from_bytes(rows[0][0]) if rows else None


def of_action(journal: Journal, bound: str) -> Task | None:
    """The task for the very same action that waits, or can still be used. Args: bound: see `Task.bound`."""
    rows = journal.read("SELECT task FROM approvals WHERE bound = ? AND over_us IS NULL LIMIT 1", (bound,))
    return Task.from_bytes(rows[0][0]) if rows else None


def arguments_of(journal: Journal, identity: str) -> bytes | None:
    """JSON of the arguments as asked or narrowed, as long as they are kept."""
    rows = journal.read("SELECT arguments FROM approvals WHERE id = ?", (identity,))
    return rows[0][0] if rows else None


def versions(journal: Journal, identities: Sequence[str]) -> dict[str, int]:
    found = {identity: find(journal, identity) for identity in identities}
    return {identity: task.version for identity, task in found.items() if task is not None}


def add(step: Transaction, task: Task, arguments: bytes | None) -> None:
    step.execute(
        "INSERT INTO approvals VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
        (
            task.id,
            task.decision,
            task.agent,
            task.tenant,
            task.state,
            task.bound,
            task.due_us,
            task.to_bytes(),
            arguments,
        ),
    )


def save(step: Transaction, task: Task, *, now_us: int, arguments: bytes | None = None) -> None:
    """Write a changed task. Args: arguments: the narrowed ones; None = as they were."""
    over = not task.open and not task.usable
    step.execute(
        "UPDATE approvals SET state = ?, due_us = ?, over_us = ?, task = ? WHERE id = ?",
        (task.state, task.due_us, now_us if over else None, task.to_bytes(), task.id),
    )
    if arguments is not None:
        step.execute("UPDATE approvals SET arguments = ? WHERE id = ?", (arguments, task.id))
    # INVARIANT (arguments): raw ones are kept only as long as somebody has to look at them: approvers while it is
    # open, and who asked where it was narrowed, until it is used.
    if over or (not task.open and not task.narrowed):
        step.execute("UPDATE approvals SET arguments = NULL WHERE id = ?", (task.id,))


def count_open(journal: Journal, agent: str | None, *, limit: int) -> int:
    """How many tasks wait, of one agent or of all, counted up to `limit`."""
    where, values = (f"{_OPEN} AND agent = ?", (agent, limit)) if agent is not None else (_OPEN, (limit,))
    rows = journal.read(f"SELECT count(*) FROM (SELECT 1 FROM approvals WHERE {where} LIMIT ?)", values)  # noqa: S608 - ours
    return int(rows[0][0])


def due(journal: Journal, *, now_us: int, limit: int) -> list[Task]:
    """The tasks of which something happens by itself until now."""
    rows = journal.read(
        "SELECT task FROM approvals WHERE due_us <= ? ORDER BY due_us LIMIT ?", (now_us, limit)
    )
    return [Task.from_bytes(raw) for (raw,) in rows]


def newest(
    journal: Journal, tenant: str, *, states: Sequence[str], agent: str | None, before: str, limit: int
) -> list[Task]:
    """Tasks of a tenant, the newest first, from before the id `before` ("" = from the newest on).

    Cost: a walk over an index of ids, and a decoding each of those that are returned.
    """
    marks = ", ".join("?" * len(states))
    where = f"tenant = ? AND state IN ({marks})"
    values: list[Any] = [tenant, *states]
    if agent is not None:
        where += " AND agent = ?"
        values.append(agent)
    if before:
        where += " AND id < ?"
        values.append(before)
    ids = f"SELECT id FROM approvals WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - marks and names of ours
    rows = journal.read(
        f"SELECT task FROM approvals WHERE id IN ({ids}) ORDER BY id DESC",  # noqa: S608
        (*values, limit),
    )
    return [Task.from_bytes(raw) for (raw,) in rows]


# -- notices -------------------------------------------------------------------------------------------------------


def notify(step: Transaction, notice: dict[str, Any]) -> None:
    """Add to the outbox, in the transaction of what happened."""
    step.execute("INSERT INTO approval_notices (notice) VALUES (?)", (orjson.dumps(notice),))


def notices(journal: Journal, after: int, limit: int) -> list[tuple[int, bytes]]:
    """What a channel has not delivered yet: (number, JSON), oldest first."""
    rows = journal.read(
        "SELECT seq, notice FROM approval_notices WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
    )
    return [(seq, b'{"seq":%d,' % seq + raw[1:]) for seq, raw in rows]


def forget_notices(journal: Journal, up_to: int) -> None:
    with journal.transaction() as step:
        step.execute("DELETE FROM approval_notices WHERE seq <= ?", (up_to,))


# -- values --------------------------------------------------------------------------------------------------------


def remember(step: Transaction, values: Iterable[Value]) -> None:
    step.executemany("INSERT INTO approval_values VALUES (?, ?, ?, ?, ?, ?, ?)", list(values))


def remembered(journal: Journal, value: str, rule: str, holders: Sequence[str], now_us: int) -> str | None:
    """The id under which a value is approved for a rule and one of two holders. Cost: an index lookup each."""
    for holder in holders:
        rows = journal.read(
            "SELECT id FROM approval_values WHERE value = ? AND rule = ? AND holder = ? AND until_us > ? LIMIT 1",
            (value, rule, holder, now_us),
        )
        if rows:
            return str(rows[0][0])
    return None


def values_of(journal: Journal, tenant: str, *, after: str, limit: int) -> list[Value]:
    rows = journal.read(
        "SELECT id, tenant, rule, holder, value, until_us, entry FROM approval_values"
        " WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
        (tenant, after, limit),
    )
    return [Value(*row) for row in rows]


def find_value(journal: Journal, identity: str) -> Value | None:
    rows = journal.read(
        "SELECT id, tenant, rule, holder, value, until_us, entry FROM approval_values WHERE id = ?",
        (identity,),
    )
    return Value(*rows[0]) if rows else None


def forget_value(step: Transaction, identity: str) -> None:
    step.execute("DELETE FROM approval_values WHERE id = ?", (identity,))


def count_values(journal: Journal, *, limit: int) -> int:
    rows = journal.read("SELECT count(*) FROM (SELECT 1 FROM approval_values LIMIT ?)", (limit,))
    return int(rows[0][0])


def forget_what_is_over(journal: Journal, *, before_us: int, now_us: int, limit: int) -> bool:
    """Keep it bounded: tasks that were over by then, values that have expired, notices nobody fetched.

    Returns: whether there is more. Cost: one transaction where there is anything.
    """
    over = journal.read("SELECT id FROM approvals WHERE over_us < ? LIMIT ?", (before_us, limit))
    expired = journal.read("SELECT id FROM approval_values WHERE until_us <= ? LIMIT ?", (now_us, limit))
    (ends,) = journal.read("SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM approval_notices")
    crowded = ends[1] - ends[0] >= MOST_NOTICES
    if over or expired or crowded:
        with journal.transaction() as step:
            step.executemany("DELETE FROM approvals WHERE id = ?", over)
            step.executemany("DELETE FROM approval_values WHERE id = ?", expired)
            if crowded:
                step.execute("DELETE FROM approval_notices WHERE seq <= ?", (ends[1] - MOST_NOTICES,))
    return limit in (len(over), len(expired))
