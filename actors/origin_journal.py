"""What workflows know of their values, in an owner's journal: for each the state, and what happened since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from actors.journal import Journal, Transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS origins (
    workflow TEXT, part INTEGER, at_us INTEGER NOT NULL, what BLOB NOT NULL, PRIMARY KEY (workflow, part));
CREATE INDEX IF NOT EXISTS origins_by_time ON origins (at_us) WHERE part = 0;
"""
STATE: Final = 0
"""The part that is the state; the others happened after it, in the order of their numbers."""


class Kept(NamedTuple):
    """Attributes: at_us: when something was last written. parts: what happened since `state`, in order."""

    at_us: int
    state: bytes | None
    parts: tuple[bytes, ...]
    last_part: int


def read_origins(journal: Journal, workflow: str) -> Kept | None:
    """Cost: an index lookup, and a row for each of at most a few dozen parts."""
    rows = journal.read("SELECT part, at_us, what FROM origins WHERE workflow = ? ORDER BY part", (workflow,))
    if not rows:
        return None
    state = rows[0][2] if rows[0][0] == STATE else None
    parts = tuple(what for part, _, what in rows if part != STATE)
    return Kept(max(at_us for _, at_us, _ in rows), state, parts, rows[-1][0])


def save_parts(step: Transaction, rows: Iterable[tuple[str, int, int, bytes]]) -> None:
    """`rows`: (workflow, part, when, what)."""
    step.executemany("INSERT INTO origins VALUES (?, ?, ?, ?)", rows)


def save_state(step: Transaction, workflow: str, *, at_us: int, state: bytes) -> None:
    """The state in the place of all parts."""
    step.execute("DELETE FROM origins WHERE workflow = ?", (workflow,))
    save_parts(step, [(workflow, STATE, at_us, state)])


def over(journal: Journal, *, before_us: int, limit: int) -> list[tuple[str]]:
    """Workflows of which nothing was heard since, neither as a state nor as what happened after it."""
    return journal.read(
        "SELECT workflow FROM origins AS state WHERE part = 0 AND at_us < ? AND NOT EXISTS "
        "(SELECT 1 FROM origins WHERE workflow = state.workflow AND at_us >= ?) LIMIT ?",
        (before_us, before_us, limit),
    )


def forget(step: Transaction, workflows: Iterable[tuple[str]]) -> None:
    step.executemany("DELETE FROM origins WHERE workflow = ?", list(workflows))
