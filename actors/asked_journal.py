"""What sessions were opened for, in an owner's journal, and how much of their scopes' counts is used up."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from actors.journal import Journal, Transaction
from policies.asked.basis import Basis
from policies.asked.tallies import Tallies

SCHEMA = """
CREATE TABLE IF NOT EXISTS asked (session TEXT PRIMARY KEY, basis BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (workflow TEXT PRIMARY KEY, counts BLOB NOT NULL) WITHOUT ROWID;
"""


def read_basis(journal: Journal, session: str) -> Basis | None:
    """Cost: an index lookup."""
    rows = journal.read("SELECT basis FROM asked WHERE session = ?", (session,))
    return Basis.read(orjson.loads(rows[0][0])) if rows else None


def save_basis(step: Transaction, session: str, basis: Basis | None) -> None:
    if basis is not None:
        step.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (session, orjson.dumps(basis.plain())))


def read_tallies(journal: Journal, workflow: str) -> Tallies:
    """Cost: an index lookup."""
    rows = journal.read("SELECT counts FROM tallies WHERE workflow = ?", (workflow,))
    return Tallies(orjson.loads(rows[0][0])) if rows else Tallies()


def save_tallies(step: Transaction, tallies: Iterable[tuple[str, Tallies]]) -> None:
    step.executemany(
        "INSERT OR REPLACE INTO tallies VALUES (?, ?)",
        [(workflow, orjson.dumps(counts.plain())) for workflow, counts in tallies],
    )


def forget(step: Transaction, sessions: Iterable[str], workflows: Iterable[str]) -> None:
    """What is known of sessions that are over, and of workflows that began with one: their counts go with them."""
    step.executemany("DELETE FROM asked WHERE session = ?", [(name,) for name in sessions])
    step.executemany("DELETE FROM tallies WHERE workflow = ?", [(workflow,) for workflow in workflows])
