"""`limit` clauses that hold always or never, and keys that tell nothing apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from policies import cel
from policies.bundle import Bundle
from policies.duration import duration_us
from policies.effect import Effect
from policies.lint.finding import Finding, Level
from policies.lint.formulas import PlacedRule
from policies.lint.reach import Reach
from policies.past.retention import HISTORY_DAYS, HISTORY_US
from policies.quantities import amount_of

_STRENGTH = {Effect.ALLOW: 0, Effect.MODIFY: 1, Effect.ESCALATE: 2, Effect.DENY: 3}


class LimitLinter:
    """Looks at the limits of one bundle."""

    def __init__(self, bundle: Bundle, reach: Reach, rules: Mapping[str, PlacedRule]) -> None:
        self._bundle = bundle
        self._reach = reach
        self._rules = rules

    def lint(self, placed: PlacedRule) -> Iterator[Finding]:
        document = placed.document.limit
        assert document is not None
        above = amount_of(document.above)
        assert above is not None
        lowest = "a sum is never below 0"
        if document.count == "actions" and above <= 0:
            lowest = "the action itself counts as 1"
        if above < 0 or (document.count == "actions" and above <= 0):
            message = f"`above: {document.above}` is always exceeded ({lowest}), so `limit` says nothing"
            hint = "leave `limit` out, or check the number"
            yield placed.finding(Level.WARNING, "limit", "always_exceeded", message, hint, at_key=True)
        if document.count == "denials" and not self._anything_denied(placed):
            message = (
                "nothing that the rule's `on` and `when` match is ever denied, so `limit` is never exceeded"
            )
            yield placed.finding(Level.ERROR, "limit", "never_exceeded", message, at_key=True)
        if (stricter := self._stricter(placed)) is not None:
            message = (
                f"`above: {document.above}` is never exceeded without `{stricter.rule.name}`, which restricts no less "
                f"and stands above {_above(stricter)} of the same account"
            )
            yield placed.finding(Level.WARNING, "limit", "limit_shadowed", message, at_key=True)
        if document.per is not None and duration_us(document.per) > HISTORY_US:
            message = f"`per: {document.per}` looks back further than the {HISTORY_DAYS} days that are kept"
            hint = "what is older is unknown to a rule that is activated later"
            yield placed.finding(Level.WARNING, "limit", "window_beyond_history", message, hint, at_key=True)
        if document.key is not None and not cel.KeyExpression(document.key).names:
            message = f"`key: {document.key}` is the same for every action, so it keeps nothing apart"
            yield placed.finding(Level.WARNING, "limit", "constant_key", message, at_key=True)

    def _anything_denied(self, placed: PlacedRule) -> bool:
        """Whether an action that the limit counts can be denied: by another rule, the default or the catalog."""
        bundle, atom = self._bundle, self._bundle.atoms[placed.rule.atom]
        if bundle.default is Effect.DENY:
            return True
        for place in self._reach.where(atom):
            facts = self._reach.places[place].facts
            if facts is not None and (facts.actions is not None or facts.arguments is not None):
                return True
            for rule in bundle.rules:
                if rule.effect is not Effect.DENY or rule.monitored or rule is placed.rule:
                    continue
                if self._reach.may_hold(bundle.atoms[rule.atom], place):
                    return True
        return False

    def _stricter(self, placed: PlacedRule) -> PlacedRule | None:
        rule, program = placed.rule, self._bundle.program
        if rule.effect is Effect.ALLOW or rule.limit is None:
            return None
        own = program.limits[rule.limit]
        for other in self._rules.values():
            if other is placed or other.rule.limit is None:
                continue
            if not replace(other.rule, limit=None).on_atom_alone:
                continue  # another clause decides when it is asked
            there = program.limits[other.rule.limit]
            same = there.identity == own.identity and there.above < own.above and not other.rule.monitored
            if rule.effect is Effect.MODIFY and other.rule.effect is not Effect.DENY:
                same = same and other.rule.modify == rule.modify
            if same and placed.rule.stop is None and _STRENGTH[other.rule.effect] >= _STRENGTH[rule.effect]:
                return other
        return None


def _above(placed: PlacedRule) -> object:
    assert placed.document.limit is not None
    return placed.document.limit.above


def lint_keys(placed: PlacedRule) -> Iterator[Finding]:
    """Keys of `by` that are the same for every action."""
    constant: Sequence[str] = [
        name for name, text in (placed.document.by or {}).items() if not cel.KeyExpression(text).names
    ]
    for name in constant:
        message = f"the key of `{name}` is the same for every action, so it keeps nothing apart"
        yield placed.finding(Level.WARNING, "by", "constant_key", message, at_key=True)
