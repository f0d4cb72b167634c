"""A session in the engine that runs in one process (`policies.engine`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from policies.action import Resource, Subject
from policies.asked.basis import Basis
from policies.delegation import PARENT_ENDED, Grant, covers
from policies.past.program import Scope
from policies.past.state import Past

SESSION_ENDED: Final = "session_ended"


@dataclass(slots=True, kw_only=True)
class EngineSession:
    """One run of one subject.

    Attributes:
        parent: the session that delegated to it.
        grants: under which it acts: its ancestors' and its own.
        basis: what it was opened for.
        workflow: name of the root session.
    """

    name: str
    tenant: str
    subject: Subject
    workflow: str
    parent: EngineSession | None = None
    grants: tuple[Grant, ...] = ()
    ended: bool = False
    basis: Basis | None = None
    pasts: Mapping[Scope, Past] = field(default_factory=dict)

    @property
    def agent(self) -> str | None:
        """``tenant/id`` of who acts; None = it is no agent."""
        return f"{self.tenant}/{self.subject.id}" if self.subject.type == "agent" else None

    def acting(self) -> list[str]:
        """The agents that act in it: its own, and those above for which it acts."""
        found: list[str] = []
        above: EngineSession | None = self
        while above is not None:
            if above.agent is not None:
                found.append(above.agent)
            above = above.parent
        return found

    def outside(self, resource: Resource, now_us: int) -> str | None:
        """Why nothing may be done to a resource in it, or by it at all; None = it may be asked of the rules."""
        if self.ended:
            return SESSION_ENDED
        ancestor = self.parent
        while ancestor is not None:
            if ancestor.ended:
                return PARENT_ENDED
            ancestor = ancestor.parent
        return covers(self.grants, resource.type, resource.id, now_us=now_us)
