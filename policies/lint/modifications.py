"""Operations of `modify` after which an action can only be denied."""

from __future__ import annotations

from collections.abc import Iterator

from policies.bundle import Bundle
from policies.lint.finding import Finding, Level
from policies.lint.formulas import PlacedRule
from policies.lint.reach import Reach
from policies.modification.operations import Remove
from policies.modification.places import steps_of


def lint_modifications(placed: PlacedRule, bundle: Bundle, reach: Reach) -> Iterator[Finding]:
    """Cost: O(catalog) for each `remove`."""
    for operation in placed.rule.modify:
        name, *below = steps_of(operation.at)
        if not isinstance(operation, Remove) or below:
            continue
        for place in reach.where(bundle.atoms[placed.rule.atom]):
            facts = reach.places[place].facts
            known = (facts.arguments or {}).get(name) if facts is not None else None
            if known is not None and known.required:
                where = reach.places[place]
                message = f"`{where.id}` requires the argument `{name}`: without it the action is denied"
                hint = "let the rule deny, or set another value"
                yield placed.finding(Level.WARNING, "modify", "removes_required", message, hint, at_key=True)
                break
