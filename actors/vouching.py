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
from actors.records import AgentRecord
from controlplane.errors import NotFoundError, UnavailableError


def vouch(owner: Owner, digest: str | None, raw: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Check a batch of actions as far as it takes their agents' records.

    Args:
        digest: of the bundle that the batch was prepared with; nothing is evaluated here yet that depends on it.
        raw: `DecisionRequest` tuples.
    Returns: ``(BATCH, answers)``: ``(VOUCHED, *Vouch)``, or ``(STALE_RECORD, …)`` exactly as `deciding.decide` has it.
    Raises: JournalError: nobody is vouched for.
    Cost: one index lookup a batch; nothing is written.
    """
    fresh = _current(owner)
    requests = [DecisionRequest._make(item) for item in raw]
    answers: list[tuple[Any, ...]] = []
    for request, stale in zip(requests, stale_records(owner, requests), strict=True):
        if stale is not None:
            answers.append(stale)
            continue
        record = owner.record(request.tenant, request.subject_type, request.subject_id)
        answers.append((VOUCHED, *_said(record, fresh=fresh)))
    return (BATCH, answers)


def vouch_for_agent(owner: Owner, tenant: str, agent_id: str) -> tuple[Any, ...]:
    """A `Vouch` for an agent that is about to open a session elsewhere.

    Raises: NotFoundError: nobody has registered it. UnavailableError: the control store has not been heard of for too
        long. JournalError.
    """
    said = _said(owner.record(tenant, "agent", agent_id), fresh=_current(owner))
    match said.refusal:
        case None:
            return tuple(said)
        case "unknown_agent":
            raise NotFoundError(f"unknown agent `{agent_id}`: register it first", code="unknown_agent")
        case refusal:
            raise UnavailableError(f"the owner of agent `{agent_id}` cannot vouch for it now", code=refusal)


def _current(owner: Owner) -> bool:
    """Whether the owner has heard from the control store lately."""
    # INVARIANT (single owner): without a transaction nothing else would tell that our records are from the past.
    owner.journal.refuse_fenced()
    return owner.directory.fresh(now_s=owner.world.monotonic_us() / 1e6)


def _said(record: AgentRecord | None, *, fresh: bool) -> Vouch:
    return Vouch(
        record_version=record.record_version if record else 0,
        agent_version=record.version if record else "",
        refusal=(None if record else "unknown_agent") if fresh else "lease_expired",
        # The place of agent-scope clauses: evaluated, and what they count held until it is confirmed or cancelled.
        reservation=None,
    )
