"""Requests to an owner as a replica would send them, for benchmarks that leave the replica out."""

from __future__ import annotations

from actors.messages import DecisionRequest
from policies.prepare import Prepared


def decision_request(
    agent: str,
    version: int,
    tool: str,
    prepared: Prepared,
    *,
    now_us: int,
    masked_arguments: str,
    deadline_us: int = 60_000_000,
    session: str | None = None,
) -> tuple[object, ...]:
    """One agent's call of a tool.

    Args:
        version: of the agent's record.
        deadline_us: how long after `now_us`.
        session: None = outside of any.
    """
    return tuple(
        DecisionRequest(
            tenant="default",
            subject_type="agent",
            subject_id=agent,
            record_version=version,
            session=session,
            action="call",
            resource_type="tool",
            resource_id=tool,
            possibly=prepared.possibly,
            certainly=prepared.certainly,
            refusal=prepared.refusal,
            detail=prepared.detail,
            arguments_digest=b"d" * 32,
            evidence_digest=b"e" * 32,
            masked_arguments=masked_arguments,
            idempotency_key=None,
            deadline_us=now_us + deadline_us,
            received_us=now_us,
            dry_run=False,
            key_id="bench",
            trace_id=None,
            span_id=None,
            tool_call_id=None,
            group=0,
            stop_on=None,
            measures=prepared.measures,
            units=None if prepared.units is None else tuple(tuple(unit) for unit in prepared.units),
            objects=prepared.objects,
        )
    )
