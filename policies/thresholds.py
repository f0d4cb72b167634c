"""Comparisons of an argument with a number, `args.amount > 10000.0`: looked up instead of evaluated.

It is what most rules about money ask, and it is the same in every language: two doubles are compared (IEEE 754). So it
needs no CEL where the argument is a number; where it is anything else, or is not there, CEL is asked and says what that
means. Any number of thresholds on one argument costs a few binary searches.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import or_
from typing import Generic, TypeVar

from policies.cel_ast import Ast, Call, Constant, Expression, field_of

Source = TypeVar("Source")

_MIRRORED = {"_>_": "_<_", "_>=_": "_<=_", "_<_": "_>_", "_<=_": "_>=_"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """`args.ARGUMENT OPERATOR NUMBER`; `operator` is CEL's name of it, e.g. ``_>=_``."""

    argument: str
    operator: str
    number: float


def threshold_of(ast: Ast) -> Threshold | None:
    """The threshold that a whole condition is; None for anything else."""
    match ast.root:
        case Call(function=operator, target=None, arguments=(left, right)) if operator in _MIRRORED:
            return _threshold(left, operator, right) or _threshold(right, _MIRRORED[operator], left)
    return None


def _threshold(value: Expression, operator: str, number: Expression) -> Threshold | None:
    argument = field_of(value, "args")
    # `has(args.x)` and `args.?x` name a field, too, and are no numbers.
    if argument is None or getattr(value, "test_only", False) or getattr(value, "function", "_[_]") != "_[_]":
        return None
    match number:
        case Constant(number=float(found)):
            return Threshold(argument=argument, operator=operator, number=found)
    return None


@dataclass(frozen=True, slots=True)
class _Ladder:
    """The thresholds of one operator, ascending. `lost[i]`: atoms whose threshold does not hold when `find` says i."""

    numbers: list[float]
    lost: list[int]
    find: Callable[[list[float], float], int]


class ThresholdIndex(Generic[Source]):
    """Thresholds with the atoms (a bit set) that stand on each.

    Args:
        thresholds: (threshold, atoms, where it comes from).
    """

    __slots__ = ("_arguments",)

    def __init__(self, thresholds: Sequence[tuple[Threshold, int, Source]]) -> None:
        by_argument: dict[str, list[tuple[Threshold, int, Source]]] = {}
        for found in thresholds:
            by_argument.setdefault(found[0].argument, []).append(found)
        self._arguments = [
            (argument, _ladders(those), tuple((source, atoms) for _, atoms, source in those))
            for argument, those in by_argument.items()
        ]

    def look_up(self, arguments: Mapping[str, object]) -> tuple[int, list[tuple[Source, int]]]:
        """(atoms whose threshold does not hold, the sources and atoms of those whose argument is no number).

        Cost: half a microsecond for an argument, whatever the number of its thresholds.
        """
        lost = 0
        open_: list[tuple[Source, int]] = []
        for argument, ladders, sources in self._arguments:
            value = arguments.get(argument)
            # Searching says nothing of NaN, which nothing compares with.
            if type(value) is not float or value != value:
                open_ += sources
                continue
            for ladder in ladders:
                lost |= ladder.lost[ladder.find(ladder.numbers, value)]
        return lost, open_


def _ladders(thresholds: Sequence[tuple[Threshold, int, Source]]) -> list[_Ladder]:
    ladders = []
    for operator in _MIRRORED:
        steps = sorted((t.number, atoms) for t, atoms, _ in thresholds if t.operator == operator)
        if not steps:
            continue
        # How many thresholds lie below the value (or at it): `>` and `>=` hold for these, `<` and `<=` for the others.
        find = bisect_left if operator in ("_>_", "_<=_") else bisect_right
        # One pass, not one a step: a bundle may have thousands on one argument, and the first action waits for it.
        holds_below = operator in ("_>_", "_>=_")
        atoms = [atoms for _, atoms in (reversed(steps) if holds_below else steps)]
        lost = list(accumulate(atoms, or_, initial=0))
        if holds_below:
            lost.reverse()
        ladders.append(_Ladder([number for number, _ in steps], lost, find))
    return ladders
