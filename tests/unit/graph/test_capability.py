"""The capability graph says what an agent may and did touch, whatever the order it was told in."""

from __future__ import annotations

import json

import pytest

from graph.capability import Capability, CapabilityGraph, Edge, Observation

READ = Capability(
    resource_type="tool",
    resource_id="crm.read_customer",
    system="crm",
    effects=("read",),
    data=("pii",),
    boundary="internal",
)
PAY = Capability(
    resource_type="tool", resource_id="payments.transfer", system="core-banking", effects=("pay",)
)
BARE = Capability(resource_type="todo", resource_id="1")
AGENT = ("agent", "treasury-bot")


def edges(graph: CapabilityGraph) -> set[Edge]:
    return set(graph.graph.edges(keys=True))


EDGES = [
    (
        READ,
        {("tool", "crm.read_customer", "can_call"), ("system", "crm", "reaches"), ("data", "pii", "reads")},
    ),
    (
        PAY,
        {
            ("tool", "payments.transfer", "can_call"),
            ("system", "core-banking", "reaches"),
            ("system", "core-banking", "writes"),
        },
    ),
    (BARE, {("todo", "1", "can_call")}),
    (
        Capability(resource_type="tool", resource_id="t", system="s", data=("pii",)),
        {("tool", "t", "can_call"), ("system", "s", "reaches")},
    ),
    (
        Capability(resource_type="tool", resource_id="t", system="s", effects=("unheard-of",), data=("pii",)),
        {("tool", "t", "can_call"), ("system", "s", "reaches"), ("system", "s", "writes")},
    ),
    (
        Capability(resource_type="tool", resource_id="t", effects=("read", "write"), data=("a", "b", "a")),
        {("tool", "t", "can_call"), ("data", "a", "reads"), ("data", "b", "reads")},
    ),
]


@pytest.mark.parametrize(("capability", "expected"), EDGES)
def test_effects_systems_and_data_become_edges(
    capability: Capability, expected: set[tuple[str, str, str]]
) -> None:
    wanted = {(AGENT, (kind, name), key) for kind, name, key in expected}
    declared, observed = CapabilityGraph("treasury-bot"), CapabilityGraph("treasury-bot")
    assert declared.declare(capability)
    assert observed.observe(capability, 5)
    assert edges(declared) == edges(observed) == wanted


def test_observe_tells_structural_changes_from_repetitions() -> None:
    graph = CapabilityGraph("treasury-bot")
    assert graph.declare(READ)
    assert not graph.declare(READ)
    assert graph.observe(READ, 10), "declared becomes observed"
    assert not graph.observe(READ, 20)
    assert graph.observe(PAY, 30), "a new tool"
    assert graph.declare(PAY), "observed becomes declared"
    moved = Capability(
        resource_type="tool", resource_id="crm.read_customer", system="crm-2", effects=("read",)
    )
    assert graph.observe(moved, 40), "the catalog now knows another system"
    assert not graph.observe(READ, 50)


def test_an_edge_counts_uses_and_keeps_the_first_and_last_time() -> None:
    graph = CapabilityGraph("treasury-bot")
    graph.declare(READ)
    reads = graph.graph.edges[AGENT, ("data", "pii"), "reads"]
    assert (reads["declared"], reads["observed"], reads["count"]) == (True, False, 0)
    assert reads["first_seen_us"] is reads["last_seen_us"] is None
    for at_us in (30, 10, 20):
        graph.observe(READ, at_us)
    assert (reads["observed"], reads["count"]) == (True, 3)
    assert (reads["first_seen_us"], reads["last_seen_us"]) == (10, 30)


def test_an_edge_says_through_which_resources_it_is_there() -> None:
    graph = CapabilityGraph("treasury-bot")
    other = Capability(resource_type="tool", resource_id="crm.search", system="crm", effects=("read",))
    graph.declare(READ)
    assert graph.observe(other, 1)
    reaches = graph.graph.edges[AGENT, ("system", "crm"), "reaches"]
    assert reaches["via"] == {("tool", "crm.read_customer"), ("tool", "crm.search")}


def test_drift_and_unused_rights_are_the_two_differences() -> None:
    graph = CapabilityGraph.build(
        "treasury-bot",
        declared=[READ, BARE],
        observed=[
            Observation(capability=capability, first_seen_us=1, last_seen_us=2, count=3)
            for capability in (READ, PAY)
        ],
    )
    assert graph.undeclared() == [("tool", "payments.transfer")]
    assert graph.unused() == [("todo", "1")]


def test_json_is_plain_sorted_and_complete() -> None:
    graph = CapabilityGraph("treasury-bot")
    graph.declare(READ)
    graph.observe(READ, 7)
    seen = {"declared": True, "observed": True, "first_seen_us": 7, "last_seen_us": 7, "count": 1}
    agent, via = ["agent", "treasury-bot"], [["tool", "crm.read_customer"]]
    assert json.loads(json.dumps(graph.to_json())) == {
        "agent": "treasury-bot",
        "nodes": [
            {"kind": "agent", "name": "treasury-bot"},
            {"kind": "data", "name": "pii"},
            {"kind": "system", "name": "crm"},
            {"kind": "tool", "name": "crm.read_customer", "boundaries": ["internal"]},
        ],
        "edges": [
            {"key": "reads", "from": agent, "to": ["data", "pii"], **seen, "via": via},
            {"key": "reaches", "from": agent, "to": ["system", "crm"], **seen, "via": via},
            {"key": "can_call", "from": agent, "to": ["tool", "crm.read_customer"], **seen},
        ],
    }
