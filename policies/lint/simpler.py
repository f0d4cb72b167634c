"""Formulas with one operand, operator or window less."""

from __future__ import annotations

from collections.abc import Iterator
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
)


def simpler(formula: Formula) -> Iterator[tuple[Formula, str]]:
    """Each formula that lacks one part of this one, with what it lacks in words; the outermost parts first."""
    match formula:
        case Atom() | Done():
            return
        case Not(of=inner):
            if isinstance(inner, Not):
                yield inner.of, "both `not`"
            for one, lacking in simpler(inner):
                yield Not(one, formula.at), lacking
        case And(left=left, right=right) | Or(left=left, right=right) | Implies(left=left, right=right):
            word = type(formula).__name__.lower()
            yield right, f"the left side of `{word}`"
            if not isinstance(formula, Implies):
                yield left, f"the right side of `{word}`"
            yield from _in_both(formula)
        case Previous(of=inner):
            yield inner, "`previous`"
            for one, lacking in simpler(inner):
                yield Previous(one, formula.at), lacking
        case Once() | Historically() | Never():
            word = type(formula).__name__.lower()
            if not isinstance(formula, Never):
                yield formula.of, f"`{word}`"
            if formula.window_us is not None:
                yield type(formula)(formula.of, None, formula.at), f"the window of `{word}`"
            for one, lacking in simpler(formula.of):
                yield type(formula)(one, formula.window_us, formula.at), lacking
        case Since(left=left, right=right, window_us=window):
            yield right, "the left side of `since`, and `since`"
            yield Once(right, window, formula.at), "the left side of `since`, which is then `once`"
            if window is not None:
                yield Since(left, right, None, formula.at), "the window of `since`"
            yield from _in_both(formula)
        case _:
            assert_never(formula)


def _in_both(formula: And | Or | Implies | Since) -> Iterator[tuple[Formula, str]]:
    def made(left: Formula, right: Formula) -> Formula:
        if isinstance(formula, Since):
            return Since(left, right, formula.window_us, formula.at)
        return type(formula)(left, right, formula.at)

    for one, lacking in simpler(formula.left):
        yield made(one, formula.right), lacking
    for one, lacking in simpler(formula.right):
        yield made(formula.left, one), lacking
