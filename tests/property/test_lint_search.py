"""The linter's bounded search, against the definition: what it shows is so, and what it excludes does not come."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from property.naive_past import Happened, holds
from property.test_past_monitors import NAMES, START_US, formulas, traces

from policies.lint.reach import Letter
from policies.lint.search import Question, Trace, deep_enough, difference, truths
from policies.lint.simpler import simpler
from policies.past.formula import Done, Formula, walk
from policies.past.monitor import SUCCEEDED

LETTERS = tuple(
    Letter(bits=bits | 1 << len(NAMES), unsure=0, lasting=True, place="anywhere")
    for bits in range(1 << len(NAMES))
)
QUESTION = Question(names=NAMES, letters=LETTERS, restricting=True, keys={})


def naive(trace: Trace) -> list[Happened]:
    return [
        Happened(time_us=one.at_us, atoms=frozenset(one.atoms), succeeded=one.succeeded is True)
        for one in trace
    ]


def told(trace: list[tuple[int, frozenset[str], int]]) -> list[Happened]:
    times = itertools.accumulate((gap for gap, _, _ in trace), initial=START_US)
    known = [
        Happened(time_us=time_us, atoms=atoms, succeeded=outcome == SUCCEEDED)
        for time_us, (_, atoms, outcome) in zip(itertools.islice(times, 1, None), trace, strict=True)
    ]
    known[-1] = Happened(time_us=known[-1].time_us, atoms=known[-1].atoms)
    return known


@settings(max_examples=250, deadline=None)
@given(formulas, st.lists(traces, min_size=5, max_size=5))
def test_shortest_pasts_are_what_they_are_said_to_be(
    formula: Formula, random: list[list[tuple[int, frozenset[str], int]]]
) -> None:
    found = truths(QUESTION, formula)
    for trace, truth in ((found.true, True), (found.false, False)):
        if trace is not None:
            assert holds(formula, naive(trace), len(trace) - 1) is truth
        elif deep_enough(found.bound, formula):
            assert not any(holds(formula, told(one), len(one) - 1) is truth for one in random)


@settings(max_examples=250, deadline=None)
@given(formulas, st.lists(traces, min_size=5, max_size=5), st.integers(0, 20))
def test_formulas_that_differ_come_with_a_past_that_tells_them_apart(
    formula: Formula, random: list[list[tuple[int, frozenset[str], int]]], which: int
) -> None:
    candidates = [one for one, _ in simpler(formula) if not any(isinstance(part, Done) for part in walk(one))]
    if not candidates:
        return
    candidate = candidates[which % len(candidates)]
    found = difference(QUESTION, formula, candidate)
    if found.trace is not None:
        known = naive(found.trace)
        assert holds(formula, known, len(known) - 1) is not holds(candidate, known, len(known) - 1)
    elif deep_enough(found.bound, formula):
        for trace in random:
            known = told(trace)
            assert holds(formula, known, len(known) - 1) is holds(candidate, known, len(known) - 1)
