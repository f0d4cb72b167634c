"""The truth of formulas by their definition, over the whole trace: slow, and the reference for the monitors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One position: `succeeded` is what is known at the end of the trace."""

    time_us: int
    atoms: frozenset[str]
    succeeded: bool = False


def holds(formula: Formula, trace: Sequence[Happened], i: int) -> bool:
    """Whether the formula is true at position i."""

    def within(window_us: int | None) -> range | list[int]:
        return [
            j for j in range(i + 1) if window_us is None or trace[i].time_us - trace[j].time_us <= window_us
        ]

    match formula:
        case Atom(name=name):
            return name in trace[i].atoms
        case Done(name=name):
            return name in trace[i].atoms and trace[i].succeeded
        case Not(of=inner):
            return not holds(inner, trace, i)
        case And(left=left, right=right):
            return holds(left, trace, i) and holds(right, trace, i)
        case Or(left=left, right=right):
            return holds(left, trace, i) or holds(right, trace, i)
        case Implies(left=left, right=right):
            return not holds(left, trace, i) or holds(right, trace, i)
        case Previous(of=inner):
            return i > 0 and holds(inner, trace, i - 1)
        case Once(of=inner, window_us=window):
            return any(holds(inner, trace, j) for j in within(window))
        case Historically(of=inner, window_us=window):
            return all(holds(inner, trace, j) for j in within(window))
        case Never(of=inner, window_us=window):
            return not any(holds(inner, trace, j) for j in within(window))
        case Since(left=left, right=right, window_us=window):
            return any(
                holds(right, trace, j) and all(holds(left, trace, k) for k in range(j + 1, i + 1))
                for j in within(window)
            )
