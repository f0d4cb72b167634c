"""Rows of evidence as a busy fleet leaves them: decisions in sessions, with ids and digests that nothing compresses."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Final

from evidence.landing import LogBatch
from evidence.record import EvidenceRow, canonical_bytes, leaf_hash

_BEGAN_US: Final = 1_790_000_000_000_000
_TOOLS: Final = (
    ("bank.transfer", "core-banking", "external", "allow", "treasury/payments"),
    ("crm.read_customer", "crm", "internal", "allow", "crm/reading"),
    ("mail.send", "mail", "external", "modify", "mail/no-cards"),
    ("files.delete", "storage", "internal", "deny", "storage/keep"),
    ("tickets.update", "tickets", "internal", "allow", "tickets/all"),
)


def decision(log_id: str, seq: int, rng: random.Random, *, step_us: int = 200) -> EvidenceRow:
    """One decision of a session: 33 of the columns filled, as `actors.evidence_rows` fills them."""
    tool, system, boundary, effect, rule = _TOOLS[rng.randrange(len(_TOOLS))]
    session = rng.randrange(100_000)
    time_us = _BEGAN_US + seq * step_us
    identity = uuid.UUID(int=(time_us // 1000) << 80 | 0x7 << 76 | 0x8 << 60 | rng.getrandbits(58))
    return EvidenceRow(
        event_id=str(identity),
        event_type="decision",
        schema_version=1,
        event_time=time_us,
        log_id=log_id,
        seq=seq,
        tenant_id="default",
        agent_id=f"agent-{session % 10_000:05}",
        agent_version="1.4.2",
        session_id=f"ses_{session:032x}",
        workflow_id=f"wf_{session // 3:032x}",
        trace_id=f"{rng.getrandbits(128):032x}",
        span_id=f"{rng.getrandbits(64):016x}",
        action="call",
        tool_name=tool,
        tool_call_id=f"call_{rng.getrandbits(96):024x}",
        resource_type="tool",
        resource_id=tool,
        system=system,
        data_classes=["personal"] if system == "crm" else [],
        boundary=boundary,
        decision=effect,
        enforced_action=effect,
        mode="enforce",
        reason_code=f"rule_{effect}",
        reasons=[f"{rule} says so"],
        rule_ids=[rule],
        controls=["eu-ai-act/14-4", "sox/itgc-sod"],
        bundle_hash="sha256:" + "5f" * 32,
        atoms=["leaves"] if boundary == "external" else [],
        authorization_boundary='{"key":"k_00000001","subject_type":"agent","principal":"user:anna"}',
        arguments=json.dumps(
            {"amount": "<number>", "to": f"string({rng.randrange(12, 34)})"}, separators=(",", ":")
        ),
        arguments_digest=rng.randbytes(32),
        duration_us=rng.randrange(300, 9_000),
        retention_class="standard",
    )


def batches(rows: int, *, size: int, logs: int = 2, seed: int = 1) -> Iterator[list[LogBatch]]:
    """What landing is handed, round after round: `size` rows of each log at a time, `rows` in all.

    Cost: 15 µs a row.
    """
    rng = random.Random(seed)
    for first in range(0, rows // logs, size):
        last = min(first + size, rows // logs) - 1
        yield [_batch(f"host-{index:03}.bench", first, last, rng) for index in range(logs)]


def _batch(log_id: str, first: int, last: int, rng: random.Random) -> LogBatch:
    canonicals = [canonical_bytes(decision(log_id, seq, rng)) for seq in range(first, last + 1)]
    return LogBatch(
        log_id=log_id,
        first_seq=first,
        last_seq=last,
        records=[(canonical, leaf_hash(canonical)) for canonical in canonicals],
    )
