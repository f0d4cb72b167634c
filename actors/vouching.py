"""Vouching: what an agent's home owner says of an action that the owner of a workflow elsewhere is to decide.

Records live at home alone, and so will whatever counts all of an agent's sessions together. No owner waits for
another: the replica asks first here, then there, and carries the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.deciding import stale_records
from actors.messages import BATCH, VOUCHED, DecisionRequest, Vouch
from actors.owner import Owner


def vouch(owner: Owner, digest: str | None, raw: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Check a batch of actions as far as it takes their agents' records.

    Args:
        digest: of the bundle that the batch was prepared with; nothing is evaluated here yet that depends on it.
        raw: `DecisionRequest` tuples.
    Returns: ``(BATCH, answers)``: ``(VOUCHED, *Vouch)``, or ``(STALE_RECORD, …)`` exactly as `deciding.decide` has it.
    Raises: JournalError: nobody is vouched for.
    Cost: one index lookup a batch; nothing is written.
    """
    # INVARIANT (single owner): without a transaction nothing else would tell that our records are from the past.
    owner.journal.refuse_fenced()
    requests = [DecisionRequest._make(item) for item in raw]
    fresh = owner.directory.fresh(now_s=owner.world.monotonic_us() / 1e6)
    answers: list[tuple[Any, ...]] = []
    for request, stale in zip(requests, stale_records(owner, requests), strict=True):
        if stale is not None:
            answers.append(stale)
            continue
        record = owner.record(request.tenant, request.subject_type, request.subject_id)
        said = Vouch(
            record_version=request.record_version,
            agent_version=record.version if record else "",
            refusal=(None if record else "unknown_agent") if fresh else "lease_expired",
            # The place of agent-scope clauses: evaluated, and what they count held, until it is confirmed or cancelled.
            reservation=None,
        )
        answers.append((VOUCHED, *said))
    return (BATCH, answers)
