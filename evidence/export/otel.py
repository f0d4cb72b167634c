"""Evidence as OpenTelemetry log records in OTLP/JSON, with `gen_ai.*` attributes where those exist. Pure.

Source: OpenTelemetry protocol 1.x, JSON encoding (ids in hexadecimal, 64-bit integers as text), and the semantic
conventions for generative AI. What has no name there is `controlplane.<column>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from evidence.export.row import PRODUCT, Row, decision_of, message, object_of, present

SCOPE: Final = "controlplane.evidence"

_NAMES: Final = {
    "event_id": "log.record.uid",
    "agent_id": "gen_ai.agent.id",
    "agent_version": "gen_ai.agent.version",
    "session_id": "gen_ai.conversation.id",
    "tool_name": "gen_ai.tool.name",
    "tool_call_id": "gen_ai.tool.call.id",
}
_OWN: Final = (
    "event_type", "schema_version", "log_id", "seq", "tenant_id", "workflow_id", "parent_agent_id", "action",
    "resource_type", "resource_id", "system", "data_classes", "boundary", "decision", "enforced_action", "mode",
    "reason_code", "reasons", "rule_ids", "controls", "bundle_hash", "atoms", "authorization_boundary", "risk_steps",
    "approval_id", "approval_state", "approver_id", "outcome", "duration_us", "retention_class", "details",
    "arguments_digest", "leaf_hash",
)  # fmt: skip
_ATTRIBUTES: Final = (
    *((name, column) for column, name in _NAMES.items()),
    *((f"{PRODUCT}.{column}", column) for column in _OWN),
)
_INFO: Final = (9, "INFO")
_WARN: Final = (13, "WARN")
_ERROR: Final = (17, "ERROR")
_SEVERITY_OF: Final = {"deny": _WARN, "escalate": _WARN}
_TRACE: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")


def record(row: Row, *, with_arguments: bool = False) -> dict[str, Any]:
    """One row as a `LogRecord`.

    Args: with_arguments: also the arguments, as masked as they are in the row.
    Returns: a JSON object; the attribute `log.record.uid` is the event's id, the same whenever it is exported.
    Cost: about 20 µs.
    """
    details, boundary = object_of(row["details"]), object_of(row["authorization_boundary"])
    number, text = _ERROR if row["event_type"] == "finding" else _SEVERITY_OF.get(row["decision"], _INFO)
    if row["outcome"] == "failed":
        number, text = _WARN
    principal = boundary.get("principal")
    values = [
        ("gen_ai.operation.name", "execute_tool" if row["tool_name"] is not None else None),
        ("user.id", principal if isinstance(principal, str) else None),
        ("gen_ai.tool.call.arguments", row["arguments"] if with_arguments else None),
        (f"{PRODUCT}.decision_id", decision_of(row, details)),
        *((key, row[column]) for key, column in _ATTRIBUTES),
    ]
    trace = row["trace_id"] if row["trace_id"] and _TRACE.fullmatch(row["trace_id"]) else None
    span = row["span_id"] if trace and row["span_id"] and _SPAN.fullmatch(row["span_id"]) else None
    return present(
        {
            "timeUnixNano": str(row["event_time"] * 1000),
            "observedTimeUnixNano": str(row["ingest_time"] * 1000),
            "severityNumber": number,
            "severityText": text,
            "eventName": f"{PRODUCT}.{row['event_type']}",
            "body": {"stringValue": message(row)},
            # An empty list says that there is nothing, null that nobody knows.
            "attributes": [
                {"key": key, "value": _value(value)} for key, value in values if value is not None
            ],
            "traceId": trace,
            "spanId": span,
        }
    )


def request(records: Sequence[dict[str, Any]], *, product_version: str) -> dict[str, Any]:
    """Records as one `ExportLogsServiceRequest`, which is one line of a file that a collector reads."""
    resource = [
        {"key": "service.name", "value": {"stringValue": PRODUCT}},
        {"key": "service.version", "value": {"stringValue": product_version}},
    ]
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": resource},
                "scopeLogs": [
                    {"scope": {"name": SCOPE, "version": product_version}, "logRecords": list(records)}
                ],
            }
        ]
    }


def _value(value: str | int | bytes | list[str]) -> dict[str, Any]:
    kind = type(value)  # the table's four: asked by type, because this is most of an export's time
    if kind is str:
        return {"stringValue": value}
    if kind is int:
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": item} for item in value]}}
    return {"stringValue": value.hex() if isinstance(value, bytes) else str(value)}
