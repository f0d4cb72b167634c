"""What a formula may say in a rule: nothing that could loosen it on a mere permission.

History holds what was permitted, and permitted is not done: an agent that was allowed to scan has not scanned. So where
a rule becomes *looser* by something having happened, that something must be a reported success: `once[w] done(a)`.

In a restricting rule (deny, escalate, modify) a negatively occurring `once` must be over `done(…)`; `previous`, the
left operand of `since`, and a negatively occurring `since`, need `permitted_is_done: true` on the rule, but for
`not done(a) since[w] f` ("no successful scan since the read"). In an allowing rule it is the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

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
    normal,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, and where in the formula's text it begins."""

    offset: int
    code: str
    message: str
    hint: str


def check(formula: Formula, *, restricting: bool, permitted_is_done: bool) -> list[Finding]:
    """Every place where the formula says what it must not, in the order of the text; empty when it is fine.

    Args:
        formula: as written.
        restricting: whether the rule denies, escalates or modifies.
        permitted_is_done: the rule's word that being permitted is as good as done.
    """
    found: list[Finding] = []
    _check(normal(formula), True, restricting, permitted_is_done, found)
    return sorted(set(found), key=lambda one: one.offset)


def _check(
    formula: Formula, positive: bool, restricting: bool, permitted_is_done: bool, found: list[Finding]
) -> None:
    loosens = positive is not restricting

    def inside(part: Formula, same: bool = True) -> None:
        _check(part, positive is same, restricting, permitted_is_done, found)

    match formula:
        case Atom():
            return
        case Done():
            found.append(_misplaced(formula))
        case Not(of=inner):
            inside(inner, False)
        case And(left=left, right=right) | Or(left=left, right=right):
            inside(left)
            inside(right)
        case Once(of=inner):
            if isinstance(inner, Done):
                return
            if loosens:
                found.append(_permission(formula, restricting))
            inside(inner)
        case Previous(of=inner):
            if not permitted_is_done:
                found.append(_needs_word(formula, "`previous`"))
            inside(inner)
        case Since(left=left, right=right):
            excepted = isinstance(left, Not) and isinstance(left.of, Done)
            if not permitted_is_done and not excepted:
                found.append(_needs_word(formula, "the left side of this `since`"))
            elif not permitted_is_done and loosens:
                found.append(_needs_word(formula, "this `since`"))
            if not excepted:
                inside(left)
            inside(right)
        case Implies() | Historically() | Never():
            raise AssertionError(formula)  # `normal` leaves none
        case _:
            assert_never(formula)


def _misplaced(done: Done) -> Finding:
    return Finding(
        offset=done.at[0],
        code="misplaced_done",
        message=f"`done({done.name})` cannot stand here",
        hint="it stands as `once[w] done(a)` or as `not done(a) since[w] f`",
    )


def _permission(once: Formula, restricting: bool) -> Finding:
    kind = "restricting" if restricting else "allowing"
    return Finding(
        offset=once.at[0],
        code="loosens_on_permission",
        message=f"a mere permission would loosen this {kind} rule: what was permitted is not yet done",
        hint="say `once[w] done(a)`: the outcome has to be reported as succeeded",
    )


def _needs_word(operator: Formula, what: str) -> Finding:
    return Finding(
        offset=operator.at[0],
        code="needs_permitted_is_done",
        message=f"an action that was permitted and never done would change {what}",
        hint="use `not done(a) since[w] f`, or say `permitted_is_done: true` on the rule if that is meant",
    )
