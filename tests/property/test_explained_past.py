"""Explanations against the definition and the monitors that decided, on random formulas and traces."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from property.naive_past import Happened as Naive
from property.naive_past import holds
from property.test_past_monitors import NAMES, START_US, bits, formulas, program_of, traces

from policies.past.explain import Explained, Happened, explain, steps
from policies.past.formula import Done, Formula, Historically, Never, Once, Since, text, walk
from policies.past.monitor import SUCCEEDED
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past


def flat(explained: Explained) -> list[Explained]:
    return [explained, *(inner for part in explained.parts for inner in flat(part))]


@settings(max_examples=1_500, deadline=None)
@given(formulas, traces, st.booleans())
def test_an_explanation_has_the_truth_of_the_definition(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]], restricting: bool
) -> None:
    happened: list[Happened] = []
    naive: list[Naive] = []
    now_us = START_US
    by_text = {text(one): one for one in walk(formula)}
    for number, (gap, atoms, outcome) in enumerate(trace):
        now_us += gap
        here = Happened(id=str(number), time_us=now_us, possibly=atoms, certainly=atoms, outcome=outcome)
        now = Naive(time_us=now_us, atoms=atoms)
        explained = explain(formula, [*happened, here], restricting=restricting)
        for part in flat(explained):
            # What is asked of the action itself is asked before it is done.
            known = [*naive, now]
            assert part.truth is holds(by_text[part.text], known, part.at), part.text
            witnessed(part, by_text, known)
        happened.append(here)
        naive.append(replace(now, succeeded=outcome == SUCCEEDED))


def witnessed(part: Explained, by_text: dict[str, Formula], known: list[Naive]) -> None:
    """A witness makes what it is said to make."""
    formula, at = by_text[part.text], part.witness
    if at is None:
        assert not (isinstance(formula, Once | Since) and part.truth)
        return
    assert at <= part.at
    match formula:
        case Once(of=inner):
            assert part.truth and holds(inner, known, at)
        case Never(of=inner):
            assert not part.truth and holds(inner, known, at)
        case Historically(of=inner):
            assert not part.truth and not holds(inner, known, at)
        case Since(left=left, right=right):
            assert holds(right, known, at) if part.truth else not holds(left, known, at)


@settings(max_examples=1_500, deadline=None)
@given(formulas, traces, st.booleans(), st.data())
def test_an_explanation_has_the_truth_that_the_monitor_found(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]], restricting: bool, data: st.DataObject
) -> None:
    """Also where atoms are unknown, and where outcomes were not reported."""
    program = program_of(formula, restricting=restricting)
    past = Past(program, Scope.WORKFLOW)
    happened: list[Happened] = []
    now_us = START_US
    for number, (gap, atoms, outcome) in enumerate(trace):
        now_us += gap
        unsure = data.draw(st.frozensets(st.sampled_from(NAMES), max_size=2))
        reported = data.draw(st.booleans())
        event = Event(now_us, bits(atoms | unsure), bits(atoms - unsure))
        here = Happened(
            id=str(number),
            time_us=now_us,
            possibly=atoms | unsure,
            certainly=atoms - unsure,
            outcome=outcome if reported else 2,
        )
        found, _ = past.view().truth(program, 0, event, past.position + 1)
        assert explain(formula, [*happened, here], restricting=restricting).truth is found
        position = past.permit(event)
        if reported:
            past.outcome(event, position, succeeded=outcome == SUCCEEDED, witnessed=False)
        happened.append(here)


@settings(max_examples=400, deadline=None)
@given(formulas, traces)
def test_steps_tell_each_change_of_truth(
    formula: Formula, trace: list[tuple[int, frozenset[str], int]]
) -> None:
    if any(isinstance(one, Done) for one in walk(formula)):
        return  # as one is told afterwards, a success counts from its action on
    now_us = START_US
    happened: list[Happened] = []
    for number, (gap, atoms, _) in enumerate(trace):
        now_us += gap
        happened.append(Happened(id=str(number), time_us=now_us, possibly=atoms, certainly=atoms))
    known = [Naive(time_us=one.time_us, atoms=one.possibly) for one in happened]
    truth = False
    told = {
        step.position: {one.text: one.truth for one in step.changes}
        for step in steps(formula, happened, restricting=True)
    }
    for position in range(len(happened)):
        truth = told.get(position, {}).get(text(formula), truth)
        assert truth is holds(formula, known, position)
