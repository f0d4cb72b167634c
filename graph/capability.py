"""What one agent can touch, and what it has touched: a live networkx graph, declared beside observed.

    ("agent", "treasury-bot") ── can_call ──▶ ("tool", "crm.read_customer")
                              ── reaches ───▶ ("system", "crm")
                              ── reads ─────▶ ("data", "pii")
                              ── writes ────▶ ("system", "core-banking")

Nodes are (kind, name); the kind of a called resource is its resource type, `tool` for tools. Edges are keyed
by what they mean and carry `declared`, `observed`, `first_seen_us`, `last_seen_us` (None until seen), `count`
and, but for `can_call`, `via`: the resources through which the agent gets there.

How effects become edges: `read` gives `reads` to every data class of the resource; every other effect
(`write`, `pay`, `send`, `delete`, also one we have never heard of) changes something in the resource's system
and gives `writes`. Whatever the effects, a resource in a system gives `reaches`.

The graph is a function of the set of declarations and the multiset of observations: their order never shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import networkx as nx

Node: TypeAlias = tuple[str, str]
"""(kind, name)"""
Edge: TypeAlias = tuple[Node, Node, str]
"""(from, to, key)"""

CAN_CALL: Final = "can_call"
REACHES: Final = "reaches"
READS: Final = "reads"
WRITES: Final = "writes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One resource an agent may call, with what the catalog knows of it.

    Args:
        system, boundary: None = unknown.
        effects, data: empty = none or unknown; their order does not matter.
    """

    resource_type: str
    resource_id: str
    system: str | None = None
    effects: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    boundary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A capability that was used: when first and last (µs since the epoch), and how often."""

    capability: Capability
    first_seen_us: int
    last_seen_us: int
    count: int


class CapabilityGraph:
    """The capability graph of one agent.

    `graph` may be read and walked freely; only `declare` and `observe` change it. Not thread-safe: it lives
    inside the agent's one owner, which also bounds how many different resources it is told of.
    """

    __slots__ = ("_counters", "agent", "agent_id", "graph")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.agent: Node = ("agent", agent_id)
        self.graph: nx.MultiDiGraph[Node] = nx.MultiDiGraph()
        self.graph.add_node(self.agent)
        # What `observe` counts up: the attribute dicts of the edges of each capability already observed.
        self._counters: dict[Capability, list[dict[str, Any]]] = {}

    @classmethod
    def build(
        cls, agent_id: str, declared: Iterable[Capability] = (), observed: Iterable[Observation] = ()
    ) -> CapabilityGraph:
        """A graph from what was registered and what was counted so far. Cost: 5 µs per edge."""
        graph = cls(agent_id)
        for capability in declared:
            graph.declare(capability)
        for observation in observed:
            graph._count(
                capability=observation.capability,
                first_us=observation.first_seen_us,
                last_us=observation.last_seen_us,
                count=observation.count,
            )
        return graph

    def declare(self, capability: Capability) -> bool:
        """Add what the agent was registered to be able to do. Returns True if the structure changed."""
        changed = self._add_boundary(capability)
        for edge in self._edges_of(capability):
            attributes, new = self._edge(edge, capability)
            changed |= new or not attributes["declared"]
            attributes["declared"] = True
        return changed

    def observe(self, capability: Capability, at_us: int) -> bool:
        """Count one use of a capability at `at_us`, in any order of time.

        Returns: True only if the structure changed: a node, an edge or a way to it that was not there, or an
            edge that was only declared until now. Counts and times are not structure.
        Cost: 1 µs when nothing is new.
        """
        counters = self._counters.get(capability)
        if counters is None:
            return self._count(capability=capability, first_us=at_us, last_us=at_us, count=1)
        for attributes in counters:
            attributes["count"] += 1
            if at_us > attributes["last_seen_us"]:
                attributes["last_seen_us"] = at_us
            elif at_us < attributes["first_seen_us"]:
                attributes["first_seen_us"] = at_us
        return False

    def undeclared(self) -> list[Node]:
        """Resources that were used but never declared (drift), sorted."""
        return self._called(declared=False, observed=True)

    def unused(self) -> list[Node]:
        """Resources that are declared but were never used (more rights than needed), sorted."""
        return self._called(declared=True, observed=False)

    def to_json(self) -> dict[str, Any]:
        """`{agent, nodes: [{kind, name, …}], edges: [{key, from: [kind, name], to, …}]}`, all sorted."""
        return {
            "agent": self.agent_id,
            "nodes": [
                {"kind": kind, "name": name, **_plain(self.graph.nodes[kind, name])}
                for kind, name in sorted(self.graph.nodes)
            ],
            "edges": [
                {"key": key, "from": list(source), "to": list(target), **_plain(attributes)}
                for source, target, key, attributes in sorted(
                    self.graph.edges(keys=True, data=True), key=lambda edge: edge[:3]
                )
            ],
        }

    def _edges_of(self, capability: Capability) -> Iterator[Edge]:
        yield self.agent, (capability.resource_type, capability.resource_id), CAN_CALL
        if "read" in capability.effects:
            for data_class in dict.fromkeys(capability.data):
                yield self.agent, ("data", data_class), READS
        if capability.system is not None:
            system = ("system", capability.system)
            yield self.agent, system, REACHES
            if any(effect != "read" for effect in capability.effects):
                yield self.agent, system, WRITES

    def _edge(self, edge: Edge, capability: Capability) -> tuple[dict[str, Any], bool]:
        """The attributes of an edge, made if it was not there; and whether it or the way to it is new."""
        source, target, key = edge
        attributes: dict[str, Any] | None = self.graph.get_edge_data(source, target, key)
        new = attributes is None
        if attributes is None:
            self.graph.add_edge(
                source,
                target,
                key,
                declared=False,
                observed=False,
                first_seen_us=None,
                last_seen_us=None,
                count=0,
            )
            attributes = self.graph.edges[source, target, key]
        if key != CAN_CALL:
            new |= _include(attributes, "via", (capability.resource_type, capability.resource_id))
        return attributes, new

    def _count(self, *, capability: Capability, first_us: int, last_us: int, count: int) -> bool:
        changed = self._add_boundary(capability)
        counters: list[dict[str, Any]] = []
        for edge in self._edges_of(capability):
            attributes, new = self._edge(edge, capability)
            changed |= new or not attributes["observed"]
            if attributes["observed"]:
                attributes["first_seen_us"] = min(attributes["first_seen_us"], first_us)
                attributes["last_seen_us"] = max(attributes["last_seen_us"], last_us)
            else:
                attributes.update(observed=True, first_seen_us=first_us, last_seen_us=last_us)
            attributes["count"] += count
            counters.append(attributes)
        self._counters[capability] = counters
        return changed

    def _add_boundary(self, capability: Capability) -> bool:
        """Catalogs change, so a resource keeps every boundary it was ever known to have."""
        if capability.boundary is None:
            return False
        node = (capability.resource_type, capability.resource_id)
        self.graph.add_node(node)
        return _include(self.graph.nodes[node], "boundaries", capability.boundary)

    def _called(self, *, declared: bool, observed: bool) -> list[Node]:
        return sorted(
            target
            for _, target, key, attributes in self.graph.out_edges(self.agent, keys=True, data=True)
            if key == CAN_CALL and attributes["declared"] is declared and attributes["observed"] is observed
        )


def _include(attributes: dict[str, Any], name: str, item: Any) -> bool:
    """Add to a set-valued attribute; True if it was not in it."""
    items = attributes.setdefault(name, set())
    if item in items:
        return False
    items.add(item)
    return True


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [list(item) if isinstance(item, tuple) else item for item in sorted(value)]
        if isinstance(value, set)
        else value
        for name, value in attributes.items()
    }
