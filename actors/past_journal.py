"""What an owner keeps of the past: the state of each scope, and a record of what was permitted, for rules to come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from actors.journal import Journal, Transaction
from actors.live_agent import STANDING_PREFIX, STANDING_WORKFLOW, standing_workflow
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
CREATE TABLE IF NOT EXISTS kinds (
    id INTEGER PRIMARY KEY, action TEXT, resource_type TEXT, resource_id TEXT,
    UNIQUE (action, resource_type, resource_id));
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, workflow TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, at_us INTEGER NOT NULL,
    kind INTEGER NOT NULL, outcome INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS history_index (place INTEGER, id INTEGER, PRIMARY KEY (place, id)) WITHOUT ROWID;
"""
# An index of SQLite's own over workflows and agents writes pages of its own for each decision: a third of an owner's
# time at 32 connections. `history_index` is brought up to date many actions at a time; what it lacks is at the end.

MOST_RECALLED = 10_000
"""Actions of one scope that a new rule is told; what was before is unknown to it."""
MOST_RECORDED = 2_000_000
"""Actions of one journal, about 250 MB."""
_KINDS_KEPT = 10_000
_STANDING = (STANDING_PREFIX, STANDING_WORKFLOW)
WITNESSED = 4
"""Added to an outcome that a key with the grant `witness` reported."""


_SELECT = (
    "SELECT h.id, h.workflow, h.session, h.agent, h.at_us, k.action, k.resource_type, k.resource_id, h.outcome"
    " FROM history h JOIN kinds k ON k.id = h.kind "
)
_INDEXED = _SELECT + "JOIN history_index i ON i.id = h.id WHERE i.place = ? ORDER BY h.id DESC LIMIT ?"
_UNINDEXED = _SELECT + "WHERE h.id > ? ORDER BY h.id"
INDEX_AT_ONCE = 2_000
"""Actions that one step brings into the index: about 10 ms."""


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
    """(what is recorded of a scope, oldest first; until when the past before it is unknown, 0 = it is complete).

    Cost: a lookup for each recorded action of the scope's workflow or agent; and what is not indexed yet is read.
    """
    places = {_place(name if scope is Scope.AGENT else workflow)}
    if scope is Scope.AGENT:
        places.add(_place(standing_workflow(name)))
    unknown_until_us = int(journal.meta("history_from_us", 0))
    rows = []
    for place in places:
        newest_first = journal.read(_INDEXED, (place, MOST_RECALLED))
        if len(newest_first) == MOST_RECALLED:
            # Most of them may be another session's: what is not read may be this one's.
            unknown_until_us = max(unknown_until_us, newest_first[-1][4])
        rows += newest_first
    rows += journal.read(_UNINDEXED, (_indexed(journal),))
    column = {Scope.SESSION: 2, Scope.WORKFLOW: 1, Scope.AGENT: 3}[scope]
    found = [
        Recalled(row[0], row[3], row[4], (row[5], row[6], row[7]), row[8] & 3, row[8] >= WITNESSED)
        for row in sorted(rows)
        if row[column] == name
    ][-MOST_RECALLED:]
    if len(found) == MOST_RECALLED:
        unknown_until_us = max(unknown_until_us, found[0].at_us)
    return found, unknown_until_us


def index_history(journal: Journal) -> bool:
    """Bring the next recorded actions into the index. Returns: whether there are more."""
    after = _indexed(journal)
    rows = journal.read(
        "SELECT id, workflow, agent FROM history WHERE id > ? ORDER BY id LIMIT ?", (after, INDEX_AT_ONCE)
    )
    if not rows:
        return False
    entries = [(_place(workflow), number) for number, workflow, _ in rows]
    # What an agent does in its standing workflow is found by that.
    entries += [
        (_place(agent), number) for number, workflow, agent in rows if workflow != standing_workflow(agent)
    ]
    with journal.transaction() as step:
        step.executemany("INSERT OR IGNORE INTO history_index VALUES (?, ?)", sorted(entries))
        step.set_meta("history_indexed", rows[-1][0])
    return len(rows) == INDEX_AT_ONCE


def _indexed(journal: Journal) -> int:
    return int(journal.meta("history_indexed", 0))


@lru_cache(maxsize=4096)
def _place(name: str) -> int:
    # Two names may share a place: what is found is compared with the name.
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def begin_record(journal: Journal, *, now_us: int) -> None:
    """Say where the record begins: with a new journal, at the beginning; with an older one's decisions, now."""
    if journal.meta("history_from_us", -1) != -1:
        return
    older = journal.read("SELECT 1 FROM decided LIMIT 1")
    with journal.transaction() as step:
        step.set_meta("history_from_us", now_us if older else 0)


def forget_history(journal: Journal, *, now_us: int, limit: int) -> bool:
    """Keep the record bounded in time and size, and forget the pasts of sessions and workflows that are long over.

    Returns: whether there is more than `limit` rows' worth left of the record. Pasts are looked through in parts.
    """
    before_us, floor = now_us - HISTORY_US, newest(journal) - MOST_RECORDED
    first = journal.read("SELECT id, at_us FROM history ORDER BY id LIMIT 1")
    old: list[tuple[Any, ...]] = []
    if first and (first[0][1] < before_us or first[0][0] <= floor):
        # They are in the order of time, so that the ends of the range say everything.
        old = journal.read(
            "SELECT id, at_us, workflow, agent FROM history WHERE at_us < ? OR id <= ? ORDER BY id LIMIT ?",
            (before_us, floor, limit),
        )
    scope, name = json.loads(journal.meta("pasts_looked_at", '["", ""]'))
    part = journal.read(
        "SELECT scope, name, used_us FROM pasts WHERE (scope, name) > (?, ?) ORDER BY scope, name LIMIT ?",
        (scope, name, limit),
    )
    over = [
        (kept_as, one)
        for kept_as, one, used_us in part
        if used_us < before_us and not kept_as.endswith(Scope.AGENT) and not one.startswith(_STANDING)
    ]
    if old or over:
        with journal.transaction() as step:
            if old:
                step.execute("DELETE FROM history WHERE id <= ?", (old[-1][0],))
                places = [(_place(one), row[0]) for row in old for one in (row[2], row[3])]
                step.executemany("DELETE FROM history_index WHERE place = ? AND id = ?", places)
                step.set_meta("history_from_us", old[-1][1])
            step.executemany("DELETE FROM pasts WHERE scope = ? AND name = ?", over)
            step.set_meta("pasts_looked_at", json.dumps(part[-1][:2] if len(part) == limit else ["", ""]))
    return len(old) == limit
