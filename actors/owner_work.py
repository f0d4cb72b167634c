"""What replicas ask of an owner: from the owner and plain values to plain values, by the name of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from actors import (
    deciding,
    delegations,
    outcomes,
    registration,
    reservations,
    sessions,
    settlements,
    vouching,
)
from actors.approvals import calls as approval_calls
from actors.messages import DelegationRequest, Outcome, SessionRequest

WORK: Final[Mapping[str, Callable[..., Any]]] = {
    "decide": deciding.decide,
    "vouch": vouching.vouch,
    "vouch_for_agent": vouching.vouch_for_agent,
    "settle": reservations.settle,
    "fates": settlements.fates,
    "register_agent": lambda owner, tenant, agent_id, given, key_id: registration.register_agent(
        owner, tenant, agent_id, given, key_id=key_id
    ),
    "describe_agent": registration.describe_agent,
    "open_session": lambda owner, request: sessions.open_session(owner, SessionRequest._make(request)),
    "open_child": lambda owner, request: delegations.open_child(owner, SessionRequest._make(request)),
    "delegate": lambda owner, request: delegations.delegate(owner, DelegationRequest._make(request)),
    "session_subject": sessions.session_subject,
    "add_task": lambda owner, name, digest, told, basis, key_id: sessions.add_task(
        owner, name, task_digest=digest, told=told, basis=basis, key_id=key_id
    ),
    "end_session": lambda owner, name, key_id: sessions.end_session(owner, name, key_id=key_id),
    "report_outcome": lambda owner, outcome: outcomes.report_outcome(owner, Outcome._make(outcome)),
    "describe_decision": outcomes.describe_decision,
    **approval_calls.WORK,
}
