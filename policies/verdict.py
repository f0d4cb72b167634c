"""Stage two: from atom bits to a verdict. Needs no CEL, so it runs where the agent's past lives.

A restricting rule matches when its atom is *possibly* true, a granting rule when it is *certainly* true:
whatever is unknown or failed can only restrict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from policies.bundle import Bundle, Reason, Rule
from policies.effect import Effect
from policies.index import set_bits

__all__ = ["Clauses", "Reason", "Verdict", "decide", "matched_rules", "modified", "rewriting"]

Clauses = Callable[[Rule], bool]
"""Whether the clauses of a rule that look beyond its atom hold, for this action as if it were permitted."""

# From the strongest to the weakest. What rewrites comes before: it is asked by itself.
_RESTRICTING = (Effect.DENY, Effect.ESCALATE)


class Verdict(NamedTuple):
    """The answer to one action.

    Args:
        reason_code: "rule_deny", "rule_escalate", "rule_modify", "rule_allow", "default_allow", "default_deny", or the
            code of the refusal.
        reasons: every matched rule that restricts, the strongest effect first; of a permission, every matched rule
            that grants; each in the order of (policy, rule id). Empty when the default or a refusal decided. Rules
            whose objection was lifted come last.
        uncertain: names of the rules that decided only because something is unknown or a condition failed (a
            missing or mistyped argument, say): rules of the deciding effect among `reasons` that are possibly and not
            certainly true; under "default_deny" the `allow` rules that would have granted had they been certain.
        would: the monitored rules that matched: what each would have done.
    """

    effect: Effect
    reason_code: str
    reasons: tuple[Reason, ...]
    uncertain: tuple[str, ...] = ()
    would: tuple[Reason, ...] = ()


def no_past(rule: Rule) -> bool:
    """For bundles without clauses beyond the atom, and actions that are past to nobody."""
    return rule.on_atom_alone


def decide(
    bundle: Bundle,
    *,
    possibly: int,
    certainly: int,
    refusal: str | None = None,
    clauses: Clauses = no_past,
    wanted: Sequence[int] = (),
    lifted: frozenset[int] = frozenset(),
) -> Verdict:
    """Combine the rules that match: deny wins over escalate over allow, and the bundle's default fills the gap.

    Rules that rewrite have their say before, in `rewriting`, and after, in `modified`.

    Args:
        possibly, certainly: bit i = atom i of this very bundle (see `Prepared`).
        refusal: reason code when the action is denied whatever the rules say.
        clauses: asked of each rule with more than an atom whose atom matches, at most once.
        wanted: indexes of the modify rules that would change the action's arguments: of those that are monitored it is
            told what they would do.
        lifted: numbers of rules that escalate and whose objection an approval removes; of other rules they say nothing.
    Cost: O(matched rules) and a few AND operations over `len(bundle.atoms)` bits; reasons are built with the bundle.
    """
    if refusal is not None:
        return Verdict(effect=Effect.DENY, reason_code=refusal, reasons=())
    asked: dict[Effect, list[int]] = {}
    would: tuple[Reason, ...] = ()
    if possibly & bundle.asked:
        asked, watched = _asked(bundle, possibly, certainly, clauses, wanted)
        would = tuple([bundle.reasons[number] for number in watched])
    plain = bundle.plain
    restricting = possibly & (plain[Effect.DENY] | plain[Effect.ESCALATE])
    approved: tuple[Reason, ...] = ()
    if restricting or asked:
        numbers: list[int] = []
        deciding: Effect | None = None
        first: list[int] = []
        for effect in _RESTRICTING:
            found = _numbers(bundle, possibly & plain[effect], effect)
            if effect in asked:
                found = sorted(found + asked[effect])
            if lifted and effect is Effect.ESCALATE:
                # INVARIANT (lift): an approval removes the objection of an escalating rule, and nothing else.
                approved = tuple([bundle.reasons[number] for number in found if number in lifted])
                found = [number for number in found if number not in lifted]
            if found and deciding is None:
                deciding, first = effect, found
            numbers += found
        if deciding is not None:
            return Verdict(
                effect=deciding,
                reason_code=f"rule_{deciding}",
                reasons=tuple([bundle.reasons[number] for number in numbers]) + approved,
                uncertain=_uncertain(bundle, first, certainly) if possibly & ~certainly else (),
                would=would,
            )
    granted = _numbers(bundle, certainly & plain[Effect.ALLOW], Effect.ALLOW)
    if Effect.ALLOW in asked:
        granted = sorted(granted + asked[Effect.ALLOW])
    if granted:
        return Verdict(
            effect=Effect.ALLOW,
            reason_code="rule_allow",
            reasons=tuple([bundle.reasons[number] for number in granted]) + approved,
            would=would,
        )
    if bundle.default is Effect.DENY:
        open_ = _numbers(bundle, possibly & plain[Effect.ALLOW], Effect.ALLOW)
        uncertain = tuple([bundle.reasons[number].rule for number in open_])
        return Verdict(
            effect=Effect.DENY, reason_code="default_deny", reasons=approved, uncertain=uncertain, would=would
        )
    return Verdict(
        effect=bundle.default, reason_code=f"default_{bundle.default}", reasons=approved, would=would
    )


def escalating(bundle: Bundle, verdict: Verdict) -> frozenset[int]:
    """The numbers of the rules that escalate in a verdict."""
    return frozenset(
        bundle.number_of[reason.rule] for reason in verdict.reasons if reason.effect is Effect.ESCALATE
    )


def rewriting(
    bundle: Bundle, *, possibly: int, wanted: Sequence[int], clauses: Clauses = no_past
) -> tuple[int, ...]:
    """Indexes of the enforced modify rules that match, in the order in which they are applied.

    Args:
        wanted: those that would change the action's arguments. One that would not is satisfied, and not asked.
    """
    rules = bundle.rules
    return tuple(
        [
            number
            for number in sorted(wanted)
            if (rule := rules[number]).effect is Effect.MODIFY
            and not rule.monitored
            and possibly >> rule.atom & 1
            and (rule.on_atom_alone or clauses(rule))
        ]
    )


def modified(bundle: Bundle, verdict: Verdict, rules: Sequence[int]) -> Verdict:
    """The verdict on an action that was rewritten before it was decided.

    A rewriting grants nothing: what would have been allowed is modified, and everything else stays what it is.

    Args:
        verdict: on the rewritten action; rules: indexes of those that rewrote it; none = it is as it was asked.
    """
    if not rules:
        return verdict
    modifying = tuple([bundle.reasons[number] for number in rules])
    match verdict.effect:
        case Effect.ALLOW:
            return verdict._replace(
                effect=Effect.MODIFY, reason_code="rule_modify", reasons=modifying + verdict.reasons
            )
        case Effect.DENY | Effect.ESCALATE if verdict.reasons:
            return verdict._replace(reasons=verdict.reasons + modifying)
        case _:
            return verdict


def _uncertain(bundle: Bundle, numbers: list[int], certainly: int) -> tuple[str, ...]:
    return tuple(
        [bundle.reasons[number].rule for number in numbers if not certainly >> bundle.rules[number].atom & 1]
    )


def matched_rules(
    bundle: Bundle,
    *,
    possibly: int,
    certainly: int,
    clauses: Clauses = no_past,
    wanted: Sequence[int] = (),
) -> tuple[Rule, ...]:
    """Every rule that matched, whether or not its effect decided; in the order of (policy, rule id).

    Those that rewrote the action are not among them: they matched what it was before.

    Cost: O(matched rules).
    """
    numbers = _numbers(bundle, certainly & bundle.plain[Effect.ALLOW], Effect.ALLOW)
    for effect in _RESTRICTING:
        numbers += _numbers(bundle, possibly & bundle.plain[effect], effect)
    if possibly & bundle.asked:
        asked, watched = _asked(bundle, possibly, certainly, clauses, wanted)
        numbers += chain(watched, *asked.values())
    return tuple(bundle.rules[number] for number in sorted(numbers))


def _asked(
    bundle: Bundle, possibly: int, certainly: int, clauses: Clauses, wanted: Sequence[int]
) -> tuple[dict[Effect, list[int]], list[int]]:
    """The rules with more than an atom that match: (enforced, by effect; monitored)."""
    enforced: dict[Effect, list[int]] = {}
    monitored: list[int] = []
    rules, allow, modify = bundle.rules, Effect.ALLOW, Effect.MODIFY
    for atom in set_bits(possibly & bundle.asked):
        sure = certainly >> atom & 1
        for number in bundle.asked_of_atom[atom]:
            rule = rules[number]
            effect = rule.effect
            if not sure and effect is allow:
                continue
            if effect is modify and not (rule.monitored and number in wanted):
                continue
            if rule.on_atom_alone or clauses(rule):
                if rule.monitored:
                    monitored.append(number)
                elif effect in enforced:
                    enforced[effect].append(number)
                else:
                    enforced[effect] = [number]
    return enforced, sorted(monitored)


def _numbers(bundle: Bundle, bits: int, effect: Effect) -> list[int]:
    """Which plain rules with `effect` stand on the atoms in `bits`, in the bundle's order."""
    carried = bundle.rules_of_atom[effect]
    found: list[int] = []
    while bits:
        lowest = bits & -bits
        found.extend(carried[lowest.bit_length() - 1])
        bits ^= lowest
    if len(found) > 1:
        found.sort()
    return found
