"""Actions that rules rewrite, at their owner: which of the rules match, and what is kept of it.

The replica alone has the arguments, the owner alone the past: the one says which rules would change something, the
other which of them match, and the rewritten action comes back to be decided like any other.
"""

from __future__ import annotations

from typing import Any

from actors.messages import DecisionRequest, Rewritten
from actors.owner import Owner
from policies import verdict
from policies.rule_clauses import RuleClauses


def rewriting(owner: Owner, request: DecisionRequest, asked: RuleClauses) -> tuple[int, ...]:
    """Indexes of the rules that match and would (still) change an action. Cost: nothing where none would."""
    if not request.wanted or request.refusal is not None or owner.active is None:
        return ()
    return verdict.rewriting(
        owner.active.bundle, possibly=request.possibly, wanted=request.wanted, clauses=asked.holds
    )


def asked_digest(request: DecisionRequest) -> bytes:
    """Digest of the arguments as they were asked for."""
    if request.rewritten is None:
        return request.arguments_digest
    return Rewritten._make(request.rewritten).arguments_digest


def remembered(request: DecisionRequest) -> tuple[str, str]:
    """(operations, digest of what they make) of a rewritten action, for whoever asks for the decision again.

    No argument is journalled: who asks again brings them.
    """
    if request.rewritten is None:
        return "", ""
    return Rewritten._make(request.rewritten).operations, request.arguments_digest.hex()


def findings(owner: Owner, request: DecisionRequest) -> dict[str, Any]:
    """What evidence says of a rewriting: by which rules, what was changed, the keyed digest of before; no values."""
    if request.rewritten is None or owner.active is None:
        return {}
    rewritten = Rewritten._make(request.rewritten)
    rules = owner.active.bundle.rules
    return {
        "modified": {
            "rules": [rules[number].name for number in rewritten.rules],
            "original_digest": rewritten.evidence_digest.hex(),
            "changes": [
                {"at": at, "operation": operation, "count": count}
                for at, operation, count in rewritten.changes
            ],
        }
    }
