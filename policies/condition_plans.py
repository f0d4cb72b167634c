"""How the conditions that an action has to meet are evaluated: thresholds looked up, others a few at once when the same
few come again.

Which conditions are asked depends on what matched the index, and that repeats: one tool, one set. Ten conditions in one
CEL expression cost a fifth of ten expressions, because most of the price of a small one is the way into CEL and back.
The expression adds up powers of two, so that one number says of each condition whether it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from policies import cel
from policies.index import set_bits
from policies.thresholds import ThresholdIndex

FUSED_AT_USE = 16
"""Compiling costs as much as a hundred evaluations: what comes once or twice is not worth it."""
_KEPT = 1_000
_CONDITIONS_KEPT = 10_000
"""In all plans together: what is fused takes about 6 KiB a condition."""

Masks = tuple[int, int]
Pairs = list[tuple[cel.Condition, int]]
_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Conditions of one fused expression; `atoms[i]` is the bit set of the atoms that carry the i-th."""

    conditions: tuple[cel.Condition, ...]
    atoms: tuple[int, ...]
    all: int
    fused: cel.FusedConditions | None


class ConditionPlan:
    """What to evaluate for one set of atoms: thresholds by looking them up, everything else by CEL."""

    __slots__ = ("_conditions", "_groups", "_thresholds", "_uses")

    def __init__(self, conditions: Pairs) -> None:
        self._thresholds = ThresholdIndex[cel.Condition](
            [(one.threshold, atoms, one) for one, atoms in conditions if one.threshold is not None]
        )
        self._conditions = [(one, atoms) for one, atoms in conditions if one.threshold is None]
        self._groups: list[_Group] | None = None
        self._uses = 0

    def evaluate(self, facts: Mapping[str, object], possibly: int, certainly: int) -> Masks:
        """Take from the masks what does not hold; from `certainly` alone what failed.

        Args:
            facts: what conditions may read, by variable; `args` holds the arguments.
        Cost: a microsecond for thresholds; for ten other conditions 6 µs once they are fused, before that 2 µs each.
        """
        arguments: Any = facts.get("args", _NOTHING)
        lost, open_ = self._thresholds.look_up(arguments)
        possibly &= ~lost
        certainly &= ~lost
        if not (self._conditions or open_):
            return possibly, certainly
        try:
            activation = cel.activation(facts)
        except Exception:  # a value that CEL cannot hold: whoever would have read it has failed
            for _, atoms in (*self._conditions, *open_):
                certainly &= ~atoms
            return possibly, certainly
        possibly, certainly = _one_by_one(open_, activation, possibly, certainly)
        return self._together(activation, possibly, certainly)

    def _together(self, activation: cel.Activation, possibly: int, certainly: int) -> Masks:
        if self._groups is None:
            self._uses += 1
            if self._uses < FUSED_AT_USE:
                return _one_by_one(self._conditions, activation, possibly, certainly)
            self._groups = list(_fuse(self._conditions))
        for group in self._groups:
            truths = group.fused.holds(activation) if group.fused is not None else None
            if truths is None:
                # INVARIANT (as if alone): one that failed hides the others' values, so each is asked by itself; what
                # is fused never decides otherwise than its parts.
                pairs = list(zip(group.conditions, group.atoms, strict=True))
                possibly, certainly = _one_by_one(pairs, activation, possibly, certainly)
            elif truths == 0:
                possibly &= ~group.all
                certainly &= ~group.all
            else:
                lost = 0
                for atoms in group.atoms:
                    if not truths & 1:
                        lost |= atoms
                    truths >>= 1
                possibly &= ~lost
                certainly &= ~lost
        return possibly, certainly


class ConditionPlans:
    """Plans by the set of atoms that are asked; bounded, because callers choose what they ask for.

    Args:
        condition_of: atom number → its condition, and the bit set of all atoms that carry the same.
    """

    def __init__(self, condition_of: Mapping[int, tuple[cel.Condition, int]]) -> None:
        self._condition_of = condition_of
        self._plans: dict[int, ConditionPlan] = {}
        self._kept = 0

    def of(self, asked: int) -> ConditionPlan:
        """The plan for a bit set of atoms, all of which have a condition."""
        plan = self._plans.get(asked)
        if plan is None:
            found: dict[int, cel.Condition] = {}
            for atom in set_bits(asked):
                condition, atoms = self._condition_of[atom]
                found[atoms] = condition
            plan = ConditionPlan([(condition, atoms) for atoms, condition in found.items()])
            if len(self._plans) >= _KEPT or self._kept + len(found) > _CONDITIONS_KEPT:
                self._plans.clear()
                self._kept = 0
            self._plans[asked] = plan
            self._kept += len(found)
        return plan


def _one_by_one(conditions: Pairs, activation: cel.Activation, possibly: int, certainly: int) -> Masks:
    for condition, atoms in conditions:
        truth = condition.holds(activation)
        if truth is None:
            certainly &= ~atoms
        elif not truth:
            possibly &= ~atoms
            certainly &= ~atoms
    return possibly, certainly


def _fuse(conditions: Pairs) -> list[_Group]:
    groups = []
    for first in range(0, len(conditions), cel.MOST_FUSED):
        part = conditions[first : first + cel.MOST_FUSED]
        together = tuple(condition for condition, _ in part)
        atoms = tuple(bits for _, bits in part)
        covered = 0
        for bits in atoms:
            covered |= bits
        fused = cel.FusedConditions.of(together) if len(together) > 1 else None
        groups.append(_Group(conditions=together, atoms=atoms, all=covered, fused=fused))
    return groups
