"""What an owner keeps of delegations: tokens until they expire, and from whom a session has its authority."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from actors.journal import Journal, Transaction
from actors.live_agent import Delegated, Session
from policies.delegation import Grant

SCHEMA = """
CREATE TABLE IF NOT EXISTS delegations (
    id TEXT PRIMARY KEY, parent_agent TEXT NOT NULL, parent TEXT NOT NULL, recipient TEXT NOT NULL, tools TEXT,
    depth INTEGER NOT NULL, expires_us INTEGER NOT NULL, session TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS delegations_by_parent ON delegations (parent, session, expires_us);
CREATE INDEX IF NOT EXISTS delegations_by_expiry ON delegations (expires_us);
CREATE TABLE IF NOT EXISTS lineage (
    session TEXT PRIMARY KEY, principal TEXT, delegation TEXT, parent_agent TEXT, parent TEXT, tools TEXT,
    depth INTEGER, expires_us INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners_elsewhere (agent TEXT PRIMARY KEY, owner TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """A token that was given out.

    Attributes:
        recipient: the id of the agent that may use it.
        session: the one that was opened with it; None = not used yet.
    """

    delegated: Delegated
    recipient: str
    session: str | None


def save_delegation(step: Transaction, delegated: Delegated, recipient: str) -> None:
    grant = delegated.grant
    step.execute(
        "INSERT INTO delegations VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        (delegated.id, delegated.parent_agent, delegated.parent, recipient, *_columns(grant)),
    )


def find_delegation(journal: Journal, identity: str) -> Delegation | None:
    """The delegation of a token; None for one that expired. Cost: an index lookup."""
    rows = journal.read(
        "SELECT parent_agent, parent, tools, depth, expires_us, recipient, session FROM delegations WHERE id = ?",
        (identity,),
    )
    for parent_agent, parent, tools, depth, expires_us, recipient, session in rows:
        delegated = Delegated(
            id=identity, parent_agent=parent_agent, parent=parent, grant=_grant(tools, depth, expires_us)
        )
        return Delegation(delegated=delegated, recipient=recipient, session=session)
    return None


def count_unused(journal: Journal, parent: str, *, now_us: int, limit: int) -> int:
    """How many delegations of a session wait to be used, counted up to `limit`."""
    rows = journal.read(
        "SELECT count(*) FROM (SELECT 1 FROM delegations"
        " WHERE parent = ? AND session IS NULL AND expires_us > ? LIMIT ?)",
        (parent, now_us, limit),
    )
    return int(rows[0][0])


def save_use(step: Transaction, identity: str, session: str) -> None:
    """INVARIANT (single use): in the transaction that opens the session, by the one owner of the token."""
    step.execute("UPDATE delegations SET session = ? WHERE id = ?", (session, identity))


def save_lineage(step: Transaction, session: Session) -> None:
    """Keep what a session was opened with; it never changes."""
    delegated = session.delegated
    if delegated is None and session.principal is None:
        return
    inherited = (
        (None,) * 6
        if delegated is None
        else (delegated.id, delegated.parent_agent, delegated.parent, *_columns(delegated.grant))
    )
    step.execute(
        "INSERT INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (session.name, session.principal, *inherited)
    )


def lineage(journal: Journal, session: str) -> tuple[str | None, Delegated | None]:
    """On whose behalf a session acts, and from whom it has its authority. Cost: an index lookup."""
    rows = journal.read(
        "SELECT principal, delegation, parent_agent, parent, tools, depth, expires_us FROM lineage WHERE session = ?",
        (session,),
    )
    for principal, delegation, parent_agent, parent, tools, depth, expires_us in rows:
        if delegation is None:
            return principal, None
        return principal, Delegated(
            id=delegation, parent_agent=parent_agent, parent=parent, grant=_grant(tools, depth, expires_us)
        )
    return None, None


def save_owner(step: Transaction, agent: str, owner: str | None) -> None:
    """Remember whose an agent is that lives elsewhere, as its home said when it last opened a session here."""
    step.execute("INSERT OR REPLACE INTO owners_elsewhere VALUES (?, ?)", (agent, owner))


def owner_elsewhere(journal: Journal, agent: str) -> str | None:
    """Whose an agent is that lives elsewhere; None = nobody has said. Cost: an index lookup."""
    rows = journal.read("SELECT owner FROM owners_elsewhere WHERE agent = ?", (agent,))
    return rows[0][0] if rows else None


def expired(journal: Journal, *, now_us: int, limit: int) -> list[tuple[Any, ...]]:
    """Tokens that say themselves that they are over: a row is needed no longer than its token can be used."""
    return journal.read("SELECT id FROM delegations WHERE expires_us <= ? LIMIT ?", (now_us, limit))


def forget(step: Transaction, *, sessions: Iterable[str], delegations: Iterable[tuple[Any, ...]]) -> None:
    step.executemany("DELETE FROM lineage WHERE session = ?", [(name,) for name in sessions])
    step.executemany("DELETE FROM delegations WHERE id = ?", delegations)


def _columns(grant: Grant) -> tuple[str | None, int, int]:
    return None if grant.tools is None else json.dumps(grant.tools), grant.depth, grant.expires_us


def _grant(tools: str | None, depth: int, expires_us: int) -> Grant:
    return Grant(
        tools=None if tools is None else tuple(json.loads(tools)), depth=depth, expires_us=expires_us
    )
