"""Actions rewritten by rules with `then: modify`, and prepared anew: all that takes the arguments.

Whoever holds the past says which of these rules match (`verdict.rewriting`); which of them would change anything, and
to what, is worked out here. A rule that nothing but its atom decides needs nobody to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from policies.action import Action, Json
from policies.bundle import Bundle
from policies.effect import Effect
from policies.index import set_bits
from policies.modification.apply import Applied, Change, Refused, apply
from policies.modification.operations import Operation
from policies.prepare import Prepared, Preparer

REWRITE_REFUSED: Final = "rewrite_refused"
REWRITE_UNSTABLE: Final = "rewrite_unstable"


class Rewriting(NamedTuple):
    """An action as it is to be decided, and what became of it before.

    Args:
        wanted: indexes of the modify rules, monitored ones too, that would (still) change it.
        rules: indexes of those that rewrote it; empty for an action as it was asked.
        operations, changes: theirs, in the order in which they were applied.
    """

    action: Action
    prepared: Prepared
    wanted: tuple[int, ...] = ()
    rules: tuple[int, ...] = ()
    operations: tuple[Operation, ...] = ()
    changes: tuple[Change, ...] = ()


def prepare(preparer: Preparer, action: Action, rules: Sequence[int] | None = None) -> Rewriting:
    """Prepare an action; rewritten, if it is known by which rules.

    Args:
        rules: indexes of those that rewrite it, in their order; None = nobody was asked yet: it is rewritten where
            every enforced rule that would change it has nothing but an atom, which holds.
    Returns: where a rule's operations cannot be applied, the action as it was, refused.
    Cost: that of `Preparer.prepare` where no rule of the bundle rewrites; else that of the operations of each
        whose atom holds, and for a rewritten action all of it once more.
    """
    prepared = preparer.prepare(action)
    bundle = preparer.bundle
    if not prepared.possibly & bundle.modifying or prepared.refusal is not None:
        return Rewriting(action, prepared)
    found = _effects(bundle, prepared, action.arguments)
    wanted = tuple(found)
    if rules is None:
        rules = [number for number in wanted if not bundle.rules[number].monitored]
        if not all(bundle.rules[number].on_atom_alone for number in rules):
            return Rewriting(action, prepared, wanted)
    # What is known of who acts may have changed since they were found.
    rules = [number for number in rules if prepared.possibly >> bundle.rules[number].atom & 1]
    if not rules:
        return Rewriting(action, prepared, wanted)
    arguments = action.arguments
    changes: list[Change] = []
    for number in rules:
        rule = bundle.rules[number]
        first = found.get(number) if arguments is action.arguments else None
        applied = first or apply(arguments, rule.modify)
        if isinstance(applied, Refused):
            detail = f"`{rule.name}` cannot {applied.operation} `{applied.at}`: {applied.because}"
            return Rewriting(action, prepared._replace(refusal=REWRITE_REFUSED, detail=detail), wanted)
        arguments = applied.arguments
        changes += applied.changes
    operations = tuple([one for number in rules for one in bundle.rules[number].modify])
    rewritten = action._replace(arguments=arguments)
    prepared = preparer.prepare(rewritten)
    wanted = () if prepared.refusal is not None else tuple(_effects(bundle, prepared, arguments))
    return Rewriting(rewritten, prepared, wanted, tuple(rules), operations, tuple(changes))


def _effects(
    bundle: Bundle, prepared: Prepared, arguments: Mapping[str, Json]
) -> dict[int, Applied | Refused]:
    """What the modify rules whose atom possibly holds would do, by their indexes, in order; those that would do
    something."""
    numbers = [
        number
        for atom in set_bits(prepared.possibly & bundle.modifying)
        for number in bundle.modifying_of_atom[atom]
    ]
    found: dict[int, Applied | Refused] = {}
    for number in sorted(numbers):
        assert bundle.rules[number].effect is Effect.MODIFY
        applied = apply(arguments, bundle.rules[number].modify)
        if isinstance(applied, Refused) or applied.changes:
            found[number] = applied
    return found
