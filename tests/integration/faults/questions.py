"""What a client asks on the wire, and what it makes of the answer."""

from __future__ import annotations

import time
from typing import Any

from integration.faults.record import Told


def question(agent: str, amount: int, call: str, key: str | None) -> dict[str, Any]:
    context = {"arguments": {"to": "a", "amount": amount}, "tool_call_id": call}
    if key is not None:
        context["idempotency_key"] = key
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.pay"},
        "context": context,
    }


def told_of(
    agent: str,
    amount: int,
    call: str,
    key: str | None,
    deadline_ms: int,
    sent_s: float,
    status: int,
    answer: dict[str, Any],
) -> Told:
    found = answer.get("context", {})
    error = answer.get("error") or found.get("error") or {}
    told = Told(
        agent=agent,
        call=call,
        key=key,
        may=amount <= 1000,
        deadline_s=deadline_ms / 1000,
        sent_s=sent_s,
        ended_s=time.monotonic(),
        status=status,
        id=found.get("id", ""),
        effect=found.get("effect", ""),
        reason=found.get("reason_code", "") or str(error.get("code", "")),
        bundle=found.get("bundle", ""),
        replayed=found.get("replayed", False),
    )
    assert answer.get("decision", False) == told.permitted, answer
    return told
