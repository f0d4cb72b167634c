"""How much a stop would meet, before anybody sets it: agents and live sessions, counted from the owners' journals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from actors import delegation_journal
from actors.ids import subject_of_key
from actors.live_agent import IDLE_LIMIT_US
from actors.owner import Owner
from actors.records import AgentRecord
from actors.stops.live import Acting, LiveStops, Stop
from controlplane.errors import GovernanceError
from policies.catalog import TOOL

AT_ONCE: Final = 2_000
"""Rows that are looked at before anybody else has a turn: about 10 ms."""
COUNT_TIMEOUT_S: Final = 10.0

Call = Callable[..., Awaitable[Any]]


async def ask_all(call: Call, owners: Sequence[str], stop: Stop) -> dict[str, Any]:
    """Ask every owner.

    Returns: ``{"agents", "sessions", "unreachable": […]}``; what lives with the latter is not counted.
    """

    async def one(name: str) -> tuple[int, int] | None:
        try:
            agents, sessions = await call(name, "count_stopped", stop.to_json(), timeout_s=COUNT_TIMEOUT_S)
        except GovernanceError:
            return None
        return agents, sessions

    found = dict(zip(owners, await asyncio.gather(*map(one, owners)), strict=True))
    counted = [each for each in found.values() if each is not None]
    return {
        "agents": sum(agents for agents, _ in counted),
        "sessions": sum(sessions for _, sessions in counted),
        "unreachable": [name for name, each in found.items() if each is None],
    }


async def count(owner: Owner, stop: Stop) -> tuple[int, int]:
    """(registered agents, live sessions) of one owner that a stop would meet.

    An agent counts for a tool or a system when it declares such a tool or was permitted one; and then so do its
    sessions. Cost: a scan of the journal's agents and sessions, a few thousand at a time.
    """
    counting = _Counting(owner, stop)
    uses = stop.target_type in ("tool", "system")
    agents: set[str] = set()
    if stop.target_type != "workflow":
        async for key in _pages(owner, _AGENTS, counting.agents):
            agents.add(key)
    if uses:
        async for key in _pages(owner, _SEEN, counting.users):
            agents.add(key)
    sessions = 0
    users = frozenset(agents if uses else ())
    async for key in _pages(owner, _SESSIONS, lambda rows: counting.sessions(rows, users)):
        sessions += 1
        if stop.target_type == "workflow":
            agents.add(key)
    return len(agents), sessions


Page = Sequence[tuple[Any, ...]]

_AGENTS = "SELECT key, record FROM agents WHERE key > ? ORDER BY key LIMIT ?", 1
_SEEN = (
    "SELECT agent, action, resource_type, resource_id FROM seen WHERE (agent, action, resource_type, resource_id) >"
    " (?, ?, ?, ?) ORDER BY agent, action, resource_type, resource_id LIMIT ?",
    4,
)
_SESSIONS = (
    "SELECT agent, name, workflow, last_us, ended_us FROM sessions WHERE (agent, name) > (?, ?)"
    " ORDER BY agent, name LIMIT ?",
    2,
)


async def _pages(
    owner: Owner, query: tuple[str, int], met: Callable[[Page], Iterator[str]]
) -> AsyncIterator[str]:
    """The agent keys that `met` finds in a table, page by page in the order of its key."""
    sql, width = query
    after: tuple[str, ...] = ("",) * width
    while True:
        rows = owner.journal.read(sql, (*after, AT_ONCE))
        for key in met(rows):
            yield key
        if len(rows) < AT_ONCE:
            return
        after = rows[-1][:width]
        await asyncio.sleep(0)


class _Counting:
    """What one stop meets at one owner."""

    def __init__(self, owner: Owner, stop: Stop) -> None:
        self._owner = owner
        self._stop = stop
        self._now_us = owner.event_time().us
        self._stops = LiveStops()
        self._stops.add(stop)

    def agents(self, rows: Page) -> Iterator[str]:
        """Those that are named, or declare what is."""
        for key, record_json in rows:
            tenant, _, agent_id = subject_of_key(key)
            record = AgentRecord.from_json(json.loads(record_json))
            if self._meets(Acting(tenant=tenant, agents=((agent_id, record.owner),))) or any(
                self._uses(tenant, TOOL, tool) for tool in record.tools
            ):
                yield key

    def users(self, rows: Page) -> Iterator[str]:
        for key, _, resource_type, resource_id in rows:
            tenant, subject_type, _ = subject_of_key(key)
            if subject_type == "agent" and self._uses(tenant, resource_type, resource_id):
                yield key

    def sessions(self, rows: Page, users: frozenset[str]) -> Iterator[str]:
        """The agents of live sessions that it meets, one a session. Args: users: whose sessions all count."""
        for key, name, workflow, last_us, ended_us in rows:
            if ended_us is not None or self._now_us - last_us > IDLE_LIMIT_US:
                continue
            tenant = subject_of_key(key)[0]
            if key in users or self._meets(
                Acting(tenant=tenant, agents=tuple(self._chain(key, name)), workflow=workflow)
            ):
                yield key

    def _chain(self, key: str, name: str) -> Iterator[tuple[str, str | None]]:
        """The session's agent, and those on whose delegation it acts."""
        while True:
            _, subject_type, subject_id = subject_of_key(key)
            if subject_type == "agent":
                yield subject_id, self._owner_of(key) if self._stop.target_type == "owner" else None
            _, delegated = delegation_journal.lineage(self._owner.journal, name)
            if delegated is None:
                return
            key, name = delegated.parent_agent, delegated.parent

    def _owner_of(self, key: str) -> str | None:
        record = self._owner.record_by_key(key)
        return (
            delegation_journal.owner_elsewhere(self._owner.journal, key) if record is None else record.owner
        )

    def _uses(self, tenant: str, resource_type: str, resource_id: str) -> bool:
        if self._stop.target_type == "tool":
            return resource_type == TOOL and self._meets(Acting(tenant=tenant, tool=resource_id))
        if self._stop.target_type != "system" or self._owner.active is None:
            return False
        facts = self._owner.active.facts(resource_type, resource_id)
        system = None if facts is None else facts.system
        return self._meets(Acting(tenant=tenant, systems=None if system is None else (system,)))

    def _meets(self, acting: Acting) -> bool:
        return self._stops.meeting(acting, self._now_us) is not None
