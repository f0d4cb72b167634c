"""The index of live stops finds one exactly when a naive look at all of them does, whatever came and went."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.stops import GLOBBED, TARGET_TYPES, Acting, LiveStops, Stop

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
@settings(max_examples=3_000)
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
