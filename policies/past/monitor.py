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
from typing import Any, Final, TypeAlias

from policies.past.formula import (
    And,
    Atom,
    Done,
    Formula,
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
from policies.past.monitor_code import MonitorCode, indented

Slots: TypeAlias = tuple[int, ...]
"""Times in microseconds since the epoch, positions and bits; -1 = none."""
Step: TypeAlias = Callable[[Slots, int, int, int, int, int], tuple[bool, Slots]]
Late: TypeAlias = Callable[[Slots, int, int, int, int], Slots]
CodeOf: TypeAlias = Callable[[tuple[int, int], int], tuple[MonitorCode, str]]

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
        code_of: ``((possibly, certainly), first slot) -> (code, truth)``: the same as code for events with these atoms
            that are being decided (`policies.past.joint`).
        Cost: about 0.2 µs a step, independent of the history's length.
    """

    text: str
    initial: Slots
    relevant: int
    skippable: bool
    nested_done: bool
    step: Step
    late: Late
    code_of: CodeOf


def monitor_of(formula: Formula, *, number_of: Mapping[str, int], restricting: bool) -> Monitor:
    """Compile a formula that passed `polarity.check`.

    Args:
        number_of: the bit of each atom that the formula names.
        restricting: whether the rule restricts: its atoms are then taken as *possibly* true, under a negation as
            *certainly* true; the other way round in an allowing rule.
    Cost: about 0.2 ms.
    """
    core = normal(formula)
    code = MonitorCode(number_of)
    value = code.value(core, restricting, nested=False)
    own = {name: number_of[name] for name in names(core)}
    relevant = 0
    for number in own.values():
        relevant |= 1 << number
    step, late = _functions(code, value)
    return Monitor(
        text=text(formula),
        initial=(-1,) * code.slots,
        relevant=relevant,
        skippable=all(_undisturbed(one) for one in walk(core)),
        nested_done=code.nested_done,
        step=step,
        late=late,
        code_of=lambda known, first: _known_code(core, own, restricting, known, first),
    )


def identity(*described: str) -> bytes:
    """16 bytes that two monitors share exactly when they are made of the same: formula, atoms, direction, keys."""
    digest = hashlib.sha256()
    for one in described:
        digest.update(len(one).to_bytes(4, "big") + one.encode())
    return digest.digest()[:16]


def _known_code(
    core: Formula, number_of: Mapping[str, int], restricting: bool, known: tuple[int, int], first: int
) -> tuple[MonitorCode, str]:
    code = MonitorCode(number_of, known=known, first=first)
    return code, code.value(core, restricting, nested=False)


def _functions(code: MonitorCode, value: str) -> tuple[Step, Late]:
    slots = ", ".join(f"s{i}" for i in range(code.slots)) + ("," if code.slots else "")
    opened = [f"{slots} = s"] if code.slots else []
    kept = f"({slots})"
    source = "def step(s, p, c, t, n, d):\n" + indented(
        [*opened, *code.step, f"return bool({value}), {kept}"]
    )
    source += "def late(s, p, c, t, n):\n" + indented([*opened, *code.late, f"return {kept}"])
    scope: dict[str, Any] = {}
    # Nothing of the author's text is in it: only numbers, our own names and Python's operators.
    exec(source, {"__builtins__": {"bool": bool}}, scope)  # noqa: S102
    return scope["step"], scope["late"]


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
