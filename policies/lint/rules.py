"""Rules that never match, that others decide for, that stand twice; defines that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.asked.judgement import Reply
from policies.bundle import Atom, Bundle, Rule
from policies.effect import Effect
from policies.glob_sets import glob_set
from policies.index import SUBJECT_KEYS
from policies.lint.finding import CODES, Finding, Level, finding
from policies.lint.formulas import PlacedRule
from policies.lint.reach import Fit, Reach
from policies.located import Located
from policies.rule_documents import PolicyDocument

_ABOUT_OTHERS = (*SUBJECT_KEYS, "action")


@dataclass(frozen=True, slots=True)
class _Spread:
    """Bit sets of the places on which an atom can hold, and on which nothing about the resource keeps it from
    holding."""

    may: int
    must: int


class RuleLinter:
    """Looks at what rules of one bundle match. Cost: O(rules times plain rules), a few operations each."""

    def __init__(self, bundle: Bundle, reach: Reach, rules: Mapping[str, PlacedRule]) -> None:
        self._bundle = bundle
        self._reach = reach
        self._rules = rules
        self._spreads: dict[tuple[int, bool], _Spread] = {}

    def lint(self, placed: PlacedRule) -> Iterator[Finding]:
        rule = placed.rule
        atom = self._bundle.atoms[rule.atom]
        allowing = rule.effect is Effect.ALLOW
        if atom.when is not None and (constant := self._reach.constant(atom.when)) is not None:
            level = Level.WARNING if constant else Level.ERROR
            message = f"`when` reads nothing and is always {str(constant).lower()}"
            yield placed.finding(level, "when", "constant_condition", message)
            if not constant:
                return
        if not self._reach.where(atom, certainly=allowing):
            message = "the rule can never match: no resource of the catalog meets its `on`"
            hint = "each key has to fit, and what the catalog leaves open allows nothing" if allowing else ""
            yield placed.finding(
                Level.ERROR, "on", "never_matches", message, hint or "each key has to fit", at_key=True
            )
            return
        yield from self._clauses(placed, atom)
        document = placed.document
        scopes = (
            document.scope if document.past is not None else None,
            document.limit.scope if document.limit is not None else None,
        )
        if "agent" in scopes and not atom.on:
            message = "with scope `agent` and no `on` every action that an agent does elsewhere reserves at its home"
            hint = "say which actions the rule can decide: `on: {…}`"
            yield placed.finding(Level.WARNING, "on", "reserves_all", message, hint, at_key=True)
        yield from self._shadows(placed)

    def _clauses(self, placed: PlacedRule, atom: Atom) -> Iterator[Finding]:
        """`origin` that looks at nothing, where the rule names what it is about; `asked` that takes every answer."""
        origin, asked = placed.rule.origin, placed.rule.asked
        named = any(key in ("tool", "resource") for key, _ in atom.on)
        if origin is not None and origin.roles and named and not self._has_role(atom, origin.roles):
            roles = ", ".join(f"`{role}`" for role in sorted(origin.roles))
            message = (
                f"no argument of what the rule's `on` names has the role {roles}, so `origin` never holds"
            )
            hint = "give the argument its role in the catalog, or name it: `args: [/…]`"
            yield placed.finding(Level.WARNING, "origin", "never_matches", message, hint, at_key=True)
        if asked is not None and asked >= frozenset(Reply):
            message = "`asked` takes every answer, so it says nothing"
            yield placed.finding(
                Level.WARNING, "asked", "constant_condition", message, "leave it out", at_key=True
            )

    def _has_role(self, atom: Atom, roles: frozenset[str]) -> bool:
        for place in self._reach.where(atom):
            facts = self._reach.places[place].facts
            if facts is None or facts.arguments is None:
                return True
            if any((argument.role or "destination") in roles for argument in facts.arguments.values()):
                return True
        return False

    def _shadows(self, placed: PlacedRule) -> Iterator[Finding]:
        rule = placed.rule
        twin = next((one for one in self._rules.values() if _same(one, placed)), None)
        if twin is not None and twin.rule.name < rule.name:
            message = f"the rule matches what `{twin.rule.name}` matches, with the same effect"
            yield placed.finding(Level.WARNING, None, "duplicate_rule", message, "one of them is enough")
            return
        # What is escalated is permitted once it is approved, so that an escalation shadows nothing.
        # What is rewritten may not meet a condition any more.
        denying = [
            one
            for one in self._bundle.rules
            if one.effect is Effect.DENY
            and (rule.effect is not Effect.MODIFY or self._bundle.atoms[one.atom].when is None)
        ]
        over = self._covering(rule, denying) if rule.effect is not Effect.DENY else None
        if over is not None or (rule.effect is Effect.ALLOW and not self._ever_permitted(rule)):
            which = f"`{over.name}` denies" if over is not None else "other rules, all of them plain, deny"
            message = f"the rule never decides: whatever it matches {which}"
            hint = f"narrow one of the two, or leave `{rule.id}` out"
            yield placed.finding(Level.WARNING, None, "shadowed_rule", message, hint)
            return
        silent = not placed.document.because and not placed.document.controls
        if silent and rule.stop is None and rule.effect is not Effect.ESCALATE and not rule.monitored:
            equal = [
                one
                for one in self._bundle.rules
                if one.effect is rule.effect
                and one.modify == rule.modify
                and one is not rule
                # Of two that match the same, one is enough.
                and (one.name < rule.name or self._covering(one, [rule]) is None)
            ]
            if (over := self._covering(rule, equal)) is not None:
                message = (
                    f"the rule adds nothing: whatever it matches, `{over.name}` matches with the same effect"
                )
                yield placed.finding(Level.WARNING, None, "redundant_rule", message, "leave it out")

    def _ever_permitted(self, rule: Rule) -> bool:
        places = self._reach.where(self._bundle.atoms[rule.atom], certainly=True)
        return any(self._reach.permits(place) for place in places)

    def _covering(self, rule: Rule, others: Sequence[Rule]) -> Rule | None:
        """A plain rule that matches whatever this one matches."""
        allowing = rule.effect is Effect.ALLOW
        atom = self._bundle.atoms[rule.atom]
        may = self._spread(rule.atom, allowing=allowing).may
        for other in others:
            if not other.on_atom_alone or other.monitored:
                continue
            must = self._spread(other.atom, allowing=other.effect is Effect.ALLOW).must
            if may & ~must == 0 and _no_narrower(self._bundle.atoms[other.atom], atom, self._reach):
                return other
        return None

    def _spread(self, number: int, *, allowing: bool) -> _Spread:
        found = self._spreads.get((number, allowing))
        if found is None:
            atom = self._bundle.atoms[number]
            fits = (Fit.YES,) if allowing else (Fit.YES, Fit.OPEN)
            may = must = 0
            for place in range(len(self._reach.places)):
                if self._reach.may_hold(atom, place, certainly=allowing):
                    may |= 1 << place
                if all(
                    self._reach.fit((key, patterns), place) in fits
                    for key, patterns in atom.on
                    if key not in _ABOUT_OTHERS
                ):
                    must |= 1 << place
            found = self._spreads[number, allowing] = _Spread(may, must)
        return found


def _no_narrower(wide: Atom, narrow: Atom, reach: Reach) -> bool:
    """Whether `wide` asks no more of who acts, of the action's name and of conditions than `narrow`."""
    if wide.when not in (None, narrow.when) and reach.constant(wide.when) is not True:
        return False
    asked = dict(narrow.on)
    for key, patterns in wide.on:
        if key not in _ABOUT_OTHERS:
            continue
        if key not in asked or not all(glob_set(patterns).contains(one) for one in asked[key]):
            return False
    return True


def _same(one: PlacedRule, other: PlacedRule) -> bool:
    """Whether two rules are alike but for their names and words."""
    kept = ("atom", "effect", "past", "limit", "origin", "asked", "monitored", "modify", "stop")
    if one is other or one.document.approve != other.document.approve:
        return False
    return all(getattr(one.rule, key) == getattr(other.rule, key) for key in kept)


def lint_defines(
    policy: Located[PolicyDocument],
    bundle: Bundle,
    reach: Reach,
    used: frozenset[tuple[str, str]],
) -> Iterator[Finding]:
    """Defines that no rule speaks of, that never hold, that have no index, or that are defined twice."""
    name_of = policy.document.name
    first: dict[int, str] = {}
    for name, document in policy.document.define.items():

        def told(level: Level, code: str, message: str, hint: str = "", *, name: str = name) -> Finding:
            assert code in CODES, code
            shown = f"{message} in define `{name_of}/{name}`"
            return finding(level, policy.error(("define", name), code, shown, hint, at_key=True))

        number = bundle.defines[name_of, name]
        atom = bundle.atoms[number]
        if (name_of, name) not in used:
            yield told(Level.WARNING, "unused_define", "no rule's `past` speaks of this atom", "leave it out")
        elif document.on is None or not atom.on:
            yield told(
                Level.WARNING,
                "unindexed_atom",
                "the atom has no index, so that its condition is evaluated for every action",
                "say which actions it can be about: `on: {…}`",
            )
        if not reach.where(atom):
            hint = "each key has to fit"
            yield told(Level.ERROR, "never_holds", "no resource of the catalog can have this atom", hint)
        if (earlier := first.setdefault(number, name)) != name:
            yield told(Level.WARNING, "same_atom", f"the atom is the same as `{earlier}`", "use one of them")
