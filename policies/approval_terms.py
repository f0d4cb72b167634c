"""Who may lift an escalation and on what terms, as a compiled rule carries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalTerms:
    """What a rule's `approve` says.

    Attributes:
        by: `role:NAME`, `group:NAME` or `type:id` of a principal; any of them.
        quorum: how many different people.
        expires_us: how long a request waits, and an approval holds, counted from the request.
        then_to, after_us: who else may approve, and how long after the request; none without `then_to`.
        exclude: any of "owner", "author".
        authors: `type:id` of who wrote the policy.
        remember: whether approving may be for the values that the rule's `origin` objects to.
    """

    by: tuple[str, ...]
    quorum: int
    expires_us: int
    then_to: tuple[str, ...] = ()
    after_us: int | None = None
    exclude: frozenset[str] = frozenset(("owner",))
    authors: tuple[str, ...] = ()
    remember: bool = False
