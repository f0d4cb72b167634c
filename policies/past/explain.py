"""Why a formula is true or false: by its definition over the whole trace, with the actions that make it so.

For people who ask after the fact. Decisions are made by monitors (`policies.past.monitor`), which remember no traces;
tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

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
    walk,
)
from policies.past.monitor import FAILED, SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One position of a trace: a permitted action, or, as the last one, the action being decided.

    Args:
        possibly, certainly: the atoms that hold of it.
        outcome: FAILED, SUCCEEDED or UNREPORTED.
    """

    id: str
    time_us: int
    possibly: frozenset[str]
    certainly: frozenset[str]
    outcome: int = FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One subformula, at one position.

    Args:
        at: the position where it is asked; parts are asked where the witness is, or else here.
        witness: the position that makes it so: of a true `once` the latest action that has it, of a false
            `historically` the latest that lacks it, of a false `since` the one that broke it. None = no single one.
    """

    text: str
    truth: bool
    at: int
    witness: int | None
    parts: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A subformula whose truth an action changed."""

    text: str
    truth: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What one action changed, from the innermost subformula to the whole."""

    position: int
    changes: tuple[Changed, ...]


def explain(formula: Formula, trace: Sequence[Happened], *, restricting: bool) -> Explained:
    """The truth of a formula and of everything in it at the last position.

    Args:
        trace: not empty, in order; the last action has not been done.
        restricting: whether the rule restricts: its atoms are then taken as possibly true, under a negation as
            certainly true, as its monitor takes them.
    Cost: up to the square of the trace's length for each level of nested operators.
    """
    return _Explainer(trace)(formula, len(trace) - 1, restricting, nested=False)


def steps(formula: Formula, trace: Sequence[Happened], *, restricting: bool) -> tuple[Step, ...]:
    """Which action made which subformula true or false, in order; what changed nothing is left out."""
    found = []
    before: dict[str, bool] = {}
    inner = list(reversed(list(dict.fromkeys(walk(formula)))))
    polarity = _polarities(formula, restricting)
    explainer = _Explainer(trace)
    for position in range(len(trace)):
        changes = []
        for part in inner:
            possibly, nested = polarity[part]
            truth = explainer(part, position, possibly, nested=nested).truth
            if before.get(text(part), False) is not truth:
                changes.append(Changed(text(part), truth))
            before[text(part)] = truth
        if changes:
            found.append(Step(position, tuple(changes)))
    return tuple(found)


class _Explainer:
    def __init__(self, trace: Sequence[Happened]) -> None:
        self._trace = trace
        self._known: dict[tuple[Formula, int, bool, bool], Explained] = {}

    def __call__(self, formula: Formula, at: int, possibly: bool, *, nested: bool) -> Explained:
        key = (formula, at, possibly, nested)
        if key not in self._known:
            self._known[key] = self._explained(formula, at, possibly, nested)
        return self._known[key]

    def _explained(self, formula: Formula, at: int, possibly: bool, nested: bool) -> Explained:
        def made(truth: bool, *parts: Explained, witness: int | None = None) -> Explained:
            return Explained(text=text(formula), truth=truth, at=at, witness=witness, parts=parts)

        match formula:
            case Atom(name=name):
                return made(name in self._atoms(at, possibly))
            case Done(name=name):
                return made(name in self._atoms(at, possibly) and self._succeeded(at, possibly, nested))
            case Not(of=inner):
                part = self(inner, at, not possibly, nested=nested)
                return made(not part.truth, part)
            case And(left=left, right=right):
                parts = self(left, at, possibly, nested=nested), self(right, at, possibly, nested=nested)
                return made(parts[0].truth and parts[1].truth, *parts)
            case Or(left=left, right=right):
                parts = self(left, at, possibly, nested=nested), self(right, at, possibly, nested=nested)
                return made(parts[0].truth or parts[1].truth, *parts)
            case Implies(left=left, right=right):
                parts = self(left, at, not possibly, nested=nested), self(right, at, possibly, nested=nested)
                return made(not parts[0].truth or parts[1].truth, *parts)
            case Previous(of=inner):
                if at == 0:
                    return made(False)
                part = self(inner, at - 1, possibly, nested=True)
                return made(part.truth, part, witness=at - 1)
            case Once(of=inner, window_us=window):
                found = self._latest(inner, at, window, possibly, nested, True)
                there = self._inside(inner, at if found is None else found, possibly, nested)
                return made(found is not None, there, witness=found)
            case Never(of=inner, window_us=window):
                found = self._latest(inner, at, window, not possibly, nested, True)
                there = self._inside(inner, at if found is None else found, not possibly, nested)
                return made(found is None, there, witness=found)
            case Historically(of=inner, window_us=window):
                found = self._latest(inner, at, window, possibly, nested, False)
                there = self._inside(inner, at if found is None else found, possibly, nested)
                return made(found is None, there, witness=found)
            case Since(left=left, right=right, window_us=window):
                return self._since(formula, at, left, right, window, possibly, nested)
            case _:
                assert_never(formula)

    def _since(
        self,
        formula: Since,
        at: int,
        left: Formula,
        right: Formula,
        window: int | None,
        possibly: bool,
        nested: bool,
    ) -> Explained:
        """True: the witness is the latest action with the right side, and nothing since broke the left one."""
        said = text(formula)
        for position in range(at, -1, -1):
            if not self._within(position, at, window):
                break
            began = self(right, position, possibly, nested=True)
            if began.truth:
                holds = self._inside(left, at, possibly, nested)
                return Explained(text=said, truth=True, at=at, witness=position, parts=(holds, began))
            holds = self._inside(left, position, possibly, nested)
            if not holds.truth:
                began = self(right, position, possibly, nested=True)
                return Explained(text=said, truth=False, at=at, witness=position, parts=(holds, began))
        parts = self._inside(left, at, possibly, nested), self(right, at, possibly, nested=True)
        return Explained(text=said, truth=False, at=at, witness=None, parts=parts)

    def _latest(
        self, inner: Formula, at: int, window: int | None, possibly: bool, nested: bool, truth: bool
    ) -> int | None:
        """The latest position in the window at which `inner` has this truth."""
        for position in range(at, -1, -1):
            if not self._within(position, at, window):
                return None
            if self._inside(inner, position, possibly, nested).truth is truth:
                return position
        return None

    def _inside(self, inner: Formula, at: int, possibly: bool, nested: bool) -> Explained:
        """A part of a temporal operator. `done` directly below one is as deep as that one is."""
        done = isinstance(inner, Done) or (isinstance(inner, Not) and isinstance(inner.of, Done))
        return self(inner, at, possibly, nested=nested if done else True)

    def _within(self, position: int, at: int, window: int | None) -> bool:
        return window is None or self._trace[at].time_us - self._trace[position].time_us <= window

    def _atoms(self, at: int, possibly: bool) -> frozenset[str]:
        return self._trace[at].possibly if possibly else self._trace[at].certainly

    def _succeeded(self, at: int, possibly: bool, nested: bool) -> bool:
        """Below another operator what is not reported counts as a success where that restricts."""
        if at == len(self._trace) - 1:
            return False
        outcome = self._trace[at].outcome
        return outcome != FAILED if possibly and nested else outcome == SUCCEEDED


def _polarities(formula: Formula, restricting: bool) -> dict[Formula, tuple[bool, bool]]:
    """How each subformula's atoms are taken, and whether it stands below a temporal operator; of one that stands
    twice, where it stands first."""
    found: dict[Formula, tuple[bool, bool]] = {}

    def visit(one: Formula, possibly: bool, nested: bool) -> None:
        found.setdefault(one, (possibly, nested))
        match one:
            case Not(of=inner):
                visit(inner, not possibly, nested)
            case Never(of=inner):
                visit(inner, not possibly, nested or not isinstance(inner, Done))
            case Once(of=inner) | Historically(of=inner) | Previous(of=inner):
                visit(inner, possibly, nested or not isinstance(inner, Done))
            case Implies(left=left, right=right):
                visit(left, not possibly, nested)
                visit(right, possibly, nested)
            case And(left=left, right=right) | Or(left=left, right=right):
                visit(left, possibly, nested)
                visit(right, possibly, nested)
            case Since(left=left, right=right):
                done = isinstance(left, Not) and isinstance(left.of, Done)
                visit(left, possibly, nested or not done)
                visit(right, possibly, True)
            case Atom() | Done():
                return

    visit(formula, restricting, False)
    return found
