"""Sample rows for the evidence tests: one that fills every column, and logs of any length."""

from __future__ import annotations

from evidence.landing import LogBatch
from evidence.record import EvidenceRow, canonical_bytes, leaf_hash

DAY_US = 86_400_000_000
NOON_US = 20_700 * DAY_US + DAY_US // 2  # 2026-09-04T12:00:00Z


def full_row(**changes: object) -> EvidenceRow:
    """Every column filled."""
    row = EvidenceRow(
        event_id="01991f3a-5c00-7000-8000-0000000000aa",
        event_type="decision",
        schema_version=1,
        event_time=NOON_US,
        log_id="host-000",
        seq=0,
        tenant_id="default",
        agent_id="treasury-bot",
        agent_version="1.2.0",
        session_id="ses_1",
        workflow_id="wf_1",
        parent_agent_id="planner",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        action="call",
        tool_name="payments.transfer",
        tool_call_id="call_1",
        resource_type="tool",
        resource_id="payments.transfer",
        system="core-banking",
        data_classes=[],
        boundary="external",
        decision="deny",
        enforced_action="deny",
        mode="enforce",
        reason_code="rule_deny",
        reasons=['Grüße, "quoted"\n\ttabbed \u2028 \x7f 🚫', ""],
        rule_ids=["treasury/large-transfer"],
        controls=["sox/itgc-sod", "eu-ai-act/14-4"],
        bundle_hash="sha256:" + "ab" * 32,
        atoms=["leaves"],
        authorization_boundary='{"tools":["payments.*"]}',
        arguments='{"amount":"<number>"}',
        arguments_digest=bytes(range(32)),
        risk_steps=2,
        approval_id="apr_1",
        approval_state="pending",
        approver_id="user/ada",
        outcome="succeeded",
        duration_us=1234,
        retention_class="standard",
        details="{}",
    )
    row.update(changes)  # type: ignore[typeddict-item]
    return row


def small_row(**changes: object) -> EvidenceRow:
    """Only what every row has."""
    row = EvidenceRow(
        event_id="01991f3a-5c00-7000-8000-000000000000",
        event_type="finding",
        schema_version=1,
        event_time=NOON_US,
        log_id="host-000",
        seq=0,
        tenant_id="default",
    )
    row.update(changes)  # type: ignore[typeddict-item]
    return row


def record(row: EvidenceRow) -> tuple[bytes, bytes]:
    canonical = canonical_bytes(row)
    return canonical, leaf_hash(canonical)


def log(first: int, last: int, *, log_id: str = "host-000", step_us: int = 1000) -> LogBatch:
    """Records `first` to `last` of a log, `step_us` apart; the same ones whenever they are asked for."""
    rows = (
        full_row(log_id=log_id, seq=seq, event_id=f"{log_id}-{seq}", event_time=NOON_US + seq * step_us)
        for seq in range(first, last + 1)
    )
    return LogBatch(log_id=log_id, first_seq=first, last_seq=last, records=[record(row) for row in rows])
