"""The index of live stops finds what a naive look finds; owner and engine stop the same at the same time."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.actors.owners import Bench

from actors.active_bundle import ActiveBundle
from actors.stops.live import GLOBBED, TARGET_TYPES, Acting, LiveStops, Stop
from policies.action import Resource, Subject
from policies.engine import Engine

_NAMES = st.sampled_from(["a", "b", "ab", "a.b", "ba"])
_GLOBS = st.sampled_from(["*", "a*", "*b", "a*b", "a.*", "**"])
_TENANTS = st.sampled_from(["t", "u"])
_TIMES = st.integers(0, 6)


@st.composite
def stops(draw: st.DrawFn) -> Stop:
    target_type = draw(st.sampled_from(TARGET_TYPES))
    named = _NAMES if target_type not in GLOBBED else _NAMES | _GLOBS
    # What is no glob is taken at its word.
    named = named | st.just("a*") if target_type == "owner" else named
    return Stop(
        id=draw(st.sampled_from(["stp_1", "stp_2", "stp_3", "stp_4"])),
        tenant=draw(_TENANTS),
        target_type=target_type,
        target_id="" if target_type == "fleet" else draw(named),
        reason="r",
        by="k",
        created_us=0,
        expires_us=draw(st.none() | _TIMES),
    )


_ACTING = st.builds(
    Acting,
    tenant=_TENANTS,
    agents=st.lists(st.tuples(_NAMES, st.none() | _NAMES | st.just("a*")), max_size=3).map(tuple),
    workflow=st.none() | _NAMES,
    tool=st.none() | _NAMES,
    systems=st.none() | st.lists(_NAMES, max_size=2).map(tuple),
)
_CHANGES = st.lists(stops() | st.sampled_from(["stp_1", "stp_2", "stp_3", "clear"]), max_size=12)


def meets(stop: Stop, acting: Acting, now_us: int) -> bool:
    """As the documentation has it."""
    if stop.tenant != acting.tenant or (stop.expires_us is not None and stop.expires_us <= now_us):
        return False
    named: dict[str, list[Any]] = {
        "agent": [agent for agent, _ in acting.agents],
        "owner": [owner for _, owner in acting.agents],
        "workflow": [acting.workflow],
        "tool": [acting.tool],
        "system": list(acting.systems or ()),
    }
    if stop.target_type == "fleet" or (stop.target_type == "system" and acting.systems is None):
        return True
    if stop.target_type in ("agent", "tool"):
        pattern = re.escape(stop.target_id).replace(r"\*", ".*")
        return any(name is not None and re.fullmatch(pattern, name) for name in named[stop.target_type])
    return stop.target_id in named[stop.target_type]


@given(_CHANGES, _ACTING, _TIMES)
@settings(max_examples=1_000)
def test_the_index_finds_what_a_look_at_all_of_them_finds(
    changes: list[Stop | str], acting: Acting, now_us: int
) -> None:
    index, naive = LiveStops(), dict[str, Stop]()
    for change in changes:
        if isinstance(change, Stop):
            index.learn(change.id, change.to_json() | {"over_us": None})
            naive[change.id] = change
        elif change == "clear":
            index.clear()
            naive.clear()
        else:
            index.learn(change, None)
            naive.pop(change, None)
    assert {stop.id: stop for stop in index} == naive and len(index) == len(naive)
    found = index.meeting(acting, now_us)
    expected = [stop for stop in naive.values() if meets(stop, acting, now_us)]
    assert (found in expected) if expected else found is None
    for stop in naive.values():
        index.drop(stop.id)
    assert len(index) == 0 and not (index._named or index._globs or index._of_type)


POLICY = """
kind: Catalog
tools:
  ledger.read: {effects: [read], data: [], boundary: internal}
  ledger.pay: {effects: [pay], data: [], boundary: external, args: {amount: {type: decimal}}}
---
kind: Policy
name: p
rules:
  - {id: all, then: allow}
  - {id: dear, on: {tool: ledger.pay}, when: args.amount > 10.0, then: deny}
  - {id: dearer, on: {tool: ledger.pay}, when: args.amount > 100.0, then: deny, stop: {workflow, for: 20s}}
  - id: probing
    limit: {count: denials, per: 30s, scope: agent, above: 2}
    then: deny
    stop: {agent, for: 40s}
  - id: watched
    on: {tool: ledger.read}
    then: deny
    mode: monitor
    stop: {agent}
"""
_STEPS = st.lists(
    st.tuples(st.sampled_from(["bot", "mate"]), st.sampled_from([None, 1, 20, 200]), st.integers(0, 15)),
    max_size=25,
)


@given(_STEPS)
@settings(max_examples=60, deadline=None)
def test_an_owner_stops_whom_the_engine_stops_and_when(steps: list[tuple[str, int | None, int]]) -> None:
    bundle = ActiveBundle.compile([("p.yaml", POLICY)])
    engine = Engine(bundle.bundle)
    sessions = {
        agent: engine.open_session(agent, Subject(type="agent", id=agent)) for agent in ("bot", "mate")
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "host-000.db", bundle=bundle)
        for agent in sessions:
            bench.register(agent)
        for agent, amount, pause_s in steps:
            bench.world.pass_s(pause_s)
            bench.renew_lease()
            tool = "ledger.read" if amount is None else "ledger.pay"
            arguments: dict[str, Any] = {} if amount is None else {"amount": float(amount)}
            (decided,) = bench.decided(bench.request(agent, tool, arguments))
            found = engine.decide(
                sessions[agent],
                resource=Resource(type="tool", id=tool),
                arguments=arguments,
                context={},
                now_us=bench.world.wall_us,
            )
            assert decided.reason_code == found.verdict.reason_code
        bench.owner.journal.close()
