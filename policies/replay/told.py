"""What the bundle that decided has told of atoms, formulas and budgets: it saw the arguments that the record hides.

It holds for another bundle exactly where that asks the very same thing of the very same facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.bundle import Bundle, Rule
from policies.effect import Effect
from policies.quantities import amount_of
from policies.replay.knowledge import AtomTruth, Knowledge
from policies.replay.recorded import RecordedAction

_BY_RULES = frozenset(
    ("rule_allow", "rule_deny", "rule_escalate", "rule_modify", "default_allow", "default_deny")
)

_UNRESTRICTED = frozenset(("rule_allow", "rule_modify", "default_allow", "default_deny"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of one action by what was recorded of it, in numbers of the new bundle.

    Args:
        satisfied: indexes of modify rules of which the record tells whether they rewrote it; rewrote: those that did,
            None = it was rewritten by others, and nobody knows what it was.
        truths: by monitor; levels: by limit, None = it stood at something unknown.
    """

    atoms: Mapping[int, AtomTruth] = field(default_factory=dict)
    truths: Mapping[int, bool] = field(default_factory=dict)
    levels: Mapping[int, int | None] = field(default_factory=dict)
    satisfied: frozenset[int] = frozenset()
    rewrote: tuple[int, ...] | None = None


NOTHING = Told()


class Telling:
    """From what one bundle found to what another one would have."""

    def __init__(self, old: Bundle, new: Bundle, knowledge: Knowledge) -> None:
        self._old = old
        self._new = new
        self._number_of = knowledge.number_of
        self._alike = dict(old.catalog.entries) == dict(new.catalog.entries)
        monitors = {one.identity: number for number, one in enumerate(new.program.monitors)}
        limits: dict[bytes, list[int]] = {}
        for number, limit in enumerate(new.program.limits):
            limits.setdefault(limit.identity, []).append(number)
        self._modifying = _same_modifications(old, new)
        self._monitor_of: dict[str, int] = {}
        self._limits_of: dict[str, tuple[bool, list[int]]] = {}
        for rule in old.rules:
            if rule.past is not None:
                there = monitors.get(old.program.monitors[rule.past].identity)
                if there is not None:
                    self._monitor_of[rule.name] = there
            # Denials are what a bundle itself gave: another one counts its own.
            if rule.limit is not None and old.program.limits[rule.limit].counted != "denials":
                own = old.program.limits[rule.limit]
                self._limits_of[rule.name] = (own.counted == "sum", limits.get(own.identity, []))

    def told(self, action: RecordedAction) -> Told:
        """What the record of an action tells of the new bundle's atoms, monitors and limits."""
        kind = (action.resource_type, action.resource_id)
        if self._old.catalog.facts(*kind) != self._new.catalog.facts(*kind):
            return NOTHING
        atoms = self._atoms(action)
        satisfied, rewrote = self._rewriting(action)
        if not self._alike:
            return Told(atoms=atoms, satisfied=satisfied, rewrote=rewrote)
        truths = {
            self._monitor_of[rule]: truth for rule, truth in action.truths.items() if rule in self._monitor_of
        }
        levels: dict[int, int | None] = {}
        for rule, level in action.levels.items():
            sums, numbers = self._limits_of.get(rule, (False, []))
            value = None if level is None else amount_of(level) if sums else int(level)
            levels.update(dict.fromkeys(numbers, value))
        return Told(atoms=atoms, truths=truths, levels=levels, satisfied=satisfied, rewrote=rewrote)

    def _rewriting(self, action: RecordedAction) -> tuple[frozenset[int], tuple[int, ...] | None]:
        if action.reason_code not in _BY_RULES:
            return frozenset(), None
        rewrote = [self._modifying.get(rule) for rule in action.modified]
        known = None if None in rewrote else tuple([one for one in rewrote if one is not None])
        return frozenset(self._modifying.values()), known

    def _atoms(self, action: RecordedAction) -> dict[int, AtomTruth]:
        found: dict[int, AtomTruth] = {}

        def tell(old_number: int, possibly: bool | None, certainly: bool | None) -> None:
            number = self._number_of.get(self._old.atoms[old_number])
            if number is None:
                return
            before = found.get(number, (None, None))
            found[number] = (
                possibly if before[0] is None else before[0],
                certainly if before[1] is None else before[1],
            )

        for (policy, name), number in self._old.defines.items():
            if self._old.idle >> number & 1:
                continue  # not evaluated: that it is not listed says nothing
            possibly = f"{policy}/{name}" in action.atoms
            tell(number, possibly, None if possibly else False)
        if action.reason_code not in _BY_RULES:
            return found
        for rule in self._old.rules:
            matched = rule.name in action.rules
            plain = rule.on_atom_alone and not rule.monitored
            if rule.effect is Effect.MODIFY:
                continue  # it spoke of what the action was before it was rewritten
            if rule.effect is not Effect.ALLOW:
                # All that restrict are reported together; where something was permitted, none did.
                if matched:
                    tell(rule.atom, True, None)
                elif plain:
                    tell(rule.atom, False, False)
            elif matched:
                tell(rule.atom, True, True)
            elif plain and action.reason_code in _UNRESTRICTED:
                tell(rule.atom, None, False)
        return found


def _same_modifications(old: Bundle, new: Bundle) -> dict[str, int]:
    """Modify rules of one bundle that another has, too, and that nothing but their atom decides: name → index there."""
    there = {
        (new.atoms[rule.atom], repr(rule.modify)): number
        for number, rule in enumerate(new.rules)
        if _is_modification(rule)
    }
    return {
        rule.name: there[key]
        for rule in old.rules
        if _is_modification(rule) and (key := (old.atoms[rule.atom], repr(rule.modify))) in there
    }


def _is_modification(rule: Rule) -> bool:
    return rule.effect is Effect.MODIFY and rule.on_atom_alone and not rule.monitored
