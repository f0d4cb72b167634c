"""Past-time metric temporal logic: the formulas as they are written, and the few that remain of them.

Over actions e0 … ei with times t0 ≤ … ≤ ti, evaluated at ei as if it were permitted::

    once[w] f          some j ≤ i with ti - tj ≤ w has f
    historically[w] f  all such j have f
    f since[w] g       some such j has g, and every k with j < k ≤ i has f
    previous f         i > 0, and f at i - 1
    done(a)            the action has `a`, and its outcome was reported as succeeded

Source: Havelund & Roşu, "Synthesizing monitors for safety properties", TACAS 2002; metric windows as in Basin et al.,
"Monitoring metric first-order temporal properties", J. ACM 62(2), 2015 (MonPoly).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

Span: TypeAlias = tuple[int, int]
"""Where in the text a formula stands: from the first character to behind the last."""

_NOWHERE: Span = (0, 0)


@dataclass(frozen=True, slots=True)
class Atom:
    name: str
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The action has the atom, and succeeded. Stands under `once`, or negated on the left of `since`."""

    name: str
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    of: Formula
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class And:
    left: Formula
    right: Formula
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Or:
    left: Formula
    right: Formula
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Implies:
    left: Formula
    right: Formula
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Previous:
    of: Formula
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Once:
    """`window_us`: at most that long ago; None = as far back as the scope goes."""

    of: Formula
    window_us: int | None = None
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Historically:
    of: Formula
    window_us: int | None = None
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Never:
    of: Formula
    window_us: int | None = None
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Since:
    left: Formula
    right: Formula
    window_us: int | None = None
    at: Span = field(default=_NOWHERE, compare=False, repr=False)


Formula: TypeAlias = Atom | Done | Not | And | Or | Implies | Previous | Once | Historically | Never | Since


def normal(formula: Formula) -> Formula:
    """The same in `not`, `and`, `or`, `previous`, `once` and `since` alone, without double negations.

    Cost: one pass.
    """
    match formula:
        case Atom() | Done():
            return formula
        case Not(of=inner):
            return _negated(normal(inner), formula.at)
        case And(left=left, right=right):
            return And(normal(left), normal(right), formula.at)
        case Or(left=left, right=right):
            return Or(normal(left), normal(right), formula.at)
        case Implies(left=left, right=right):
            return Or(_negated(normal(left), left.at), normal(right), formula.at)
        case Previous(of=inner):
            return Previous(normal(inner), formula.at)
        case Once(of=inner, window_us=window):
            return Once(normal(inner), window, formula.at)
        case Historically(of=inner, window_us=window):
            return Not(Once(_negated(normal(inner), inner.at), window, formula.at), formula.at)
        case Never(of=inner, window_us=window):
            return Not(Once(normal(inner), window, formula.at), formula.at)
        case Since(left=left, right=right, window_us=window):
            return Since(normal(left), normal(right), window, formula.at)
        case _:
            assert_never(formula)


def _negated(formula: Formula, at: Span) -> Formula:
    return formula.of if isinstance(formula, Not) else Not(formula, at)


def parts(formula: Formula) -> tuple[Formula, ...]:
    """The formulas directly inside."""
    match formula:
        case Atom() | Done():
            return ()
        case Not() | Previous() | Once() | Historically() | Never():
            return (formula.of,)
        case And() | Or() | Implies() | Since():
            return (formula.left, formula.right)
        case _:
            assert_never(formula)


def walk(formula: Formula) -> Iterator[Formula]:
    """The formula and everything inside it, outermost first."""
    yield formula
    for part in parts(formula):
        yield from walk(part)


def names(formula: Formula) -> frozenset[str]:
    """The atoms that it speaks of."""
    return frozenset(one.name for one in walk(formula) if isinstance(one, Atom | Done))


def reach_us(formula: Formula) -> int | None:
    """How far it looks back, windows inside windows added up; None = as far as the scope goes.

    `previous` reaches as far as the scope: the action before this one may have been long ago.
    """
    within = [reach_us(part) for part in parts(formula)]
    own: int | None = 0
    if isinstance(formula, Once | Historically | Never | Since):
        own = formula.window_us
    elif isinstance(formula, Previous):
        own = None
    if own is None or None in within:
        return None
    return own + max((one for one in within if one is not None), default=0)


def text(formula: Formula) -> str:
    """The formula as it would be written, with as many brackets as it takes to be read in one way only."""
    match formula:
        case Atom(name=name):
            return name
        case Done(name=name):
            return f"done({name})"
        case Not(of=inner):
            return f"not {_bracketed(inner)}"
        case Previous(of=inner):
            return f"previous {_bracketed(inner)}"
        case Once(of=inner, window_us=window):
            return f"once{_window(window)} {_bracketed(inner)}"
        case Historically(of=inner, window_us=window):
            return f"historically{_window(window)} {_bracketed(inner)}"
        case Never(of=inner, window_us=window):
            return f"never{_window(window)} {_bracketed(inner)}"
        case And(left=left, right=right):
            return f"{_bracketed(left)} and {_bracketed(right)}"
        case Or(left=left, right=right):
            return f"{_bracketed(left)} or {_bracketed(right)}"
        case Implies(left=left, right=right):
            return f"{_bracketed(left)} implies {_bracketed(right)}"
        case Since(left=left, right=right, window_us=window):
            return f"{_bracketed(left)} since{_window(window)} {_bracketed(right)}"
        case _:
            assert_never(formula)


def _bracketed(formula: Formula) -> str:
    simple = isinstance(formula, Atom | Done | Not | Previous | Once | Historically | Never)
    return text(formula) if simple else f"({text(formula)})"


_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000))


def _window(window_us: int | None) -> str:
    if window_us is None:
        return ""
    return "[" + next(f"{window_us // size}{unit}" for unit, size in _UNITS if window_us % size == 0) + "]"
