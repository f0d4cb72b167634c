"""What a reason code means and what to do about it, for answers whose decision has no words of its own."""

from __future__ import annotations

from typing import Final

_EXPLANATIONS: Final = {
    "default_deny": "no rule allows this",
    "unknown_agent": "no such agent is registered: POST /v1/agents, or `controlplane agent register`",
    "unknown_subject": "no such principal is registered: POST /v1/principals, or `controlplane principal add`",
    "unknown_session": "no such session of this subject: open one with POST /v1/sessions",
    "session_required": "this agent has no standing session: open one with POST /v1/sessions",
    "session_ended": "this session has ended: open another",
    "stopped": "who acts, what it acts on or its workflow is stopped: an operator sees it with GET /v1/stops",
    "session_expired": "this session was idle for too long or is too old: open another",
    "outside_delegation": "what this session was delegated, or one above it, does not cover this",
    "delegation_expired": "what this session was delegated has expired: ask for another delegation",
    "parent_ended": "a session that this one was delegated by is over, and so is what it delegated",
    "rewrite_unstable": "a rule would rewrite what was rewritten already: two rules of the policies disagree",
    "rewrite_unrepeatable": "what was modified cannot be made again from these arguments: use a new idempotency key",
    "idempotency_key_spent": "what this idempotency key was bound to is over: use a new key for a new action",
    "no_active_bundle": "no policies are active: `controlplane bundle activate FILES`",
    "bundle_lagging": "the owner of this subject has not taken over the active policies yet: try again",
    "too_many_pending": "too many actions of this agent wait to be decided in workflows elsewhere: try again",
    "reservation_void": "the owner of this agent had given up waiting for this decision: try again",
    "stale_vouch": "the active policies changed while the action was on its way: try again",
    "evidence_backlog": "too much evidence waits to land at the owner of this agent: see `controlplane status`",
    "lease_expired": "the owner of this subject has lost the control store: try again",
    "clock_uncertain": "the owner's clock cannot be trusted: see its log; a restart takes the clock as it is",
    "deadline_passed": "the action arrived after its caller stopped waiting: try again",
    "key_revoked": "the key was revoked while the action was on its way",
    "key_expired": "the key expired while the action was on its way",
}


def explanation(reason_code: str) -> str:
    """A sentence for a reason code; empty where rules speak for themselves."""
    return _EXPLANATIONS.get(reason_code, "")
