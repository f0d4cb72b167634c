"""Stops: who or what may do nothing for now, and the live ones by what they are about. No Ray.

The control store owns them (`actors.stops.registry`); owners enforce them (`actors.stops.stopping`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from actors import api_keys

TargetType = Literal["agent", "tool", "system", "workflow", "owner", "fleet"]
TARGET_TYPES: Final[tuple[TargetType, ...]] = get_args(TargetType)
GLOBBED: Final = frozenset(("agent", "tool"))
"""Targets that may be named by a glob: `*` stands for any run of characters."""

STOP: Final = "stop"
"""The kind of their entries."""

_BY_RULE: Final = "rule:"

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One stop, as owners know it.

    Attributes:
        id: ``stp_`` and 18 hexadecimal digits.
        target_id: of an owner: what agents are registered with; of the fleet: empty.
        by: id of the operator's key, ``rule:POLICY/RULE`` or ``finding:CODE``.
        expires_us: event time of whoever enforces it; None = it holds until it is released.
        decision: id of the decision that brought it about, of an automatic one.
    """

    id: str
    tenant: str
    target_type: TargetType
    target_id: str
    reason: str
    by: str
    created_us: int
    expires_us: int | None = None
    decision: str | None = None

    @property
    def automatic(self) -> bool:
        """Whether no operator asked for it."""
        return self.decision is not None

    @property
    def target(self) -> str:
        """In words."""
        return "the fleet" if self.target_type == "fleet" else f"{self.target_type} `{self.target_id}`"

    def live(self, now_us: int) -> bool:
        return self.expires_us is None or now_us < self.expires_us

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Stop:
        """Further keys, which the registry keeps, are left out."""
        return cls(**{name: value[name] for name in cls.__slots__ if name in value})


def rule_of(by: str) -> str | None:
    """The rule that brought a stop about."""
    return by.removeprefix(_BY_RULE) if by.startswith(_BY_RULE) else None


def by_rule(rule: str) -> str:
    return _BY_RULE + rule


class Acting(NamedTuple):
    """Who acts, and on what, as far as stops look at it.

    Attributes:
        agents: (id, registered owner or None) of the agent and of those on whose delegation it acts.
        systems: that the resource belongs to; None = the catalog does not say, so that it may be any.
    """

    tenant: str
    agents: tuple[tuple[str, str | None], ...] = ()
    workflow: str | None = None
    tool: str | None = None
    systems: tuple[str, ...] | None = ()


class LiveStops:
    """Stops by what they are about. Not thread-safe.

    What is asked of one name is a dictionary lookup, however many there are; globs, of which there are few, are
    compared one after the other.
    """

    __slots__ = ("_by_id", "_globs", "_named", "_of_type")

    def __init__(self) -> None:
        self._by_id: dict[str, Stop] = {}
        self._named: dict[tuple[str, str, str], dict[str, Stop]] = {}
        self._globs: dict[tuple[str, str], dict[str, Stop]] = {}
        self._of_type: dict[tuple[str, str], dict[str, Stop]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Stop]:
        return iter(self._by_id.values())

    def get(self, identity: str) -> Stop | None:
        return self._by_id.get(identity)

    def learn(self, identity: str, value: dict[str, Any] | None) -> None:
        """Take in an entry as it is leased. Args: value: None = it is over, or nobody knows it any more."""
        self.drop(identity)
        if value is not None:
            self.add(Stop.from_json(value))

    def add(self, stop: Stop) -> None:
        """Cost: a few dictionary entries."""
        self._by_id[stop.id] = stop
        self._of_type.setdefault((stop.tenant, stop.target_type), {})[stop.id] = stop
        self._place(stop)[stop.id] = stop

    def drop(self, identity: str) -> None:
        """Nothing happens if it is not there."""
        stop = self._by_id.pop(identity, None)
        if stop is None:
            return
        _discard(self._of_type, (stop.tenant, stop.target_type), identity)
        _discard(self._globs, (stop.tenant, stop.target_type), identity)
        _discard(self._named, (stop.tenant, stop.target_type, stop.target_id), identity)

    def clear(self) -> None:
        self._by_id.clear()
        self._of_type.clear()
        self._globs.clear()
        self._named.clear()

    def named(self, tenant: str, target_type: TargetType, target_id: str) -> Iterator[Stop]:
        """Those of exactly this name, live or not."""
        return iter(self._named.get((tenant, target_type, target_id), {}).values())

    def globs(self, tenant: str, now_us: int) -> int:
        """How many live ones of a tenant's are named by a glob."""
        return sum(
            stop.live(now_us) for kind in GLOBBED for stop in self._globs.get((tenant, kind), {}).values()
        )

    def count(self, tenant: str, target_type: TargetType) -> int:
        """How many of a tenant's there are of this type, live or not."""
        return len(self._of_type.get((tenant, target_type), ()))

    def on(self, tenant: str, target_type: TargetType, target_id: str, now_us: int) -> Stop | None:
        """A live stop of this very thing."""
        named = self._named.get((tenant, target_type, target_id))
        if named is not None and (found := _first(named, now_us)) is not None:
            return found
        for stop in self._globs.get((tenant, target_type), {}).values():
            if stop.live(now_us) and api_keys.matches(stop.target_id, target_id):
                return stop
        return None

    def meeting(self, acting: Acting, now_us: int) -> Stop | None:
        """A live stop that meets an action; None = there is none. Cost: a lookup for each thing that is asked."""
        tenant = acting.tenant
        found = self.on(tenant, "fleet", "", now_us)
        for agent, owner in acting.agents:
            found = found or self.on(tenant, "agent", agent, now_us)
            if owner is not None:
                found = found or self.on(tenant, "owner", owner, now_us)
        if acting.workflow is not None:
            found = found or self.on(tenant, "workflow", acting.workflow, now_us)
        if acting.tool is not None:
            found = found or self.on(tenant, "tool", acting.tool, now_us)
        if acting.systems is None:
            # INVARIANT (fail closed): what may belong to a stopped system is taken to belong to it.
            return found or _first(self._of_type.get((tenant, "system"), {}), now_us)
        for system in acting.systems:
            found = found or self.on(tenant, "system", system, now_us)
        return found

    def _place(self, stop: Stop) -> dict[str, Stop]:
        if stop.target_type in GLOBBED and "*" in stop.target_id:
            return self._globs.setdefault((stop.tenant, stop.target_type), {})
        return self._named.setdefault((stop.tenant, stop.target_type, stop.target_id), {})


def _first(stops: dict[str, Stop], now_us: int) -> Stop | None:
    return next((stop for stop in stops.values() if stop.live(now_us)), None)


def _discard(kept: dict[Name, dict[str, Stop]], name: Name, identity: str) -> None:
    found = kept.get(name)
    if found is not None:
        found.pop(identity, None)
        if not found:
            del kept[name]
