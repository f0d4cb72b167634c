"""Stage two: from atom bits to a verdict. Needs no CEL, so it runs where the agent's past lives.

A restricting rule matches when its atom is *possibly* true, a granting rule when it is *certainly* true:
whatever is unknown or failed can only restrict.
"""

from __future__ import annotations

from typing import NamedTuple

from policies.bundle import Bundle, Reason, Rule
from policies.effect import Effect

__all__ = ["Reason", "Verdict", "decide", "matched_rules"]


class Verdict(NamedTuple):
    """The answer to one action.

    Args:
        reason_code: "rule_allow", "rule_deny", "default_allow", "default_deny", or the code of the refusal.
        reasons: every matched rule of the deciding effect, in the order of (policy, rule id);
            empty when the default or a refusal decided.
        uncertain: names of the rules that decided only because something is unknown or a condition failed (a
            missing or mistyped argument, say): `deny` rules among `reasons` that are possibly and not certainly
            true; under "default_deny" the `allow` rules that would have granted had they been certain.
    """

    effect: Effect
    reason_code: str
    reasons: tuple[Reason, ...]
    uncertain: tuple[str, ...] = ()


def decide(bundle: Bundle, *, possibly: int, certainly: int, refusal: str | None = None) -> Verdict:
    """Combine the rules whose atoms hold: deny wins over allow, and the bundle's default fills the gap.

    Args:
        possibly, certainly: bit i = atom i of this very bundle (see `Prepared`).
        refusal: reason code when the action is denied whatever the rules say.
    Cost: O(matched rules) and two AND operations over `len(bundle.atoms)` bits; reasons are built with the bundle.
    """
    if refusal is not None:
        return Verdict(effect=Effect.DENY, reason_code=refusal, reasons=())
    denying = possibly & bundle.denying
    if denying:
        return Verdict(
            effect=Effect.DENY,
            reason_code="rule_deny",
            reasons=_reasons(bundle, denying, Effect.DENY),
            uncertain=_names(bundle, denying & ~certainly, Effect.DENY),
        )
    allowing = certainly & bundle.allowing
    if allowing:
        return Verdict(
            effect=Effect.ALLOW,
            reason_code="rule_allow",
            reasons=_reasons(bundle, allowing, Effect.ALLOW),
        )
    if bundle.default is Effect.DENY:
        uncertain = _names(bundle, possibly & bundle.allowing, Effect.ALLOW)
        return Verdict(effect=Effect.DENY, reason_code="default_deny", reasons=(), uncertain=uncertain)
    return Verdict(effect=bundle.default, reason_code=f"default_{bundle.default}", reasons=())


def matched_rules(bundle: Bundle, *, possibly: int, certainly: int) -> tuple[Rule, ...]:
    """Every rule that matched, whether or not its effect decided; in the order of (policy, rule id).

    Cost: O(matched rules).
    """
    allowing = _numbers(bundle, certainly & bundle.allowing, Effect.ALLOW)
    denying = _numbers(bundle, possibly & bundle.denying, Effect.DENY)
    return tuple(bundle.rules[number] for number in sorted((*allowing, *denying)))


def _reasons(bundle: Bundle, bits: int, effect: Effect) -> tuple[Reason, ...]:
    reasons = bundle.reasons
    return tuple([reasons[number] for number in _numbers(bundle, bits, effect)])


def _names(bundle: Bundle, bits: int, effect: Effect) -> tuple[str, ...]:
    if not bits:  # the usual case, and the hot one
        return ()
    return tuple([bundle.reasons[number].rule for number in _numbers(bundle, bits, effect)])


def _numbers(bundle: Bundle, bits: int, effect: Effect) -> list[int]:
    """Which rules with `effect` stand on the atoms in `bits`, in the bundle's order."""
    carried = bundle.rules_of_atom[effect]
    found: list[int] = []
    while bits:
        lowest = bits & -bits
        found.extend(carried[lowest.bit_length() - 1])
        bits ^= lowest
    if len(found) > 1:
        found.sort()
    return found
