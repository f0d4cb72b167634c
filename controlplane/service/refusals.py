"""What one replica refused for asking too much, summed up by key and minute: one row of evidence each, however much it
was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from actors.api_keys import Caller
from controlplane.wire.authzen import rfc3339

_AGENTS_NAMED = 20
_SUMMARIES_KEPT = 10_000
_MINUTE_US = 60_000_000


@dataclass(slots=True)
class Refused:
    """What one key was refused within one minute."""

    key_id: str
    tenant: str
    minute_us: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    count: int = 0
    first_us: int = 0
    last_us: int = 0
    limits: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        """As `Control.record_refusals` takes it."""
        details = {
            "key": self.key_id,
            "minute": rfc3339(self.minute_us),
            "refused": self.count,
            "first": rfc3339(self.first_us),
            "last": rfc3339(self.last_us),
            "limits": sorted(self.limits),
            "agents": sorted(self.agents),
        }
        return {"id": self.id, "tenant": self.tenant, "details": details}


class Refusals:
    """The minutes that are not yet in evidence, of one replica."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, int], Refused] = {}

    def note(
        self, caller: Caller, limit: str, *, now_us: int, count: int = 1, agent: str | None = None
    ) -> None:
        """Count what a key was refused.

        Args:
            limit: which one it met: `key`, `agent` or `in_flight`.
            now_us: wall clock.
            agent: whose decision it would have been, if that is known.
        """
        minute = now_us // _MINUTE_US
        found = self._refused.get((caller.key_id, minute))
        if found is None:
            if len(self._refused) >= _SUMMARIES_KEPT:
                return  # ten thousand keys at once: the log of the ingress is full of them
            found = self._refused[caller.key_id, minute] = Refused(
                key_id=caller.key_id,
                tenant=caller.tenant,
                minute_us=minute * _MINUTE_US,
                first_us=now_us,
            )
        found.count += count
        found.last_us = now_us
        found.limits.add(limit)
        if agent is not None and len(found.agents) < _AGENTS_NAMED:
            found.agents.add(agent)

    def take(self, *, before_us: int) -> list[Refused]:
        """Take out what was refused in minutes that ended before this moment."""
        over = [name for name in self._refused if name[1] < before_us // _MINUTE_US]
        return [self._refused.pop(name) for name in over]

    def put_back(self, summaries: list[Refused]) -> None:
        """What could not be recorded now, to be tried again; as much of it as there is room for."""
        for one in summaries[: max(0, _SUMMARIES_KEPT - len(self._refused))]:
            name = (one.key_id, one.minute_us // _MINUTE_US)
            newer = self._refused.get(name)
            if newer is not None:  # the clock was set back, and the minute comes twice
                one.count += newer.count
                one.last_us = max(one.last_us, newer.last_us)
                one.limits |= newer.limits
                one.agents |= newer.agents
            self._refused[name] = one
