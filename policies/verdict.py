"""Stage two: from atom bits to a verdict. Needs no CEL, so it runs where the agent's past lives.

A restricting rule matches when its atom is *possibly* true, a granting rule when it is *certainly* true:
whatever is unknown or failed can only restrict.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.bundle import Bundle, Rule
from policies.effect import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One rule that led to the verdict; `rule` is "policy/rule"."""

    rule: str
    effect: Effect
    because: str
    controls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one action.

    Args:
        reason_code: "rule_allow", "rule_deny", "default_allow", "default_deny", or the code of the refusal.
        reasons: every matched rule of the deciding effect, in the order of (policy, rule id);
            empty when the default or a refusal decided.
    """

    effect: Effect
    reason_code: str
    reasons: tuple[Reason, ...]


def decide(bundle: Bundle, *, possibly: int, certainly: int, refusal: str | None = None) -> Verdict:
    """Combine the rules whose atoms hold: deny wins over allow, and the bundle's default fills the gap.

    Args:
        possibly, certainly: bit i = atom i of this very bundle (see `Prepared`).
        refusal: reason code when the action is denied whatever the rules say.
    Cost: O(matched rules) and two AND operations over `len(bundle.atoms)` bits; no allocation per rule.
    """
    if refusal is not None:
        return Verdict(effect=Effect.DENY, reason_code=refusal, reasons=())
    denying = possibly & bundle.denying
    if denying:
        return Verdict(
            effect=Effect.DENY,
            reason_code="rule_deny",
            reasons=_reasons(bundle, denying, Effect.DENY),
        )
    allowing = certainly & bundle.allowing
    if allowing:
        return Verdict(
            effect=Effect.ALLOW,
            reason_code="rule_allow",
            reasons=_reasons(bundle, allowing, Effect.ALLOW),
        )
    return Verdict(effect=bundle.default, reason_code=f"default_{bundle.default}", reasons=())


def matched_rules(bundle: Bundle, *, possibly: int, certainly: int) -> tuple[Rule, ...]:
    """Every rule that matched, whether or not its effect decided; in the order of (policy, rule id).

    Cost: O(matched rules).
    """
    return (
        *_rules(bundle, certainly & bundle.allowing, Effect.ALLOW),
        *_rules(bundle, possibly & bundle.denying, Effect.DENY),
    )


def _reasons(bundle: Bundle, bits: int, effect: Effect) -> tuple[Reason, ...]:
    return tuple(
        Reason(rule=rule.name, effect=rule.effect, because=rule.because, controls=rule.controls)
        for rule in _rules(bundle, bits, effect)
    )


def _rules(bundle: Bundle, bits: int, effect: Effect) -> list[Rule]:
    """The rules with `effect` over the atoms in `bits`, in the bundle's order."""
    found: list[int] = []
    while bits:
        lowest = bits & -bits
        found.extend(bundle.rules_of_atom[lowest.bit_length() - 1])
        bits ^= lowest
    # One atom may carry an allow and a deny rule (equal `on` and `when`), so the effect is checked again.
    return [rule for rule in map(bundle.rules.__getitem__, sorted(found)) if rule.effect is effect]
