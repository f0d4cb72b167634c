"""Evidence as OCSF events: API Activity (6003), decisions with the `security_control` profile. Pure.

Source: Open Cybersecurity Schema Framework 1.6.0, classes/api_activity and profiles/security_control. What has no place
there is in `unmapped`, under the table's own column names.
"""

from __future__ import annotations

from typing import Any, Final

from evidence.export.row import PERMITTED, PRODUCT, Row, decision_of, message, object_of, present, rfc3339

VERSION: Final = "1.6.0"
CATEGORY_UID: Final = 6
CLASS_UID: Final = 6003

_ACTIVITIES: Final = {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"}
# What operators and time did, by the end of the event type's name.
_ACTIVITY_OF: Final = {
    "created": 1, "registered": 1, "claimed": 1, "opened": 1, "requested": 1, "stored": 1, "revoked": 4, "removed": 4,
    "ended": 4, "expired": 4, "cancelled": 4, "released": 4,
}  # fmt: skip
_SEVERITIES: Final = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
# decision → (action_id, action, disposition_id, disposition)
_CONTROL: Final = {
    "allow": (1, "Allowed", 1, "Allowed"),
    "deny": (2, "Denied", 2, "Blocked"),
    "modify": (4, "Modified", 11, "Corrected"),
    "escalate": (2, "Denied", 14, "Delayed"),
}
_FOUND: Final = (3, "Observed", 15, "Detected")
_SEVERITY_OF: Final = {"deny": 3, "escalate": 2}
_STATUS: Final = {"succeeded": (1, "Success"), "failed": (2, "Failure"), "not_executed": (99, "Not executed")}
_UNMAPPED: Final = (
    "agent_version", "workflow_id", "parent_agent_id", "trace_id", "span_id", "tool_call_id", "boundary",
    "enforced_action", "mode", "controls", "atoms", "risk_steps", "approval_id", "approval_state", "approver_id",
    "retention_class", "schema_version",
)  # fmt: skip


def event(row: Row, *, product_version: str, with_arguments: bool = False) -> dict[str, Any]:
    """One row as an API Activity event.

    Args:
        product_version: of this software.
        with_arguments: also the arguments, as masked as they are in the row.
    Returns: a JSON object; `metadata.uid` is the event's id, the same whenever it is exported.
    Cost: about 20 µs.
    """
    details, boundary = object_of(row["details"]), object_of(row["authorization_boundary"])
    kind = row["event_type"]
    activity = (
        99 if kind in ("decision", "outcome", "finding") else _ACTIVITY_OF.get(kind.rpartition("_")[2], 3)
    )
    severity = 4 if kind == "finding" else _SEVERITY_OF.get(row["decision"], 1)
    by_agent = kind in ("decision", "outcome", "finding") or kind.startswith(("session_", "delegation_"))
    found = {
        "class_uid": CLASS_UID,
        "class_name": "API Activity",
        "category_uid": CATEGORY_UID,
        "category_name": "Application Activity",
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity] if activity != 99 else row["action"] or kind,
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"API Activity: {_ACTIVITIES[activity]}",
        "time": row["event_time"] // 1000,
        "timezone_offset": 0,
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "message": message(row),
        "duration": None if row["duration_us"] is None else row["duration_us"] // 1000,
        "metadata": _metadata(row, product_version),
        "actor": _actor(row, details, boundary, by_agent=by_agent),
        "src_endpoint": {"svc_name": row["agent_id"] if by_agent and row["agent_id"] else PRODUCT},
        "api": _api(row, decision_of(row, details), by_agent=by_agent),
        "resources": _resources(row),
        **_status(row),
        **_control(row),
    }
    unmapped = {name: row[name] for name in _UNMAPPED} | {
        "arguments_digest": None if row["arguments_digest"] is None else row["arguments_digest"].hex(),
        "leaf_hash": row["leaf_hash"].hex(),
        "duration_us": row["duration_us"],
        "reason_code": row["reason_code"],
        "details": details,
        "arguments": row["arguments"] if with_arguments else None,
    }
    return present(found | {"unmapped": present(unmapped)})


def _metadata(row: Row, product_version: str) -> dict[str, Any]:
    return present(
        {
            "version": VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": product_version},
            "profiles": ["security_control"] if row["decision"] or row["event_type"] == "finding" else [],
            "uid": row["event_id"],
            "event_code": row["event_type"],
            "log_name": row["log_id"],
            "sequence": row["seq"],
            "original_time": rfc3339(row["event_time"]),
            "logged_time": row["ingest_time"] // 1000,
            "tenant_uid": row["tenant_id"],
            "correlation_uid": row["workflow_id"],
        }
    )


def _actor(row: Row, details: dict[str, Any], boundary: dict[str, Any], *, by_agent: bool) -> dict[str, Any]:
    """Who acted: the agent, on a principal's behalf; or whoever changed something."""
    if by_agent:
        user = boundary.get("principal")
        app = row["agent_id"] or PRODUCT
    else:
        user = row["approver_id"] or next(
            (details[k] for k in ("by", "actor", "key") if details.get(k)), None
        )
        app = PRODUCT
    return present(
        {
            "app_uid": app,
            "app_name": app,
            "session": present({"uid": row["session_id"]}),
            "user": {"uid": user, "name": user} if isinstance(user, str) else None,
        }
    )


def _api(row: Row, decision: str | None, *, by_agent: bool) -> dict[str, Any]:
    operation = (row["tool_name"] or row["action"] or row["event_type"]) if by_agent else row["event_type"]
    return present(
        {
            "operation": operation,
            "service": present({"name": row["system"] if by_agent else PRODUCT}),
            # The same of a decision and of its outcome: what joins them.
            "request": present({"uid": decision}),
        }
    )


def _resources(row: Row) -> list[dict[str, Any]]:
    if not row["resource_id"]:
        return []
    name = row["resource_id"]
    return [present({"uid": name, "name": name, "type": row["resource_type"], "labels": row["data_classes"]})]


def _status(row: Row) -> dict[str, Any]:
    if row["decision"] is not None:
        status, said = (1, "Success") if row["decision"] in PERMITTED else (2, "Failure")
    elif row["outcome"] is not None:
        status, said = _STATUS.get(row["outcome"], (99, row["outcome"]))
    else:
        return {}
    return present({"status_id": status, "status": said, "status_code": row["reason_code"]})


def _control(row: Row) -> dict[str, Any]:
    """The `security_control` profile."""
    if row["event_type"] == "finding":
        control = _FOUND
    elif row["decision"] is not None:
        control = _CONTROL[row["decision"]]
    else:
        return {}
    action_id, action, disposition_id, disposition = control
    rules, reasons = row["rule_ids"] or [], row["reasons"] or []
    said = [reasons[place] if place < len(reasons) else None for place in range(len(rules))]
    return {
        "action_id": action_id,
        "action": action,
        "disposition_id": disposition_id,
        "disposition": disposition,
        "is_alert": row["event_type"] == "finding" or row["decision"] == "deny",
        "policy": present({"uid": row["bundle_hash"], "name": ", ".join(rules)}),
        "authorizations": [
            {"decision": action.lower(), "policy": present({"name": rule, "uid": rule, "desc": because})}
            for rule, because in zip(rules, said, strict=True)
        ],
    }
