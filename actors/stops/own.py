"""Automatic stops that an owner has made and that its leased directory does not know yet.

They are enforced from the transaction on that made them, and handed over to the control store
(`actors.stops.handover`), which owns them from then on: it tells the other owners, and an operator releases them there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from actors.journal import Journal, Transaction
from actors.stops.live import LiveStops, Stop

SCHEMA = """
CREATE TABLE IF NOT EXISTS own_stops (id TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER) WITHOUT ROWID;
"""

MOST_WAITING: Final = 5_000
"""Of one owner, tenant and type of target. Past it a rule that stops somebody denies all the same, each time; evidence
tells of each."""


class OwnStops:
    """Of one journal. Not thread-safe.

    Attributes:
        live: what is enforced here beside the directory's.
        fresh: whether something was added since somebody looked.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.live = LiveStops()
        self.fresh = False
        self._handed: dict[str, int] = {}
        self.forget_memory()

    def forget_memory(self) -> None:
        """What did not become durable is not remembered. With a journal that is lost nobody decides any more."""
        if not self._journal.usable:
            return
        self.live.clear()
        self._handed.clear()
        for identity, value, revision in self._journal.read("SELECT id, value, revision FROM own_stops"):
            self.live.add(Stop.from_json(json.loads(value)))
            if revision is not None:
                self._handed[identity] = revision

    def full(self, step: Transaction, stop: Stop) -> bool:
        """Whether there is no room for one more; those that have run out make room, though nobody has taken them."""
        if self.live.count(stop.tenant, stop.target_type) < MOST_WAITING:
            return False
        over = [one.id for one in self.live if not one.live(stop.created_us)]
        self._drop(step, over)
        return self.live.count(stop.tenant, stop.target_type) >= MOST_WAITING

    def add(self, step: Transaction, stop: Stop) -> None:
        """Enforce a stop from now on, and, with the transaction, over restarts."""
        step.execute("INSERT INTO own_stops VALUES (?, ?, NULL)", (stop.id, json.dumps(stop.to_json())))
        self.live.add(stop)
        self.fresh = True

    def waiting(self, limit: int) -> list[dict[str, Any]]:
        """Those that the control store has not acknowledged. Agents first: they may act elsewhere meanwhile."""
        found = [stop for stop in self.live if stop.id not in self._handed]
        found.sort(key=lambda stop: stop.target_type != "agent")
        return [stop.to_json() for stop in found[:limit]]

    def handed_over(self, identities: Sequence[str], revision: int) -> None:
        """The control store has them: a directory of this revision knows of them."""
        with self._journal.transaction() as step:
            step.executemany(
                "UPDATE own_stops SET revision = ? WHERE id = ?", [(revision, one) for one in identities]
            )
        self._handed.update(dict.fromkeys(identities, revision))

    def put_back(self, identity: str) -> None:
        """It found no room: the others are offered before it."""
        stop = self.live.get(identity)
        if stop is not None:
            self.live.drop(identity)
            self.live.add(stop)

    def settle(self, directory_revision: int) -> None:
        """Let go of those that the directory tells of.

        INVARIANT (handed over): never before the directory has reached the revision at which the control store took
        them in, so that none is missed in between; and then at once, so that a release is not outlived.

        Args: directory_revision: of the leased copy that is enforced beside these.
        """
        told = [one for one, revision in self._handed.items() if revision <= directory_revision]
        if not told or not self._journal.usable:
            return
        with self._journal.transaction() as step:
            self._drop(step, told)

    def _drop(self, step: Transaction, identities: Sequence[str]) -> None:
        step.executemany("DELETE FROM own_stops WHERE id = ?", [(one,) for one in identities])
        for identity in identities:
            self.live.drop(identity)
            self._handed.pop(identity, None)
