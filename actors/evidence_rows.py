"""From what an owner did to the rows that prove it: one function an event type. Pure."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import orjson

from actors.messages import Decided, DecidedAction, DecisionRequest, Outcome
from actors.records import AgentRecord
from evidence.record import SCHEMA_VERSION, EvidenceRow
from policies.catalog import ResourceFacts

STANDARD_RETENTION = "standard"


def event(
    *, event_id: str, event_type: str, time_us: int, tenant: str, details: dict[str, Any] | None = None
) -> EvidenceRow:
    """What every row has. `details` is small, structured and never holds a secret or a raw argument."""
    row = EvidenceRow(
        event_id=event_id,
        event_type=event_type,
        schema_version=SCHEMA_VERSION,
        event_time=time_us,
        tenant_id=tenant,
        retention_class=STANDARD_RETENTION,
    )
    if details:
        row["details"] = json.dumps(details, separators=(",", ":"), sort_keys=True)
    return row


def decision_row(
    request: DecisionRequest,
    answer: Decided,
    *,
    time_us: int,
    duration_us: int,
    workflow_id: str | None,
    parent_agent_id: str | None,
    principal: str | None,
    record: AgentRecord | None,
    facts: ResourceFacts | None,
    atoms: list[str],
    found: dict[str, Any],
) -> EvidenceRow:
    """The evidence of one decision. Cost: a few microseconds.

    Args:
        parent_agent_id: who delegated to the session's agent.
        principal: `type:id`, on whose behalf it acts.
        found: what the past said (`past`, `limits`), and what monitored rules `would` have done.
    """
    row = event(event_id=answer.id, event_type="decision", time_us=time_us, tenant=request.tenant)
    row["agent_id"] = request.subject_id
    row["action"] = request.action
    row["resource_type"] = request.resource_type
    row["resource_id"] = request.resource_id
    row["decision"] = row["enforced_action"] = answer.effect
    row["mode"] = "monitor" if "would" in found else "enforce"
    row["reason_code"] = answer.reason_code
    row["arguments"] = request.kept_arguments or request.masked_arguments
    row["arguments_digest"] = request.evidence_digest
    row["duration_us"] = duration_us
    row["authorization_boundary"] = _boundary(request.key_id, request.subject_type, principal)
    if answer.reasons:
        row["rule_ids"] = [rule for rule, _, _ in answer.reasons]
        row["reasons"] = [because for _, because, _ in answer.reasons]
        row["controls"] = sorted({control for _, _, controls in answer.reasons for control in controls})
    if atoms:
        row["atoms"] = atoms
    if answer.detail or found:
        details = {"detail": answer.detail} | found if answer.detail else found
        row["details"] = orjson.dumps(details).decode()
    if answer.bundle is not None:
        row["bundle_hash"] = answer.bundle
    if answer.approval is not None:
        row["approval_id"], row["approval_state"], _ = answer.approval
    if answer.session is not None:
        row["session_id"] = answer.session
    if workflow_id is not None:
        row["workflow_id"] = workflow_id
    if parent_agent_id is not None:
        row["parent_agent_id"] = parent_agent_id
    if record is not None and record.version:
        row["agent_version"] = record.version
    if request.resource_type == "tool":
        row["tool_name"] = request.resource_id
    if request.tool_call_id is not None:
        row["tool_call_id"] = request.tool_call_id
    if request.trace_id is not None:
        row["trace_id"] = request.trace_id
    if request.span_id is not None:
        row["span_id"] = request.span_id
    if facts is not None:
        if facts.system is not None:
            row["system"] = facts.system
        if facts.data is not None:
            row["data_classes"] = list(facts.data)
        if facts.boundary is not None:
            row["boundary"] = facts.boundary
    return row


@lru_cache(maxsize=4096)
def _boundary(key_id: str, subject_type: str, principal: str | None) -> str:
    boundary = {"key": key_id, "subject_type": subject_type}
    if principal is not None:
        boundary["principal"] = principal
    return orjson.dumps(boundary).decode()


def outcome_row(
    outcome: Outcome,
    decided: DecidedAction,
    *,
    event_id: str,
    time_us: int,
    session: str | None,
    bundle: str | None,
) -> EvidenceRow:
    """The evidence of what a permitted action came to."""
    details: dict[str, Any] = {
        "decision": outcome.decision_id,
        "complete": outcome.complete,
        "key": outcome.key_id,
        "witness": outcome.witness,
    }
    if outcome.labels:
        details["labels"] = list(outcome.labels)
    if outcome.result_digest is not None:
        details["result_digest"] = outcome.result_digest.hex()
    row = event(
        event_id=event_id, event_type="outcome", time_us=time_us, tenant=decided.tenant, details=details
    )
    _same_action(row, decided, session, bundle)
    row["outcome"] = outcome.status
    return row


def finding_row(
    decided: DecidedAction,
    *,
    event_id: str,
    time_us: int,
    session: str | None,
    reason_code: str,
    details: dict[str, Any],
) -> EvidenceRow:
    """Something that should not have happened, e.g. arguments executed that were not the ones allowed."""
    row = event(
        event_id=event_id, event_type="finding", time_us=time_us, tenant=decided.tenant, details=details
    )
    _same_action(row, decided, session, None)
    row["reason_code"] = reason_code
    return row


def overdue_row(
    tenant: str, agent_id: str, *, event_id: str, time_us: int, details: dict[str, Any]
) -> EvidenceRow:
    """Permitted actions of one agent of which nobody said in time what they came to."""
    row = event(event_id=event_id, event_type="finding", time_us=time_us, tenant=tenant, details=details)
    row["agent_id"] = agent_id
    row["reason_code"] = "outcome_overdue"
    return row


def _same_action(row: EvidenceRow, decided: DecidedAction, session: str | None, bundle: str | None) -> None:
    row["agent_id"] = decided.subject_id
    row["action"] = decided.action
    row["resource_type"] = decided.resource_type
    row["resource_id"] = decided.resource_id
    row["arguments_digest"] = bytes.fromhex(decided.evidence_digest)
    if decided.workflow_id is not None:
        row["workflow_id"] = decided.workflow_id
    if decided.resource_type == "tool":
        row["tool_name"] = decided.resource_id
    if session is not None:
        row["session_id"] = session
    if bundle is not None:
        row["bundle_hash"] = bundle


def session_row(
    *,
    event_id: str,
    event_type: str,
    time_us: int,
    tenant: str,
    agent_id: str,
    session: str,
    workflow_id: str,
    parent_agent_id: str | None,
    details: dict[str, Any],
) -> EvidenceRow:
    """`event_type`: session_opened, session_task, session_ended or delegation_created."""
    row = event(event_id=event_id, event_type=event_type, time_us=time_us, tenant=tenant, details=details)
    row["agent_id"] = agent_id
    row["session_id"] = session
    row["workflow_id"] = workflow_id
    if parent_agent_id is not None:
        row["parent_agent_id"] = parent_agent_id
    return row
