"""What moves with each decision: when and how often a session was used, and something was seen.

Rows of `sessions` and `seen` lie anywhere in their trees, and a step that wrote them would write a page for each. So it
adds one compact row to `uses`, and the rows themselves follow, many at a time; until then whoever reads one brings it
forward.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import orjson

from actors.agent_journal import save_seen, save_sessions
from actors.journal import Journal, Transaction
from actors.live_agent import LiveAgent, Seen, SeenKey, Session

MOST_WAITING = 20_000
"""Uses of one owner that wait for their rows, in memory and in the journal; about 300 bytes each in either."""
_DUE = MOST_WAITING // 2
AT_ONCE = 1_000
"""Rows that one step brings up to date: about 5 ms."""

# INVARIANT (only forwards): times and counts only grow, and are written as they are, never as differences; so writing a
# use twice, late, or after a newer row changes nothing.
_SESSION = (
    "UPDATE sessions SET last_us = max(last_us, ?), actions = max(actions, ?) WHERE agent = ? AND name = ?"
)
_SEEN = (
    "UPDATE seen SET last_us = max(last_us, ?), count = max(count, ?)"
    " WHERE agent = ? AND action = ? AND resource_type = ? AND resource_id = ?"
)

Key = tuple[str, ...]  # (agent, session) or (agent, action, resource type, resource id)
Use = tuple[int, int]  # last time, count
Used = list[tuple[Key, Use]]


class Uses:
    """The uses of one journal whose rows are not up to date. Not thread-safe.

    Those that wait are taken in rounds: the rows of a round are written some at a time, and what `uses` holds of it is
    dropped with the last of them.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: dict[Key, Use] = {}
        self._round: dict[Key, Use] = {}
        self._round_id = 0
        self._newest = 0
        self._count = 0
        for self._newest, used in journal.read("SELECT id, used FROM uses ORDER BY id"):
            self._wait([(tuple(key), (last_us, count)) for *key, last_us, count in orjson.loads(used)])

    def write(
        self,
        step: Transaction,
        sessions: Iterable[tuple[str, Session]],
        seen: Iterable[tuple[str, SeenKey, Seen]],
    ) -> Used:
        """Make uses durable with what used them; what is new gets its row at once.

        Returns: what `remember` is to be told once the step is durable. Cost: one row.
        """
        new_sessions, new_seen = [], []
        used: Used = []
        for agent, session in sessions:
            if session.stored:
                used.append(((agent, session.name), (session.last_us, session.actions)))
            else:
                new_sessions.append((agent, session))
        for agent, key, one in seen:
            if one.stored:
                used.append(((agent, *key), (one.last_us, one.count)))
            else:
                new_seen.append((agent, key, one))
        if new_sessions:
            save_sessions(step, new_sessions)
        if new_seen:
            save_seen(step, new_seen)
        if used:
            row = orjson.dumps([(*key, *use) for key, use in used])
            step.execute("INSERT INTO uses VALUES (?, ?)", (self._newest + 1, row))
        return used

    def remember(self, used: Used) -> None:
        """What `write` returned is durable.

        INVARIANT (forgotten): never told before, so that what wakes is brought forward by durable uses alone.
        """
        if used:
            self._newest += 1
            self._wait(used)

    def bring_forward(self, agent: LiveAgent) -> None:
        """What an agent that was read from its rows was seen to do. Cost: two lookups a resource."""
        if self._waiting or self._round:
            for key, seen in agent.seen.items():
                last_us, count = self._latest((agent.key, *key))
                seen.last_us, seen.count = max(seen.last_us, last_us), max(seen.count, count)

    def bring_session_forward(self, agent: str, session: Session) -> None:
        """A session that was read from its row."""
        last_us, actions = self._latest((agent, session.name))
        session.last_us, session.actions = max(session.last_us, last_us), max(session.actions, actions)

    def due(self) -> bool:
        """Whether it is worth while to carry out what waits, or a round is half done."""
        return bool(self._round) or self._count >= _DUE

    def full(self) -> bool:
        """Whether as much waits as may: whoever adds to it carries some out."""
        return self._count >= MOST_WAITING

    def waiting(self) -> int:
        """How many rows are not up to date."""
        return len(self._waiting) + len(self._round)

    def carry_out(self, limit: int = AT_ONCE) -> bool:
        """Bring the next rows up to date. Returns: whether there is more of this round. Cost: one transaction."""
        if not self._round:
            if not self._waiting:
                return False
            # In the order of the rows, so that neighbours share pages.
            self._round = dict(sorted(self._waiting.items()))
            self._waiting, self._count, self._round_id = {}, 0, self._newest
        part = list(islice(self._round.items(), limit))
        with self._journal.transaction() as step:
            _update(step, part)
            # INVARIANT (nothing lost): a use leaves `uses` with, or after, the writing of its row.
            if len(part) == len(self._round):
                step.execute("DELETE FROM uses WHERE id <= ?", (self._round_id,))
        for key, _ in part:
            del self._round[key]
        return bool(self._round)

    def carry_out_of(self, agent: str) -> None:
        """Bring the rows of one agent up to date, for whoever looks through them. Cost: O(what waits)."""
        found = [one for uses in (self._round, self._waiting) for one in uses.items() if one[0][0] == agent]
        if found:
            with self._journal.transaction() as step:
                _update(step, found)

    def _wait(self, used: Used) -> None:
        self._waiting.update(used)
        self._count += len(used)

    def _latest(self, key: Key) -> Use:
        return self._waiting.get(key) or self._round.get(key) or (0, 0)


def _update(step: Transaction, used: Used) -> None:
    step.executemany(_SESSION, [(*use, *key) for key, use in used if len(key) == 2])
    step.executemany(_SEEN, [(*use, *key) for key, use in used if len(key) == 4])
