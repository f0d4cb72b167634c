"""The capability graph is a function of what happened, not of the order in which it was told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graph.capability import Capability, CapabilityGraph, Observation

_CAPABILITIES = st.builds(
    Capability,
    resource_type=st.sampled_from(["tool", "agent", "system", "data"]),
    resource_id=st.sampled_from(["a", "b", "pii"]),
    system=st.sampled_from([None, "crm", "a"]),
    effects=st.sampled_from([(), ("read",), ("send",), ("read", "write"), ("write", "read")]),
    data=st.sampled_from([(), ("pii",), ("pii", "phi"), ("phi", "pii")]),
    boundary=st.sampled_from([None, "internal", "external"]),
)
_EVENTS = st.lists(st.tuples(_CAPABILITIES, st.none() | st.integers(0, 9)), max_size=12)


def told(events: list[tuple[Capability, int | None]]) -> CapabilityGraph:
    graph = CapabilityGraph("a")
    for capability, at_us in events:
        if at_us is None:
            graph.declare(capability)
        else:
            graph.observe(capability, at_us)
    return graph


def structure(graph: CapabilityGraph) -> Any:
    """`to_json` without counts and times: what `observe` must announce a change of."""
    shown = graph.to_json()
    for edge in shown["edges"]:
        for quantity in ("count", "first_seen_us", "last_seen_us"):
            del edge[quantity]
    return shown


@given(_EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_telling_never_shows(events: list[tuple[Capability, int | None]], random: Any) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)
    assert told(events).to_json() == told(shuffled).to_json()


@given(_EVENTS)
def test_a_graph_built_from_counts_is_the_one_that_was_there_live(
    events: list[tuple[Capability, int | None]],
) -> None:
    times: dict[Capability, list[int]] = {}
    for capability, at_us in events:
        if at_us is not None:
            times.setdefault(capability, []).append(at_us)
    built = CapabilityGraph.build(
        "a",
        declared=[capability for capability, at_us in events if at_us is None],
        observed=[
            Observation(
                capability=capability, first_seen_us=min(seen), last_seen_us=max(seen), count=len(seen)
            )
            for capability, seen in times.items()
        ],
    )
    assert built.to_json() == told(events).to_json()


@given(_EVENTS, _CAPABILITIES, st.none() | st.integers(0, 9))
def test_a_change_is_announced_exactly_when_the_structure_changed(
    events: list[tuple[Capability, int | None]], capability: Capability, at_us: int | None
) -> None:
    graph = told(events)
    before = structure(graph)
    announced = graph.declare(capability) if at_us is None else graph.observe(capability, at_us)
    assert announced is (structure(graph) != before)
