"""Monitors against the definition, on random formulas, windows and traces."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from property.naive_past import Happened, holds

from policies.past.formula import (
    And,
    Atom,
    Done,
    Formula,
    Historically,
    Implies,
    Never,
    Not,
    Once,
    Or,
    Previous,
    Since,
    text,
)
from policies.past.monitor import FAILED, SUCCEEDED, UNREPORTED, monitor_of
from policies.past.parse import parse
from policies.past.polarity import check
from policies.past.program import PastMonitor, Program, Scope
from policies.past.slices import Event
from policies.past.state import Past

SECOND_US = 1_000_000
NAMES = ("a", "b", "c")
NUMBERS = {name: number for number, name in enumerate(NAMES)}

windows = st.none() | st.sampled_from([1, 2, 3, 5]).map(lambda seconds: seconds * SECOND_US)
leaves = st.sampled_from(NAMES).map(Atom)
done = st.sampled_from(NAMES).map(Done)
temporal_leaves = (
    leaves
    | st.builds(Once, done, windows)
    | st.builds(lambda a, f, w: Since(Not(a), f, w), done, leaves, windows)
)
formulas = st.recursive(
    temporal_leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, inner, inner),
        st.builds(Or, inner, inner),
        st.builds(Implies, inner, inner),
        st.builds(Previous, inner),
        st.builds(Once, inner, windows),
        st.builds(Historically, inner, windows),
        st.builds(Never, inner, windows),
        st.builds(Since, inner, inner, windows),
        st.builds(lambda a, f, w: Since(Not(a), f, w), done, inner, windows),
    ),
    max_leaves=6,
)
# Gaps of nothing (ties), of less than a window, of exactly a window.
gaps = st.sampled_from([0, 0, 1, SECOND_US, SECOND_US, SECOND_US + 1, 2 * SECOND_US, 4 * SECOND_US])
events = st.tuples(gaps, st.frozensets(st.sampled_from(NAMES)), st.sampled_from([SUCCEEDED, FAILED]))
traces = st.lists(events, min_size=1, max_size=10)
START_US = 1_750_000_000 * SECOND_US


def program_of(formula: Formula, *, restricting: bool = True) -> Program:
    monitor = monitor_of(formula, number_of=NUMBERS, restricting=restricting)
    one = PastMonitor(
        identity=b"",
        scope=Scope.WORKFLOW,
        monitor=monitor,
        sliced=None,
        witnessed=False,
        restricting=restricting,
        reach_us=None,
    )
    return Program([one], [])


def bits(atoms: frozenset[str]) -> int:
    return sum(1 << NUMBERS[name] for name in atoms)


def event(time_us: int, atoms: frozenset[str]) -> Event:
    return Event(time_us=time_us, possibly=bits(atoms), certainly=bits(atoms))


@settings(max_examples=10_000, deadline=None)
@given(formulas, traces)
def test_a_monitor_is_true_exactly_where_the_definition_is(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]]
) -> None:
    program = program_of(formula)
    past = Past(program, Scope.WORKFLOW)
    known: list[Happened] = []
    now_us = START_US
    for gap, atoms, outcome in trace:
        now_us += gap
        happening = Happened(time_us=now_us, atoms=atoms)
        found, _ = past.view().truth(program, 0, event(now_us, atoms), past.position + 1)
        assert found == holds(formula, [*known, happening], len(known))
        position = past.permit(event(now_us, atoms))
        # Told before the next action comes, as a PEP does.
        past.outcome(event(now_us, atoms), position, succeeded=outcome == SUCCEEDED, witnessed=False)
        known.append(replace(happening, succeeded=outcome == SUCCEEDED))


flat_formulas = st.recursive(
    leaves
    | st.builds(Once, done, windows)
    | st.builds(lambda a, f, w: Since(Not(a), f, w), done, leaves, windows),
    lambda inner: st.one_of(st.builds(Not, inner), st.builds(And, inner, inner), st.builds(Or, inner, inner)),
    max_leaves=4,
)


@settings(max_examples=5_000, deadline=None)
@given(flat_formulas, traces, st.randoms(use_true_random=False))
def test_outcomes_count_however_late_they_come(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]], random: object
) -> None:
    program = program_of(formula)
    past = Past(program, Scope.WORKFLOW)
    known: list[Happened] = []
    waiting: list[tuple[Event, int, int]] = []
    now_us = START_US
    for gap, atoms, outcome in trace:
        now_us += gap
        while waiting and random.random() < 0.4:  # type: ignore[attr-defined]
            told, position, came = waiting.pop(random.randrange(len(waiting)))  # type: ignore[attr-defined]
            past.outcome(told, position, succeeded=came == SUCCEEDED, witnessed=False)
            known[position - 1] = replace(known[position - 1], succeeded=came == SUCCEEDED)
        happening = Happened(time_us=now_us, atoms=atoms)
        found, _ = past.view().truth(program, 0, event(now_us, atoms), past.position + 1)
        assert found == holds(formula, [*known, happening], len(known))
        waiting.append((event(now_us, atoms), past.permit(event(now_us, atoms)), outcome))
        known.append(happening)


@settings(max_examples=2_000, deadline=None)
@given(formulas)
def test_what_is_written_out_is_read_back(formula: Formula) -> None:
    assert parse(text(formula)) == formula


@settings(max_examples=4_000, deadline=None)
@given(formulas, traces, st.booleans(), st.data())
def test_what_is_unknown_can_only_restrict(
    formula: Formula,
    trace: list[tuple[int, frozenset[str], int]],
    restricting: bool,
    data: st.DataObject,
) -> None:
    """Whatever the unknown atoms and unreported outcomes turn out to be, a restricting rule's truth covers it, and an
    allowing rule's is covered by it."""
    program = program_of(formula, restricting=restricting)
    past = Past(program, Scope.WORKFLOW)
    known: list[Happened] = []
    now_us = START_US
    for gap, atoms, outcome in trace:
        now_us += gap
        open_atoms = data.draw(st.frozensets(st.sampled_from(NAMES), max_size=2))
        really = (
            atoms | data.draw(st.frozensets(st.sampled_from(sorted(open_atoms)))) if open_atoms else atoms
        )
        seen = Event(time_us=now_us, possibly=bits(atoms | open_atoms), certainly=bits(atoms - open_atoms))
        really = (atoms - open_atoms) | (really & open_atoms)
        happening = Happened(time_us=now_us, atoms=really)
        found, _ = past.view().truth(program, 0, seen, past.position + 1)
        truth = holds(formula, [*known, happening], len(known))
        assert found >= truth if restricting else found <= truth
        position = past.permit(seen)
        past.outcome(seen, position, succeeded=outcome == SUCCEEDED, witnessed=False)
        known.append(replace(happening, succeeded=outcome == SUCCEEDED))


@settings(max_examples=5_000, deadline=None)
@given(formulas, traces, st.lists(st.booleans(), min_size=10, max_size=10))
def test_no_accepted_formula_is_loosened_by_what_was_permitted_and_not_done(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]], dropped: list[bool]
) -> None:
    """A restricting rule that the polarity check accepts matches at least as often as if the actions that were
    permitted and failed had never been asked for."""
    if check(formula, restricting=True, permitted_is_done=False):
        return
    known: list[Happened] = []
    without: list[Happened] = []
    now_us = START_US
    for (gap, atoms, outcome), drop in zip(trace, dropped, strict=False):
        now_us += gap
        happening = Happened(time_us=now_us, atoms=atoms)
        assert holds(formula, [*known, happening], len(known)) >= holds(
            formula, [*without, happening], len(without)
        )
        done_now = replace(happening, succeeded=outcome == SUCCEEDED and not drop)
        known.append(done_now)
        if not drop:
            without.append(done_now)


def test_an_event_without_its_atoms_leaves_a_skippable_monitor_as_it_is() -> None:
    skippable = [
        "a and once[5s] b",
        "once (a and not b)",
        "not done(a) since[3s] b",
        "not a since b",
        "once done(a)",
    ]
    not_skippable = ["previous a", "once not a", "a since b", "historically a", "once (once[2s] a)"]
    for one in skippable:
        assert monitor_of(parse(one), number_of=NUMBERS, restricting=True).skippable, one
    for one in not_skippable:
        assert not monitor_of(parse(one), number_of=NUMBERS, restricting=True).skippable, one
    assert UNREPORTED not in (FAILED, SUCCEEDED)
