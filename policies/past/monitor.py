"""Monitors: formulas over the past as functions that take one event at a time and keep a few integers.

Each temporal operator keeps one slot, whatever the length of the history: `once` and `since` the time of the latest
event that still makes them true, `previous` one bit. A formula is written out as straight Python once, when its bundle
is compiled, because the step is on the way of every decision.

Source: Havelund & Roşu, TACAS 2002, section 4; a window that reaches from now back to w needs the latest witness only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

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
    names,
    normal,
    parts,
    text,
    walk,
)

Slots: TypeAlias = tuple[int, ...]
"""Times in microseconds since the epoch, positions and bits; -1 = none."""
Step: TypeAlias = Callable[[Slots, int, int, int, int, int], tuple[bool, Slots]]
Late: TypeAlias = Callable[[Slots, int, int, int, int], Slots]

FAILED: Final = 0
SUCCEEDED: Final = 1
UNREPORTED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """One formula, ready to step.

    Attributes:
        text: the formula, for people.
        initial: slots before the first event.
        relevant: bit set of the atoms that it speaks of.
        skippable: whether an event without any of them leaves the slots as they are.
        nested_done: whether an outcome matters below another temporal operator, so that an event is best taken in when
            its outcome is known.
        step: ``(slots, possibly, certainly, time_us, position, outcome) -> (truth, slots)``: the truth at this event
            and the slots after it; `outcome` is FAILED, SUCCEEDED or, when an event is taken in before its outcome is
            known, UNREPORTED, which counts as a success below other operators where that restricts. The event being
            decided has not been done: FAILED.
        late: ``(slots, possibly, certainly, time_us, position) -> slots``: an event that was taken in earlier turns out
            to have succeeded.
        Cost: about 0.2 µs a step, independent of the history's length.
    """

    text: str
    initial: Slots
    relevant: int
    skippable: bool
    nested_done: bool
    step: Step
    late: Late


def monitor_of(formula: Formula, *, number_of: Mapping[str, int], restricting: bool) -> Monitor:
    """Compile a formula that passed `polarity.check`.

    Args:
        number_of: the bit of each atom that the formula names.
        restricting: whether the rule restricts: its atoms are then taken as *possibly* true, under a negation as
            *certainly* true; the other way round in an allowing rule.
    Cost: about 0.2 ms.
    """
    core = normal(formula)
    writer = _Writer(number_of)
    value = writer.value(core, restricting, nested=False)
    relevant = 0
    for name in names(core):
        relevant |= 1 << number_of[name]
    step, late = writer.functions(value)
    return Monitor(
        text=text(formula),
        initial=(-1,) * writer.slots,
        relevant=relevant,
        skippable=all(_undisturbed(one) for one in walk(core)),
        nested_done=writer.nested_done,
        step=step,
        late=late,
    )


def identity(*described: str) -> bytes:
    """16 bytes that two monitors share exactly when they are made of the same: formula, atoms, direction, keys."""
    digest = hashlib.sha256()
    for one in described:
        digest.update(len(one).to_bytes(4, "big") + one.encode())
    return digest.digest()[:16]


class _Writer:
    """Writes the body of one monitor's functions, innermost operator first."""

    def __init__(self, number_of: Mapping[str, int]) -> None:
        self._number_of = number_of
        self._step: list[str] = []
        self._late: list[str] = []
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
                return f"(not {self.value(inner, not possibly, nested=nested)})"
            case And(left=left, right=right):
                return f"({self.value(left, possibly, nested=nested)} and {self.value(right, possibly, nested=nested)})"
            case Or(left=left, right=right):
                return f"({self.value(left, possibly, nested=nested)} or {self.value(right, possibly, nested=nested)})"
            case Previous() | Once() | Since():
                key = (formula, possibly, nested)
                if key not in self._written:
                    self._written[key] = self._operator(formula, possibly, nested)
                return self._written[key]
            case Done() | Implies() | Historically() | Never():
                raise AssertionError(f"not in a checked formula: {text(formula)}")
            case _:
                assert_never(formula)

    def functions(self, value: str) -> tuple[Step, Late]:
        slots = ", ".join(f"s{i}" for i in range(self.slots)) + ("," if self.slots else "")
        opened = [f"{slots} = s"] if self.slots else []
        kept = f"({slots})"
        step = [*opened, *self._step, f"return bool({value}), {kept}"]
        late = [*opened, *self._late, f"return {kept}"]
        source = "def step(s, p, c, t, n, d):\n" + _indented(step)
        source += "def late(s, p, c, t, n):\n" + _indented(late)
        scope: dict[str, Any] = {}
        # Nothing of the author's text is in it: only numbers, our own names and Python's operators.
        exec(source, {"__builtins__": {"bool": bool}}, scope)  # noqa: S102
        return scope["step"], scope["late"]

    def _operator(self, formula: Previous | Once | Since, possibly: bool, nested: bool) -> str:
        match formula:
            case Previous(of=inner):
                now = self.value(inner, possibly, nested=True)
                slot = self._slot()
                truth = f"v{slot[1:]}"
                self._step += [f"{truth} = {slot} > 0", f"{slot} = 1 if {now} else -1"]
                return truth
            case Once(of=Done(name=name), window_us=window):
                slot = self._slot()
                done = f"{self._bit(name, possibly)} and {self._succeeded(possibly, nested)}"
                self._step.append(f"if {done}: {slot} = t")
                self._step += _expired("elif", slot, window)
                self._late.append(f"if {self._bit(name, possibly)} and t > {slot}: {slot} = t")
                return self._alive(slot)
            case Once(of=inner, window_us=window):
                now = self.value(inner, possibly, nested=True)
                slot = self._slot()
                self._step.append(f"if {now}: {slot} = t")
                self._step += _expired("elif", slot, window)
                return self._alive(slot)
            case Since(left=Not(of=Done(name=name)), right=right, window_us=window):
                now = self.value(right, possibly, nested=True)
                slot, position = self._slot(), self._slot()
                bit = self._bit(name, not possibly)
                done = f"({bit} and {self._succeeded(not possibly, nested)})"
                self._step.append(f"if {now}: {slot} = t; {position} = n")
                over = f"{done} or t - {slot} > {window}" if window is not None else done
                self._step.append(f"elif {over}: {slot} = {position} = -1")
                # Times before positions: those of a past that was told by a record are another count.
                after = f"(t > {slot} or t == {slot} and n > {position})"
                self._late.append(f"if {bit} and {after}: {slot} = {position} = -1")
                return self._alive(slot)
            case Since(left=left, right=right, window_us=window):
                holds = self.value(left, possibly, nested=True)
                now = self.value(right, possibly, nested=True)
                slot = self._slot()
                over = f"not {holds}" if window is None else f"not {holds} or t - {slot} > {window}"
                self._step += [f"if {now}: {slot} = t", f"elif {over}: {slot} = -1"]
                return self._alive(slot)
            case _:
                assert_never(formula)

    def _succeeded(self, possibly: bool, nested: bool) -> str:
        self.nested_done |= nested
        return "d" if possibly and nested else "d == 1"

    def _alive(self, slot: str) -> str:
        truth = f"v{slot[1:]}"
        self._step.append(f"{truth} = {slot} >= 0")
        return truth

    def _bit(self, name: str, possibly: bool) -> str:
        return f"({'p' if possibly else 'c'} & {1 << self._number_of[name]})"

    def _slot(self) -> str:
        self.slots += 1
        return f"s{self.slots - 1}"


def _expired(word: str, slot: str, window_us: int | None) -> list[str]:
    return [] if window_us is None else [f"{word} t - {slot} > {window_us}: {slot} = -1"]


def _indented(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _undisturbed(formula: Formula) -> bool:
    """Whether an event without any atom of this operator leaves its slot as it is (but for what expired)."""
    match formula:
        case Previous():
            return False
        case Once(of=inner):
            return isinstance(inner, Done) or _absent(inner) is False
        case Since(left=Not(of=Done()), right=right):
            return _absent(right) is False
        case Since(left=left, right=right):
            return _absent(left) is True and _absent(right) is False
        case _:
            return True


def _absent(formula: Formula) -> bool | None:
    """The truth at an event that has none of the atoms; None = it depends on what was before."""
    match formula:
        case Atom() | Done():
            return False
        case Not(of=inner):
            truth = _absent(inner)
            return None if truth is None else not truth
        case And() | Or():
            wins = isinstance(formula, Or)
            truths = [_absent(one) for one in parts(formula)]
            if wins in truths:
                return wins
            return None if None in truths else not wins
        case _:
            return None
