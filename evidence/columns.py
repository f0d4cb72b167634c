"""The columns of the evidence table: names, types, which may be null, and what each one means.

This list is a contract (docs/evidence-format.md, tests/unit/evidence/test_columns.py): a column is never
renamed or removed and never changes its type; a new one is nullable and raises `SCHEMA_VERSION`.
Names follow OpenTelemetry GenAI and OCSF where those have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

import pyarrow as pa

SCHEMA_VERSION: Final = 1

DECISIONS: Final = frozenset({"allow", "deny", "modify", "escalate"})

# Columns that say something about the row's landing rather than about the event: no leaf covers them.
UNCOVERED: Final = frozenset({"leaf_hash", "ingest_time"})


class EvidenceRow(TypedDict, total=False):
    """One event before it becomes canonical: every column but `event_date` (it follows from `event_time`),
    `ingest_time` and `leaf_hash`. A null column is left out; an empty list is not null.

    Times are integers, microseconds since 1970-01-01T00:00:00Z; `json` columns hold JSON text.
    """

    event_id: str
    event_type: str
    schema_version: int
    event_time: int
    log_id: str
    seq: int
    tenant_id: str
    agent_id: str
    agent_version: str
    session_id: str
    workflow_id: str
    parent_agent_id: str
    trace_id: str
    span_id: str
    action: str
    tool_name: str
    tool_call_id: str
    resource_type: str
    resource_id: str
    system: str
    data_classes: list[str]
    boundary: str
    decision: str
    enforced_action: str
    mode: str
    reason_code: str
    reasons: list[str]
    rule_ids: list[str]
    controls: list[str]
    bundle_hash: str
    atoms: list[str]
    authorization_boundary: str
    arguments: str
    arguments_digest: bytes
    risk_steps: int
    approval_id: str
    approval_state: str
    approver_id: str
    outcome: str
    duration_us: int
    retention_class: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table; `comment` is stored in the Delta schema, for whoever opens the table later."""

    name: str
    type: pa.DataType
    comment: str
    required: bool = False


_DATE = pa.date32()
_TIME = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
_INT = pa.int32()
_LONG = pa.int64()
_BYTES = pa.binary()


def _required(name: str, type_: pa.DataType, comment: str) -> Column:
    return Column(name=name, type=type_, comment=comment, required=True)


def _optional(name: str, type_: pa.DataType, comment: str) -> Column:
    return Column(name=name, type=type_, comment=comment)


COLUMNS: Final[tuple[Column, ...]] = (
    _required("event_date", _DATE, "UTC date of event_time; the partition"),
    _required("event_id", _TEXT, "UUIDv7 of the event; of a decision: the decision id"),
    _required("event_type", _TEXT, "what happened: decision, outcome, session_opened, bundle_activated, ..."),
    _required("schema_version", _INT, "version of this list of columns when the event was journalled"),
    _required(
        "event_time", _TIME, "when it happened, by the clock of the log's owner; never goes back in a log"
    ),
    _required("ingest_time", _TIME, "when the row landed in this table; not covered by leaf_hash"),
    _required("log_id", _TEXT, "the log (one for each journal) that the event belongs to"),
    _required("seq", _LONG, "position in the log: 0, 1, 2, ... without gaps"),
    _required("tenant_id", _TEXT, "tenant of the deployment"),
    _optional("agent_id", _TEXT, "agent that acted or that the event is about (gen_ai.agent.id)"),
    _optional("agent_version", _TEXT, "version of the agent as registered (gen_ai.agent.version)"),
    _optional("session_id", _TEXT, "one run of one agent (gen_ai.conversation.id)"),
    _optional("workflow_id", _TEXT, "all sessions that descend from one root by delegation"),
    _optional("parent_agent_id", _TEXT, "agent that delegated to this one"),
    _optional("trace_id", _TEXT, "W3C trace id, 32 hexadecimal digits, as the caller gave it"),
    _optional("span_id", _TEXT, "W3C span id, 16 hexadecimal digits, as the caller gave it"),
    _optional("action", _TEXT, "name of the action that was asked for, or of the operator's action"),
    _optional("tool_name", _TEXT, "id of the tool, when the resource is one (gen_ai.tool.name)"),
    _optional(
        "tool_call_id", _TEXT, "the model's id of the call, as the caller gave it (gen_ai.tool.call.id)"
    ),
    _optional("resource_type", _TEXT, "type of the resource acted upon"),
    _optional("resource_id", _TEXT, "id of the resource acted upon"),
    _optional("system", _TEXT, "system that the resource belongs to, from the catalog; null = unknown"),
    _optional(
        "data_classes", _TEXTS, "data classes, from the catalog; null = unknown, empty = known to be none"
    ),
    _optional("boundary", _TEXT, "which boundary the action crosses, from the catalog; null = unknown"),
    _optional("decision", _TEXT, "allow, deny, modify or escalate; null for events that decide nothing"),
    _optional(
        "enforced_action", _TEXT, "what took effect, when a monitoring mode makes it differ from decision"
    ),
    _optional("mode", _TEXT, "enforce, monitor or shadow"),
    _optional("reason_code", _TEXT, "stable code of why, e.g. rule_deny or default_deny"),
    _optional("reasons", _TEXTS, "why, in the words of the rules that matched"),
    _optional("rule_ids", _TEXTS, "policy/rule of each rule that matched, in the order of their reasons"),
    _optional("controls", _TEXTS, "controls that the matched rules implement, e.g. gdpr/32"),
    _optional("bundle_hash", _TEXT, "sha256 digest of the bundle that was evaluated"),
    _optional(
        "atoms",
        _TEXTS,
        "atoms of the bundle that were true of the action; a `define` with a condition that no rule asks for is not "
        "evaluated and never listed",
    ),
    _optional("authorization_boundary", _TEXT, "JSON: what the agent was entitled to at that moment"),
    _optional("arguments", _TEXT, "JSON: the arguments, masked where the catalog does not say otherwise"),
    _optional(
        "arguments_digest", _BYTES, "32 bytes: keyed digest (HMAC-SHA-256) of the arguments' RFC 8785 form"
    ),
    _optional("risk_steps", _INT, "how few permitted actions the session was away from a hazard"),
    _optional("approval_id", _TEXT, "approval that was asked for or given"),
    _optional("approval_state", _TEXT, "state of that approval"),
    _optional("approver_id", _TEXT, "who approved or refused"),
    _optional("outcome", _TEXT, "succeeded, failed or not_executed"),
    _optional("duration_us", _LONG, "how long it took, microseconds"),
    _optional("retention_class", _TEXT, "`standard`; how long rows are kept is set for the whole deployment"),
    _optional("details", _TEXT, "JSON: what belongs to this event type alone"),
    _required(
        "leaf_hash", _BYTES, "32 bytes: SHA-256(0x00 || canonical bytes), the leaf in the log's Merkle tree"
    ),
)

SCHEMA: Final[pa.Schema] = pa.schema(
    [pa.field(column.name, column.type, nullable=not column.required) for column in COLUMNS]
)
COMMENTS: Final[dict[str, str]] = {column.name: column.comment for column in COLUMNS}
