"""Monitors that are stepped together are where they would be had each been stepped by itself."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.compile import compile_sources
from policies.past.formula import Formula
from policies.past.joint import joint_of
from policies.past.look import Look
from policies.past.monitor import FAILED, Slots, monitor_of
from policies.past.program import JOINED_AT_USE, JOINED_FROM, Scope
from policies.past.slices import Event
from policies.past.state import Past
from tests.property.test_past_bytes import CATALOG, START_US
from tests.property.test_past_monitors import NAMES, NUMBERS, bits, formulas, gaps

names = st.frozensets(st.sampled_from(NAMES))
steps = st.lists(st.tuples(gaps, names, names), min_size=1, max_size=8)


@settings(max_examples=3_000, deadline=None)
@given(st.lists(formulas, min_size=1, max_size=4), steps, st.booleans())
def test_truths_and_states_are_those_of_single_steps(
    several: list[Formula], trace: list[tuple[int, frozenset[str], frozenset[str]]], restricting: bool
) -> None:
    monitors = {
        number: monitor_of(one, number_of=NUMBERS, restricting=restricting)
        for number, one in enumerate(several)
    }
    kept: dict[int, Slots] = {}
    now_us = START_US
    for position, (gap, atoms, unknown) in enumerate(trace, 1):
        now_us += gap
        possibly, certainly = bits(atoms | unknown), bits(atoms - unknown)
        joint = joint_of(monitors, touched=monitors.keys(), possibly=possibly, certainly=certainly)
        truths, changed = joint(kept, now_us, position)
        before = {number: kept.get(number, one.initial) for number, one in monitors.items()}
        single = {
            number: one.step(before[number], possibly, certainly, now_us, position, FAILED)
            for number, one in monitors.items()
        }
        assert truths == {number: truth for number, (truth, _) in single.items()}
        assert before | changed == {number: slots for number, (_, slots) in single.items()}
        kept |= changed


def test_a_set_of_atoms_that_comes_again_is_stepped_together_and_remembered_alike() -> None:
    rules = [f"  - {{id: r{n}, past: 'a and once[{n + 1}h] b', then: deny}}\n" for n in range(JOINED_FROM)]
    rules.append("  - {id: before, past: 'previous b', permitted_is_done: true, then: deny}\n")
    bundle = compile_sources([("p.yaml", CATALOG + "".join(rules))])
    often, seldom = bundle.program, compile_sources([("p.yaml", CATALOG + "".join(rules))]).program
    pasts = {program: Past(program, Scope.WORKFLOW) for program in (often, seldom)}
    for turn in range(JOINED_AT_USE * 3):
        bit = 1 << bundle.defines["p", "ab"[turn % 2]]
        event = Event(START_US + turn * 900_000_000, bit, bit)
        found = []
        for program, past in pasts.items():
            look = Look(program, {Scope.WORKFLOW: past}, event)
            # One rule a look is never worth it; what is asked must not depend on how.
            numbers = range(len(rules)) if program is often else range(1)
            truths = [look.truth(number) for number in numbers]
            found.append(truths[0])
            look.permitted()
        assert found[0] == found[1]
        assert pasts[often].settled.slots == pasts[seldom].settled.slots
    assert often.joints(bit, bit) and not seldom.joints(bit, bit)
