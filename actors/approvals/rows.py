"""What is told of approvals: evidence rows, notices for channels, and the task as the doors show it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from actors import evidence_rows
from actors.approvals.task import APPROVED, Task
from actors.ids import subject_of_key
from evidence.record import EvidenceRow

REQUESTED: Final = "approval_requested"
GRANTED: Final = "approval_granted"
DENIED: Final = "approval_denied"
DELEGATED: Final = "approval_delegated"
COMMENTED: Final = "approval_commented"
EXPIRED: Final = "approval_expired"
CANCELLED: Final = "approval_cancelled"
CONSUMED: Final = "approval_consumed"
ESCALATED: Final = "approval_escalated"
REMINDED: Final = "approval_reminded"
VALUE_REVOKED: Final = "approval_value_revoked"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(us: int) -> str:
    """RFC 3339, in UTC."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")[:-6] + "Z"


def row(
    task: Task,
    event_type: str,
    *,
    event_id: str,
    time_us: int,
    approver: str | None,
    details: dict[str, Any],
) -> EvidenceRow:
    """The evidence of one event. Args: details: who did it (`actor` or `key`) and why (`comment`); no argument."""
    _, subject_type, subject_id = subject_of_key(task.agent)
    found = evidence_rows.event(
        event_id=event_id,
        event_type=event_type,
        time_us=time_us,
        tenant=task.tenant,
        details={"decision": task.decision, "subject_type": subject_type, **details},
    )
    found["agent_id"] = subject_id
    found["session_id"] = task.session
    if task.workflow is not None:
        found["workflow_id"] = task.workflow
    found["action"] = task.action
    found["resource_type"] = task.resource_type
    found["resource_id"] = task.resource_id
    if task.resource_type == "tool":
        found["tool_name"] = task.resource_id
    found["rule_ids"] = [rule.rule for rule in task.rules]
    found["reasons"] = [rule.because for rule in task.rules]
    found["controls"] = sorted({control for rule in task.rules for control in rule.controls})
    if task.bundle is not None:
        found["bundle_hash"] = task.bundle
    found["arguments"] = task.masked
    found["arguments_digest"] = bytes.fromhex(task.evidence_digest)
    found["approval_id"] = task.id
    found["approval_state"] = "used" if task.used_by else task.state
    if approver is not None:
        found["approver_id"] = approver
    return found


def value_row(
    entry: dict[str, Any], tenant: str, *, event_id: str, time_us: int, details: dict[str, Any]
) -> EvidenceRow:
    """The evidence of a value that is approved no more. Args: entry: what is shown of it."""
    found = evidence_rows.event(
        event_id=event_id, event_type=VALUE_REVOKED, time_us=time_us, tenant=tenant, details=details
    )
    found["agent_id"] = entry["agent"]
    found["action"] = entry["action"]
    found["resource_type"], found["resource_id"] = entry["resource"]["type"], entry["resource"]["id"]
    found["rule_ids"] = [entry["rule"]]
    found["approval_id"] = entry["approval"]
    return found


def notice(
    task: Task, event_type: str, *, time_us: int, to: list[str], actor: str, comment: str
) -> dict[str, Any]:
    """What channels are told of an event."""
    shown = shown_task(task)
    return {
        "event": event_type,
        "tenant": task.tenant,
        "at": time_of(time_us),
        "task": shown,
        "to": to,
        "actor": actor,
        "comment": comment,
    }


def shown_task(task: Task, arguments: bytes | None = None) -> dict[str, Any]:
    """A task as JSON. Args: arguments: JSON of the arguments, for whoever may see them."""
    _, subject_type, subject_id = subject_of_key(task.agent)
    shown: dict[str, Any] = {
        "id": task.id,
        "state": task.state,
        "agent": subject_id,
        "subject_type": subject_type,
        "session": task.session,
        "workflow": task.workflow,
        "action": task.action,
        "resource": {"type": task.resource_type, "id": task.resource_id},
        "masked_arguments": orjson.loads(task.masked),
        "justification": task.justification,
        "rules": [
            {
                "rule": rule.rule,
                "because": rule.because,
                "controls": list(rule.controls),
                "by": list(rule.terms.by),
                "then_to": list(rule.terms.then_to),
                "quorum": rule.terms.quorum,
                "approvals": [
                    {
                        "approver": given.approver,
                        "at": time_of(given.at_us),
                        "comment": given.comment,
                        **({} if given.seat == given.approver else {"in_place_of": given.seat}),
                    }
                    for given in rule.given
                ],
                "values": [{"at": at, "shown": ends} for _, ends, at in rule.values],
            }
            for rule in task.rules
        ],
        "requested_at": time_of(task.requested_us),
        "expires_at": time_of(task.expires_us),
        "created_by": task.created_by,
        "decision_id": task.decision,
        "comments": [{"by": one.by, "at": time_of(one.at_us), "text": one.text} for one in task.comments],
        "delegated": [
            {"from": one.seat, "to": one.to, "until": time_of(one.until_us)} for one in task.delegated
        ],
        "narrowed": task.narrowed,
    }
    if arguments is not None:
        shown["arguments"] = orjson.loads(arguments)
        if task.narrowed:
            shown["approved_arguments"] = shown["arguments"]
    if task.state == APPROVED:
        shown["approved_at"] = time_of(max(given.at_us for rule in task.rules for given in rule.given))
    if task.ended_by:
        shown["ended_by"] = task.ended_by
        shown["ended_comment"] = task.ended_comment
    if task.used_by:
        shown["used"] = {"decision": task.used_by, "at": time_of(task.used_us)}
    return shown
