"""Pasts come back from their bytes as they were, and go on in another bundle as if it had always been that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.budget_bytes import encode_ledger
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.past import state_bytes
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past
from policies.past.state_bytes import GarbledPast
from policies.past.translation import Translation, describe

CATALOG = """
kind: Catalog
tools:
  a.do: {effects: [], data: [], boundary: internal, args: {x: {type: string}, n: {type: decimal}}}
  b.do: {effects: [], data: [], boundary: internal, args: {x: {type: string}, n: {type: decimal}}}
  c.do: {effects: [], data: [], boundary: internal, args: {x: {type: string}, n: {type: decimal}}}
---
kind: Policy
name: p
define:
  a: {on: {tool: a.do}}
  b: {on: {tool: b.do}}
  c: {on: {tool: c.do}}
rules:
  - {id: all, then: allow}
"""
RULES = (
    "  - {id: once, past: 'a and once[1h] b', then: deny}\n",
    "  - {id: since, past: 'not done(a) since[2h] b', then: deny}\n",
    "  - {id: previous, past: 'previous (a or c)', permitted_is_done: true, then: deny}\n",
    "  - {id: nested, past: 'once (b and not once[1h] done(a))', then: deny}\n",
    "  - {id: keyed, past: 'c and once[1h] b', by: {b: args.x, c: args.x}, then: deny}\n",
    "  - {id: sum, on: {tool: a.do}, limit: {sum: args.n, per: 1h, above: 10}, then: deny}\n",
    "  - {id: count, on: {tool: b.do}, limit: {count: actions, key: args.x, above: 3}, then: deny}\n",
)
MINUTE_US = 60_000_000
START_US = 1_750_000_000_000_000


def bundle_of(rules: Sequence[str]) -> Bundle:
    return compile_sources([("p.yaml", CATALOG + "".join(rules))])


ALL = bundle_of(RULES)
happenings = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 61]),
        st.sampled_from("abc"),
        st.sampled_from([b"x" * 16, b"y" * 16, None]),
        st.sampled_from([1, 10**32, None]),
        st.sampled_from(["succeeded", "failed", "not_executed", None]),
    ),
    max_size=12,
)


def event_of(bundle: Bundle, at_us: int, name: str, key: bytes | None, amount: int | None) -> Event:
    bit = 1 << bundle.defines["p", name]
    measures = {
        number: key if measure.kind == "key" else amount
        for number, measure in enumerate(bundle.measures)
        if bit >> measure.atom & 1
    }
    return Event(at_us, bit & bundle.program.relevant, bit & bundle.program.relevant, measures)


def lived(
    bundle: Bundle,
    story: list[tuple[int, str, bytes | None, int | None, str | None]],
    after_each: Callable[[Past], object] = lambda _: None,
) -> Past:
    past = Past(bundle.program, Scope.WORKFLOW)
    now_us = START_US
    for minutes, name, key, amount, outcome in story:
        now_us += minutes * MINUTE_US
        event = event_of(bundle, now_us, name, key, amount)
        position = past.permit(event)
        if outcome is not None:
            past.outcome(event, position, succeeded=outcome == "succeeded", witnessed=True)
            if outcome == "not_executed":
                past.give_back(event)
        after_each(past)
    return past


def content(past: Past) -> tuple[object, ...]:
    return (
        past.position,
        past.last_us,
        past.settled.slots,
        {number: (one.base, one.of, one.doubts) for number, one in past.settled.slices.items()},
        {
            number: (dict(one.accounts), one.keyless, one.overflowed_us)
            for number, one in past.ledgers.items()
            if encode_ledger(one)
        },
        past.open,
    )


@settings(max_examples=500, deadline=None)
@given(happenings)
def test_a_past_comes_back_from_its_bytes(
    story: list[tuple[int, str, bytes | None, int | None, str | None]],
) -> None:
    past = lived(ALL, story)
    data = state_bytes.encode(past)
    back = state_bytes.decode(ALL.program, Scope.WORKFLOW, data)
    assert state_bytes.encode(back) == data
    assert content(back) == content(past)


@settings(max_examples=300, deadline=None)
@given(happenings)
def test_what_was_written_on_the_way_changes_nothing_of_what_is_written_in_the_end(
    story: list[tuple[int, str, bytes | None, int | None, str | None]],
) -> None:
    assert state_bytes.encode(lived(ALL, story, state_bytes.encode)) == state_bytes.encode(lived(ALL, story))


@settings(max_examples=300, deadline=None)
@given(happenings, st.permutations(RULES), st.integers(0, len(RULES)))
def test_what_both_bundles_say_alike_keeps_what_it_remembers(
    story: list[tuple[int, str, bytes | None, int | None, str | None]], rules: list[str], count: int
) -> None:
    other = bundle_of(rules[:count])
    past = lived(ALL, story)
    moved = Translation(describe(ALL), describe(other)).past(past, other.program, Scope.WORKFLOW)
    expected = lived(other, story)
    if "nested" not in "".join(rules[:count]):
        # Without it nothing waits for the last outcome, so what waited for it under `ALL` is taken in by now.
        moved._settle()
    assert content(moved) == content(expected)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64))
def test_bytes_that_are_no_past_are_an_error_and_never_a_past(data: bytes) -> None:
    try:
        past = state_bytes.decode(ALL.program, Scope.WORKFLOW, data)
    except GarbledPast:
        return
    except Exception as error:
        assert getattr(error, "code", "") == "garbled_budget", error
        return
    assert past.position >= 0


def test_a_past_that_is_cut_is_refused() -> None:
    data = state_bytes.encode(lived(ALL, [(1, "a", b"x" * 16, 5, None), (1, "b", b"x" * 16, 5, "succeeded")]))
    for size in range(len(data)):
        with pytest.raises(GarbledPast):
            state_bytes.decode(ALL.program, Scope.WORKFLOW, data[:size])
