"""What an owner keeps of the past: the state of each scope, and a record of what was permitted, for rules to come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from actors.journal import Journal, Transaction
from policies.past.monitor import UNREPORTED
from policies.past.program import Scope
from policies.past.retention import HISTORY_US

# `history` has row ids in the order of time, so that the oldest are the first; names are kept once, in `kinds`.
SCHEMA = """
CREATE TABLE IF NOT EXISTS programs (number INTEGER PRIMARY KEY, bundle TEXT UNIQUE NOT NULL, described TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS activations (number INTEGER PRIMARY KEY, program INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pasts (
    scope TEXT, name TEXT, activation INTEGER NOT NULL, recorded INTEGER NOT NULL, used_us INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (scope, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pasts_by_age ON pasts (used_us);
CREATE TABLE IF NOT EXISTS kinds (
    id INTEGER PRIMARY KEY, action TEXT, resource_type TEXT, resource_id TEXT,
    UNIQUE (action, resource_type, resource_id));
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, workflow TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, at_us INTEGER NOT NULL,
    kind INTEGER NOT NULL, outcome INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS history_by_workflow ON history (workflow);
CREATE INDEX IF NOT EXISTS history_by_agent ON history (agent);
"""

MOST_RECALLED = 10_000
"""Actions of one scope that a new rule is told; what was before is unknown to it."""
MOST_RECORDED = 2_000_000
"""Actions of one journal, about 250 MB."""
_KINDS_KEPT = 10_000
WITNESSED = 4
"""Added to an outcome that a key with the grant `witness` reported."""


_SELECT = (
    "SELECT h.id, h.agent, h.at_us, k.action, k.resource_type, k.resource_id, h.outcome FROM history h"
    " JOIN kinds k ON k.id = h.kind WHERE "
)
_NEWEST = " ORDER BY h.id DESC LIMIT ?"
_RECALL = {
    Scope.SESSION: _SELECT + "h.workflow = ? AND h.session = ?" + _NEWEST,
    Scope.WORKFLOW: _SELECT + "h.workflow = ?" + _NEWEST,
    Scope.AGENT: _SELECT + "h.agent = ?" + _NEWEST,
}


class HistoryRow(NamedTuple):
    """One permitted action. `id` is the owner's to give: higher than any before."""

    id: int
    workflow: str
    session: str
    agent: str  # agent key
    at_us: int
    kind: tuple[str, str, str]  # action, resource type, resource id


class Recalled(NamedTuple):
    """One recorded action as read back; `outcome` as in `policies.past.monitor`."""

    id: int
    agent: str
    at_us: int
    kind: tuple[str, str, str]
    outcome: int
    witnessed: bool


class PastRow(NamedTuple):
    """The state of one scope, and under which activation it was last changed: its numbers are those of that bundle."""

    scope: Scope
    name: str
    activation: int
    recorded: int  # the highest id of the record that it has seen
    used_us: int
    state: bytes


def begin_activation(journal: Journal, activation: int, bundle: str, described: str) -> int:
    """Note that this owner decides with a bundle from now on. Returns: its program's number in this journal."""
    with journal.transaction() as step:
        step.execute("INSERT OR IGNORE INTO programs (bundle, described) VALUES (?, ?)", (bundle, described))
        step.execute(
            "INSERT OR REPLACE INTO activations SELECT ?, number FROM programs WHERE bundle = ?",
            (activation, bundle),
        )
    return int(journal.read("SELECT number FROM programs WHERE bundle = ?", (bundle,))[0][0])


def described(journal: Journal, program: int) -> str | None:
    """What the numbers of a program mean; None = it is not known any more."""
    rows = journal.read("SELECT described FROM programs WHERE number = ?", (program,))
    return str(rows[0][0]) if rows else None


def programs_since(journal: Journal, activation: int) -> list[int]:
    """The programs of the activations from this one on, in order; empty where it is not known any more."""
    rows = journal.read(
        "SELECT number, program FROM activations WHERE number >= ? ORDER BY number", (activation,)
    )
    return [program for _, program in rows] if rows and rows[0][0] == activation else []


def read_past(journal: Journal, scope: Scope, name: str, *, shadow: bool) -> PastRow | None:
    """A scope's past. Cost: an index lookup."""
    rows = journal.read(
        "SELECT activation, recorded, used_us, state FROM pasts WHERE scope = ? AND name = ?",
        (_kept_as(scope, shadow), name),
    )
    return PastRow(scope, name, *rows[0]) if rows else None


def save_pasts(step: Transaction, pasts: Iterable[PastRow], *, shadow: bool) -> None:
    step.executemany(
        "INSERT OR REPLACE INTO pasts VALUES (?, ?, ?, ?, ?, ?)",
        [(_kept_as(scope, shadow), *rest) for scope, *rest in pasts],
    )


def forget_pasts(step: Transaction, names: Iterable[tuple[Scope, str]], *, shadow: bool) -> None:
    step.executemany(
        "DELETE FROM pasts WHERE scope = ? AND name = ?",
        [(_kept_as(scope, shadow), name) for scope, name in names],
    )


def forget_shadow(step: Transaction) -> None:
    """Drop what an earlier shadow bundle remembered."""
    step.execute("DELETE FROM pasts WHERE scope LIKE 'shadow-%'")


def _kept_as(scope: Scope, shadow: bool) -> str:
    return f"shadow-{scope}" if shadow else scope.value


def save_history(
    journal: Journal, step: Transaction, rows: Iterable[HistoryRow], kinds: dict[tuple[str, str, str], int]
) -> None:
    """`kinds`: numbers that are known already; new ones are added (and are to be forgotten if the step fails)."""
    values = []
    for row in rows:
        number = kinds.get(row.kind)
        if number is None:
            number = _number_of(journal, step, row.kind)
            if len(kinds) >= _KINDS_KEPT:
                kinds.clear()
            kinds[row.kind] = number
        values.append((row.id, row.workflow, row.session, row.agent, row.at_us, number, UNREPORTED))
    step.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def _number_of(journal: Journal, step: Transaction, kind: tuple[str, str, str]) -> int:
    select = "SELECT id FROM kinds WHERE action = ? AND resource_type = ? AND resource_id = ?"
    found = journal.read(select, kind)
    if not found:
        step.execute("INSERT INTO kinds (action, resource_type, resource_id) VALUES (?, ?, ?)", kind)
        found = journal.read(select, kind)
    return int(found[0][0])


def save_outcome(step: Transaction, history: int, *, outcome: int, witnessed: bool) -> None:
    """What a recorded action came to. Cost: an index lookup."""
    value = outcome + (WITNESSED if witnessed else 0)
    step.execute("UPDATE history SET outcome = ? WHERE id = ?", (value, history))


def newest(journal: Journal) -> int:
    """The highest id of the record, those included that were given to reservations."""
    recorded = int(journal.read("SELECT coalesce(max(id), 0) FROM history")[0][0])
    return max(recorded, int(journal.meta("history_reserved", 0)))


def recall(journal: Journal, scope: Scope, name: str, *, workflow: str) -> tuple[list[Recalled], int]:
    """(what is recorded of a scope, oldest first; until when the past before it is unknown, 0 = it is complete)."""
    values = (workflow, name) if scope is Scope.SESSION else (name,)
    rows = journal.read(_RECALL[scope], (*values, MOST_RECALLED))
    rows.reverse()
    found = [
        Recalled(id_, agent, at_us, (action, type_, resource), outcome & 3, outcome >= WITNESSED)
        for id_, agent, at_us, action, type_, resource, outcome in rows
    ]
    unknown_until_us = int(journal.meta("history_from_us", 0))
    if len(found) == MOST_RECALLED:
        unknown_until_us = max(unknown_until_us, found[0].at_us)
    return found, unknown_until_us


def begin_record(journal: Journal, *, now_us: int) -> None:
    """Say where the record begins: with a new journal, at the beginning; with an older one's decisions, now."""
    if journal.meta("history_from_us", -1) != -1:
        return
    older = journal.read("SELECT 1 FROM decisions LIMIT 1")
    with journal.transaction() as step:
        step.set_meta("history_from_us", now_us if older else 0)


def forget_history(journal: Journal, *, now_us: int, limit: int) -> bool:
    """Keep the record bounded in time and size, and forget the pasts of sessions and workflows that are long over.

    Returns: whether there is more than `limit` rows' worth left.
    """
    before_us, floor = now_us - HISTORY_US, newest(journal) - MOST_RECORDED
    first = journal.read("SELECT id, at_us FROM history ORDER BY id LIMIT 1")
    old: list[tuple[int, int]] = []
    if first and (first[0][1] < before_us or first[0][0] <= floor):
        # They are in the order of time, so that the ends of the range say everything.
        old = journal.read(
            "SELECT id, at_us FROM history WHERE at_us < ? OR id <= ? ORDER BY id LIMIT ?",
            (before_us, floor, limit),
        )
    over = journal.read(
        "SELECT scope, name FROM pasts"
        " WHERE used_us < ? AND scope NOT LIKE '%agent' AND substr(name, 5, 9) != 'standing_' LIMIT ?",
        (before_us, limit),
    )
    if old or over:
        with journal.transaction() as step:
            if old:
                step.execute("DELETE FROM history WHERE id <= ?", (old[-1][0],))
                step.set_meta("history_from_us", old[-1][1])
            step.executemany("DELETE FROM pasts WHERE scope = ? AND name = ?", over)
    return limit in (len(old), len(over))
