"""Formulas over the past as lines of Python, written out once so that nothing of them is looked up at each step.

Where the atoms of an event are known beforehand, most of a formula is, too: what is left is a comparison or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

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

TRUE: Final = "True"
FALSE: Final = "False"


class MonitorCode:
    """The body of one monitor's functions, innermost operator first.

    Args:
        number_of: the bit of each atom.
        known: (possibly, certainly) of the events that it is for, which are being decided: what follows from that is
            left out. None = of any event.
        first: number of its first slot.
    Attributes:
        step, late: lines of Python over `s0`, `s1`, … (slots), `p`, `c` (bits), `t` (time), `n` (position) and `d`
            (outcome).
        slots: how many it has.
        nested_done: whether an outcome matters below another temporal operator.
    """

    def __init__(
        self, number_of: Mapping[str, int], *, known: tuple[int, int] | None = None, first: int = 0
    ) -> None:
        self._number_of = number_of
        self._known = known
        self._first = first
        self.step: list[str] = []
        self.late: list[str] = []
        self._written: dict[tuple[Formula, bool, bool], str] = {}
        self.slots = 0
        self.nested_done = False

    def value(self, formula: Formula, possibly: bool, *, nested: bool) -> str:
        """Python for the truth of a formula at this event; whatever it takes to know it is written before.

        Args:
            possibly: whether its atoms are taken as possibly (else certainly) true.
            nested: whether it stands below a temporal operator.
        """
        match formula:
            case Atom(name=name):
                return self._bit(name, possibly)
            case Not(of=inner):
                return negated(self.value(inner, not possibly, nested=nested))
            case And(left=left, right=right):
                return both(
                    self.value(left, possibly, nested=nested), self.value(right, possibly, nested=nested)
                )
            case Or(left=left, right=right):
                return either(
                    self.value(left, possibly, nested=nested), self.value(right, possibly, nested=nested)
                )
            case Previous() | Once() | Since():
                key = (formula, possibly, nested)
                if key not in self._written:
                    self._written[key] = self._operator(formula, possibly, nested)
                return self._written[key]
            case Done() | Implies() | Historically() | Never():
                raise AssertionError(f"not in a checked formula: {text(formula)}")
            case _:
                assert_never(formula)

    def _operator(self, formula: Previous | Once | Since, possibly: bool, nested: bool) -> str:
        match formula:
            case Previous(of=inner):
                now = self.value(inner, possibly, nested=True)
                slot = self._slot()
                truth = f"v{slot[1:]}"
                self.step += [f"{truth} = {slot} > 0", f"{slot} = 1 if {now} else -1"]
                return truth
            case Once(of=Done(name=name), window_us=window):
                slot = self._slot()
                bit = self._bit(name, possibly)
                done = both(bit, self._succeeded(possibly, nested))
                self._branch((done, f"{slot} = t"), (_expired(slot, window), f"{slot} = -1"))
                self.late.append(f"if {bit} and t > {slot}: {slot} = t")
                return self._alive(slot, done)
            case Once(of=inner, window_us=window):
                now = self.value(inner, possibly, nested=True)
                slot = self._slot()
                self._branch((now, f"{slot} = t"), (_expired(slot, window), f"{slot} = -1"))
                return self._alive(slot, now)
            case Since(left=Not(of=Done(name=name)), right=right, window_us=window):
                now = self.value(right, possibly, nested=True)
                slot, position = self._slot(), self._slot()
                bit = self._bit(name, not possibly)
                done = both(bit, self._succeeded(not possibly, nested))
                over = either(done, _expired(slot, window))
                self._branch((now, f"{slot} = t; {position} = n"), (over, f"{slot} = {position} = -1"))
                # Times before positions: those of a past that was told by a record are another count.
                after = f"(t > {slot} or t == {slot} and n > {position})"
                self.late.append(f"if {bit} and {after}: {slot} = {position} = -1")
                return self._alive(slot, now)
            case Since(left=left, right=right, window_us=window):
                holds = self.value(left, possibly, nested=True)
                now = self.value(right, possibly, nested=True)
                slot = self._slot()
                over = either(negated(holds), _expired(slot, window))
                self._branch((now, f"{slot} = t"), (over, f"{slot} = -1"))
                return self._alive(slot, now)
            case _:
                assert_never(formula)

    def _branch(self, *branches: tuple[str, str]) -> None:
        """The first of these (condition, statement) that holds."""
        word = "if"
        for condition, statement in branches:
            if condition == FALSE:
                continue
            if condition == TRUE:
                self.step.append(statement if word == "if" else f"else: {statement}")
                return
            self.step.append(f"{word} {condition}: {statement}")
            word = "elif"

    def _succeeded(self, possibly: bool, nested: bool) -> str:
        self.nested_done |= nested
        if self._known is not None:
            return FALSE  # what is being decided has not been done
        return "d" if possibly and nested else "d == 1"

    def _alive(self, slot: str, now: str) -> str:
        if self._known is not None:
            return TRUE if now == TRUE else f"({slot} >= 0)"
        truth = f"v{slot[1:]}"
        self.step.append(f"{truth} = {slot} >= 0")
        return truth

    def _bit(self, name: str, possibly: bool) -> str:
        bit = 1 << self._number_of[name]
        if self._known is not None:
            return TRUE if self._known[0 if possibly else 1] & bit else FALSE
        return f"({'p' if possibly else 'c'} & {bit})"

    def _slot(self) -> str:
        self.slots += 1
        return f"s{self._first + self.slots - 1}"


def negated(one: str) -> str:
    return {TRUE: FALSE, FALSE: TRUE}.get(one, f"(not {one})")


def both(left: str, right: str) -> str:
    if FALSE in (left, right):
        return FALSE
    if TRUE in (left, right):
        return right if left == TRUE else left
    return f"({left} and {right})"


def either(left: str, right: str) -> str:
    if TRUE in (left, right):
        return TRUE
    if FALSE in (left, right):
        return right if left == FALSE else left
    return f"({left} or {right})"


def indented(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _expired(slot: str, window_us: int | None) -> str:
    return FALSE if window_us is None else f"t - {slot} > {window_us}"
