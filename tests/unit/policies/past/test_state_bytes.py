"""How many bytes a past takes, and that none is too old, too long or of too many rules to be written."""

from __future__ import annotations

import pytest

from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.past import state_bytes
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past

DAY_US = 86_400_000_000
NOW_US = 1_790_000_000_000_000
POLICY = """
kind: Catalog
tools:
  a.do: {effects: [], data: [], boundary: internal}
  b.do: {effects: [], data: [], boundary: internal}
---
kind: Policy
name: p
define:
  a: {on: {tool: a.do}}
  b: {on: {tool: b.do}}
rules:
  - {id: all, then: allow}
"""


def bundle_of(formulas: list[str]) -> Bundle:
    rules = [f"  - {{id: r{n}, past: '{one}', then: deny}}\n" for n, one in enumerate(formulas)]
    return compile_sources([("p.yaml", POLICY + "".join(rules))])


def seen(bundle: Bundle, ago_us: int, *, before: int = 0) -> Past:
    """The past of a session that did `b` a while ago and `a` now."""
    past = Past(bundle.program, Scope.WORKFLOW)
    past.position = before
    for name, at_us in (("b", NOW_US - ago_us), ("a", NOW_US)):
        bit = 1 << bundle.defines["p", name]
        past.permit(Event(at_us, bit, bit))
    return past


def test_an_idle_session_with_twenty_rules_takes_at_most_200_bytes() -> None:
    formulas = [f"a and once[{n}d] b" for n in range(6, 16)]
    formulas += [f"a and not done(a) since[{n}d] b" for n in range(6, 11)]
    formulas += [f"a and once b and once[{n}d] b" for n in range(6, 11)]
    past = seen(bundle_of(formulas), 5 * DAY_US)
    assert len(past.settled.slots) == 20
    assert len(state_bytes.encode(past)) <= 200


@pytest.mark.parametrize("ago_us", [0, 1, DAY_US, 10_000 * DAY_US])
@pytest.mark.parametrize("before", [0, 127, (1 << 46) - 4])
@pytest.mark.parametrize("rules", [1, 300])
def test_a_past_comes_back_however_old_and_long_it_is(ago_us: int, before: int, rules: int) -> None:
    bundle = bundle_of([f"a and (not done(a) since[{n + 20_000}d] b)" for n in range(rules)])
    past = seen(bundle, ago_us, before=before)
    back = state_bytes.decode(bundle.program, Scope.WORKFLOW, state_bytes.encode(past))
    assert (back.position, back.last_us) == (past.position, past.last_us)
    assert back.settled.slots == past.settled.slots and len(back.settled.slots) == rules
