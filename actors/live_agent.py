"""One agent while it is awake: its record, its sessions, what it has been seen to do, and its capability graph.

Everything here is also in the owner's journal; a resting agent is nothing but its rows there, brought forward by what
`actors.uses` has not written to them yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from actors.records import AgentRecord
from graph.capability import Capability, CapabilityGraph, Observation
from policies.asked.basis import Basis
from policies.delegation import Grant

DAY_US = 86_400_000_000
IDLE_LIMIT_US = 7 * DAY_US
SESSION_LIFETIME_US = 30 * DAY_US

# The session that an agent has without opening one; its name authenticates nothing.
STANDING_PREFIX = "ses_standing_"
STANDING_WORKFLOW = "wfl_standing_"
MAX_SEEN = 2000
SESSIONS_AWAKE = 256
"""Of one agent; further ones are read from the journal each time they are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """From whom a session has its authority: the session that it was delegated by, with the same owner.

    Attributes:
        id: the delegation's.
        parent_agent: the agent key of the session `parent`.
    """

    id: str
    parent_agent: str
    parent: str
    grant: Grant


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of one agent. `name` is its id.

    Attributes:
        principal: `type:id`, on whose behalf it acts, if that was said.
        delegated: None for a session that acts on its agent's own authority.
        basis: what it was opened for; None = nobody said.
        stored: whether it has a row in the journal.
    """

    name: str
    workflow_id: str
    opened_us: int
    last_us: int
    ended_us: int | None = None
    turns: int = 0
    actions: int = 0
    principal: str | None = None
    delegated: Delegated | None = None
    basis: Basis | None = None
    stored: bool = False

    @property
    def workflow_since_us(self) -> int:
        """When its workflow began, if it began with this session; else 0, as nobody knows."""
        own = self.delegated is None and not self.workflow_id.startswith(STANDING_WORKFLOW)
        return self.opened_us if own else 0

    def state(self, now_us: int) -> str:
        """``live``, ``ended`` or ``expired`` (idle for more than seven days)."""
        if self.ended_us is not None:
            return "ended"
        return "expired" if now_us - self.last_us > IDLE_LIMIT_US else "live"


@dataclass(slots=True, kw_only=True)
class Seen:
    """How often, and when, the agent was permitted an action on a resource; `stored`: whether it has a row."""

    first_us: int
    last_us: int
    count: int = 1
    stored: bool = False


SeenKey = tuple[str, str, str]  # action, resource type, resource id


@dataclass(slots=True, kw_only=True)
class LiveAgent:
    """The state that exactly one owner holds. Not thread-safe: an owner has one thread.

    Attributes:
        live_sessions: how many sessions have not ended; None = not counted since it woke.
    """

    key: str
    record: AgentRecord | None
    sessions: dict[str, Session] = field(default_factory=dict)
    seen: dict[SeenKey, Seen] = field(default_factory=dict)
    live_sessions: int | None = None
    _graph: CapabilityGraph | None = None
    _graph_catalog: str | None = None

    def see(self, key: SeenKey, capability: Capability, now_us: int) -> tuple[SeenKey, Seen]:
        """Count a permitted action, in the graph too if it is materialised. Cost: a few microseconds.

        Past `MAX_SEEN` distinct resources, further ones are counted together as ``*``.
        """
        seen = self.seen.get(key)
        if seen is None and len(self.seen) >= MAX_SEEN:
            key = ("*", key[1], "*")
            capability = replace(capability, resource_id="*")
            seen = self.seen.get(key)
        if seen is None:
            seen = self.seen[key] = Seen(first_us=now_us, last_us=now_us)
        else:
            seen.count += 1
            # What was done elsewhere is heard of late.
            seen.last_us = max(seen.last_us, now_us)
        if self._graph is not None:
            self._graph.observe(capability, now_us)
        return key, seen

    def graph(self, bundle: str | None, capability: Callable[[str, str], Capability]) -> CapabilityGraph:
        """The agent's live capability graph under the active catalog.

        Built on first use and again when the catalog changed; never on the decision path, which only
        counts. `capability` tells what a resource (type, id) reaches.
        """
        if self._graph is None or self._graph_catalog != bundle:
            name = self.record.id if self.record else self.key
            declared = [capability("tool", tool) for tool in (self.record.tools if self.record else ())]
            observed = [
                Observation(
                    capability=capability(resource_type, resource_id),
                    first_seen_us=seen.first_us,
                    last_seen_us=seen.last_us,
                    count=seen.count,
                )
                for (_, resource_type, resource_id), seen in self.seen.items()
            ]
            self._graph = CapabilityGraph.build(name, declared, observed)
            self._graph_catalog = bundle
        return self._graph


def standing_name(key: str) -> str:
    """The session id that stands in evidence for actions without a session. It authenticates nothing."""
    return STANDING_PREFIX + _short(key)


def standing_workflow(key: str) -> str:
    """The workflow that an agent has without anybody's starting one."""
    return STANDING_WORKFLOW + _short(key)


@lru_cache(maxsize=4096)
def _short(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:20]
