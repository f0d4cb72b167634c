"""What owners keep of actions that two of them decide: reservations at the agent's home, settlements where the workflow
lives.

A settlement is an outbox row: it is sent to the home owner until that has acknowledged it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from actors.ids import ordinal_of_decision
from actors.journal import Journal, Transaction
from actors.messages import VOID, Settlement

# Settled rows stay for a while: messages may come twice, and an outcome comes late.
SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, session TEXT NOT NULL, decider INTEGER NOT NULL, action TEXT NOT NULL,
    resource_type TEXT NOT NULL, resource_id TEXT NOT NULL, program INTEGER NOT NULL, event BLOB NOT NULL,
    position INTEGER NOT NULL, history INTEGER NOT NULL, created_us INTEGER NOT NULL, verdict TEXT, outcome TEXT)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reservations_open ON reservations (agent) WHERE verdict IS NULL;
CREATE INDEX IF NOT EXISTS reservations_by_age ON reservations (created_us);
CREATE TABLE IF NOT EXISTS settlements (
    reservation TEXT PRIMARY KEY, home INTEGER NOT NULL, verdict TEXT NOT NULL, decision TEXT, outcome TEXT,
    witness INTEGER NOT NULL, action TEXT, created_us INTEGER NOT NULL, waits INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS settlements_by_decision ON settlements (decision) WHERE decision IS NOT NULL;
CREATE INDEX IF NOT EXISTS settlements_waiting ON settlements (home, created_us) WHERE waits;
CREATE INDEX IF NOT EXISTS settlements_by_age ON settlements (created_us);
"""

RESERVATION_MEMORY_US = 48 * 3_600_000_000
"""How long a settled one is known: longer than an outcome can be reported."""


class Reservation(NamedTuple):
    """An action that counts as permitted at home while an owner elsewhere decides it."""

    id: str
    agent: str  # agent key
    session: str
    decider: int  # ordinal of the owner that decides
    action: str
    resource_type: str
    resource_id: str
    program: int  # whose numbers the event has
    event: bytes
    position: int  # in the agent's past
    history: int  # the id of its record, if it is permitted
    created_us: int
    verdict: str | None = None  # None = open
    outcome: str | None = None

    @property
    def kind(self) -> tuple[str, str, str]:
        return self.action, self.resource_type, self.resource_id


# -- at the agent's home -------------------------------------------------------------------------------------------


def save_reservations(step: Transaction, rows: Iterable[Reservation]) -> None:
    step.executemany("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def find_reservation(journal: Journal, identity: str) -> Reservation | None:
    """Cost: an index lookup."""
    rows = journal.read("SELECT * FROM reservations WHERE id = ?", (identity,))
    return Reservation._make(rows[0]) if rows else None


def open_of_agent(journal: Journal, agent: str) -> list[Reservation]:
    """An agent's open reservations, oldest first."""
    rows = journal.read(
        "SELECT * FROM reservations WHERE agent = ? AND verdict IS NULL ORDER BY history", (agent,)
    )
    return [Reservation._make(row) for row in rows]


def open_before(journal: Journal, before_us: int, *, limit: int) -> dict[int, list[str]]:
    """Ids of reservations that nobody has spoken of for long, by the ordinal of the owner that decides: for each the
    oldest. Cost: O(open reservations)."""
    found: dict[int, list[str]] = {}
    for identity, decider in journal.read(
        "SELECT id, decider FROM reservations INDEXED BY reservations_open"
        " WHERE verdict IS NULL AND created_us < ? ORDER BY id",
        (before_us,),
    ):
        of_decider = found.setdefault(decider, [])
        if len(of_decider) < limit:
            of_decider.append(identity)
    return found


def save_verdict(step: Transaction, settled: Reservation) -> None:
    step.execute(
        "UPDATE reservations SET verdict = ?, outcome = ? WHERE id = ?",
        (settled.verdict, settled.outcome, settled.id),
    )


# -- where the workflow lives --------------------------------------------------------------------------------------


def find_settlement(journal: Journal, reservation: str) -> Settlement | None:
    """What was made of a reservation; None = it was never seen. Cost: an index lookup."""
    rows = journal.read(
        "SELECT reservation, verdict, outcome, witness, action FROM settlements WHERE reservation = ?",
        (reservation,),
    )
    return _settlement(rows[0]) if rows else None


def save_settlement(step: Transaction, settlement: Settlement, *, decision: str | None, now_us: int) -> None:
    """INVARIANT (one word): what was said first of a reservation stands, in the transaction that decided."""
    reservation, verdict, *_, action = settlement
    step.execute(
        "INSERT OR IGNORE INTO settlements VALUES (?, ?, ?, ?, NULL, 0, ?, ?, 1)",
        (
            reservation,
            ordinal_of_decision(reservation),
            verdict,
            decision,
            None if action is None else json.dumps(action),
            now_us,
        ),
    )


def save_tombstone(step: Transaction, reservation: str, *, now_us: int) -> None:
    """What was never seen will never be permitted. Its home asked, so nobody is told."""
    step.execute(
        "INSERT OR IGNORE INTO settlements VALUES (?, ?, ?, NULL, NULL, 0, NULL, ?, 0)",
        (reservation, ordinal_of_decision(reservation), VOID, now_us),
    )


def settlement_of_decision(journal: Journal, decision: str) -> Settlement | None:
    """Cost: an index lookup."""
    rows = journal.read(
        "SELECT reservation, verdict, outcome, witness, action FROM settlements WHERE decision = ?",
        (decision,),
    )
    return _settlement(rows[0]) if rows else None


def save_settled_outcome(step: Transaction, settlement: Settlement) -> None:
    step.execute(
        "UPDATE settlements SET outcome = ?, witness = ?, waits = 1 WHERE reservation = ?",
        (settlement.outcome, settlement.witness, settlement.reservation),
    )


def waiting_settlements(journal: Journal, before_us: int, *, limit: int) -> dict[int, list[Settlement]]:
    """What homes have not acknowledged, by their ordinals; of each the oldest."""
    homes = journal.read("SELECT DISTINCT home FROM settlements WHERE waits AND created_us < ?", (before_us,))
    found = {}
    for (home,) in homes:
        rows = journal.read(
            "SELECT reservation, verdict, outcome, witness, action FROM settlements"
            " WHERE waits AND home = ? AND created_us < ? ORDER BY created_us LIMIT ?",
            (home, before_us, limit),
        )
        found[home] = [_settlement(row) for row in rows]
    return found


def acknowledge(step: Transaction, settlements: Iterable[Settlement]) -> None:
    """Their home knows them. One that says more by now than what was sent still waits."""
    step.executemany(
        "UPDATE settlements SET waits = 0 WHERE reservation = ? AND outcome IS ?",
        [(one.reservation, one.outcome) for one in settlements],
    )


# -- both ----------------------------------------------------------------------------------------------------------


def begin_settlements(journal: Journal, *, now_us: int) -> None:
    """Say since when this journal knows what became of reservations."""
    if journal.meta("settlements_from_us", -1) == -1:
        with journal.transaction() as step:
            step.set_meta("settlements_from_us", now_us)


def over(journal: Journal, *, now_us: int, limit: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """Ids of settled reservations, and of acknowledged settlements, that nobody asks for any more."""
    before_us = now_us - RESERVATION_MEMORY_US
    return (
        journal.read(
            "SELECT id FROM reservations WHERE created_us < ? AND verdict IS NOT NULL LIMIT ?",
            (before_us, limit),
        ),
        journal.read(
            "SELECT reservation FROM settlements WHERE created_us < ? AND NOT waits LIMIT ?",
            (before_us, limit),
        ),
    )


def forget(step: Transaction, reservations: Iterable[Any], settlements: Iterable[Any]) -> None:
    step.executemany("DELETE FROM reservations WHERE id = ?", reservations)
    step.executemany("DELETE FROM settlements WHERE reservation = ?", settlements)


def _settlement(row: Sequence[Any]) -> Settlement:
    reservation, verdict, outcome, witness, action = row
    done = None if action is None else tuple(json.loads(action))
    return Settlement(reservation, verdict, outcome, bool(witness), done)
