"""A rule's `approve`: its mistakes, its terms, and the hash that approvals bind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import rfc8785

from policies.approval_terms import ApprovalTerms
from policies.clauses import ClauseError
from policies.duration import duration_us
from policies.normal_form import clauses_of
from policies.rule_documents import ApproveDocument, DefineDocument, RuleDocument

DEFAULT_EXPIRES_US: Final = 3_600_000_000
LONGEST_EXPIRES: Final = "30d"
_SETS: Final = ("role:", "group:")


def terms_of(document: ApproveDocument, authors: Sequence[str]) -> ApprovalTerms:
    """The terms of a rule whose document has been checked. Args: authors: of its policy."""
    then_to = document.then_to
    return ApprovalTerms(
        by=tuple(dict.fromkeys(document.by)),
        quorum=document.quorum,
        expires_us=DEFAULT_EXPIRES_US if document.expires is None else duration_us(document.expires),
        then_to=() if then_to is None else tuple(dict.fromkeys(then_to.by)),
        after_us=None if then_to is None else duration_us(then_to.after),
        exclude=frozenset(document.exclude),
        authors=tuple(authors) if "author" in document.exclude else (),
        remember=document.remember is not None,
    )


def rule_hash(
    policy: str,
    rule: RuleDocument,
    defines: Mapping[str, DefineDocument],
    authors: Sequence[str],
) -> str:
    """SHA-256 over a rule's normal form, hex: whatever changes what it says, changes this.

    Args:
        defines: those that its `past` names; parameters stand where they went.
        authors: of its policy; they are part of it where they may not approve.
    Cost: tens of microseconds.
    """
    excluded = rule.approve is not None and "author" in rule.approve.exclude
    form = {
        "policy": policy,
        "id": rule.id,
        "rule": clauses_of(rule),
        "define": {name: clauses_of(one) for name, one in defines.items()},
        "authors": list(authors) if excluded else [],
    }
    return hashlib.sha256(rfc8785.dumps(form)).hexdigest()  # type: ignore[arg-type]


def check_approve(rule: RuleDocument, authors: Iterable[str]) -> list[ClauseError]:
    """Every mistake in a rule's `approve` that the shape of its keys does not show. Args: authors: of its policy."""
    approve = rule.approve
    if approve is None or rule.then != "escalate":
        return []
    found: list[ClauseError] = []

    def wrong(path: tuple[str, ...], code: str, message: str, hint: str = "") -> None:
        found.append(
            ClauseError(path=("approve", *path), code=code, message=message, hint=hint, at_key=bool(path))
        )

    expires_us = DEFAULT_EXPIRES_US if approve.expires is None else duration_us(approve.expires)
    if expires_us > duration_us(LONGEST_EXPIRES):
        wrong(("expires",), "too_long", f"an approval waits at most {LONGEST_EXPIRES}")
    if expires_us == 0:
        wrong(("expires",), "expires_at_once", "nobody can approve within no time")
    if approve.remember is not None and rule.origin is None:
        hint = "give the rule an `origin` clause, or approve each action"
        message = "`remember: value` is about values that `origin` objects to, and this rule has no `origin`"
        wrong(("remember",), "remember_needs_origin", message, hint)
    if "author" in approve.exclude and not list(authors):
        hint = "write `authors: [user:…]` beside the policy's `name`"
        wrong(
            ("exclude",), "no_authors", "`exclude: author` says nothing: the policy names no `authors`", hint
        )
    everybody = [*approve.by]
    if approve.then_to is not None:
        everybody += approve.then_to.by
        if duration_us(approve.then_to.after) >= expires_us:
            message = f"`then_to` begins after {approve.then_to.after}, when the request has expired"
            wrong(("then_to",), "then_to_never", message, "give `expires` more time, or `after` less")
    for one in everybody:
        kind, _, name = one.partition(":")
        if (meant := kind.lower().removesuffix("s")) in ("role", "group") and kind != meant:
            message = f"`{one}` is a principal of the type `{kind}`, and no {meant}"
            wrong(("by",), "no_such_set", message, f"did you mean `{meant}:{name}`?")
    people = set(everybody)
    if len(people) < approve.quorum and not any(one.startswith(_SETS) for one in people):
        message = f"a quorum of {approve.quorum} cannot be reached by {len(people)} named approver(s)"
        wrong(("quorum",), "unreachable_quorum", message, "name more, a role or a group")
    return found
