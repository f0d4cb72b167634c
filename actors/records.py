"""Who is registered: the facts that policies may rely on because nobody but an operator can set them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Isolation = Literal["hosted", "dedicated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """A registered agent.

    Attributes:
        version: what the operator calls this release of the agent; goes into evidence.
        record_version: raised by each registration; a decision prepared with another one is prepared again.
        standing: whether the agent may act without naming a session.
        tools: what it declares that it may call; used for discovery, grants nothing.
    """

    tenant: str
    id: str
    type: str = "agent"
    owner: str | None = None
    labels: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    isolation: Isolation = "hosted"
    standing: bool = True
    version: str = ""
    record_version: int = 0
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AgentRecord:
        known = {name: value[name] for name in cls.__slots__ if name in value}
        for name in ("labels", "tools", "roles", "groups"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)
