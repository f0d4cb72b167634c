"""Vouching: what an agent's home owner says of an action that the owner of a workflow elsewhere is to decide.

Records live at home alone, and so does the past of all of an agent's sessions together. No owner waits for another: the
replica asks first here, then there, and carries the answers (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors import reservations
from actors.deciding import stale_records, unable
from actors.messages import BATCH, STALE_BUNDLE, VOUCHED, DecisionRequest, Reserved, Vouch
from actors.owner import EvidenceBacklogError, Owner
from actors.records import AgentRecord
from actors.stops import stopping
from controlplane.errors import NotFoundError, UnavailableError
from policies.stops import STOPPED


def vouch(owner: Owner, digest: str | None, raw: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Check a batch of actions as far as it takes their agents' records and pasts.

    Args:
        digest: of the bundle that the batch was prepared with.
        raw: `DecisionRequest` tuples.
    Returns: ``(BATCH, answers)``: ``(VOUCHED, *Vouch)``, or ``(STALE_RECORD, …)`` exactly as `deciding.decide` has it;
        or, as that has it, ``(STALE_BUNDLE, digest)``. What is reserved is durable.
    Raises: JournalError: nobody is vouched for.
    Cost: one index lookup a batch; where something is reserved, one fsync a batch.
    """
    fresh = _current(owner)
    current = owner.active.digest if owner.active else None
    # INVARIANT (agreement): clauses are numbered, and so are atoms; what is found here must mean the same there.
    if digest != owner.activation.digest or digest != current:
        return (STALE_BUNDLE, owner.activation.digest)
    requests = [DecisionRequest._make(item) for item in raw]
    book = reservations.Book(owner.event_time())
    answers: list[tuple[Any, ...]] = []
    try:
        for request, stale in zip(requests, stale_records(owner, requests), strict=True):
            answers.append(
                (VOUCHED, *_vouched(owner, request, book, fresh=fresh)) if stale is None else stale
            )
        book.save(owner)
    except BaseException:
        # INVARIANT (forgotten): what did not become durable is not remembered either.
        owner.forget_memory()
        raise
    return (BATCH, answers)


def _vouched(owner: Owner, request: DecisionRequest, book: reservations.Book, *, fresh: bool) -> Vouch:
    record = owner.record(request.tenant, request.subject_type, request.subject_id)
    said = _said(record, fresh=fresh)
    refusal = said.refusal or unable(owner, request, book.time)
    if refusal is None:
        # What an agent is registered with stands here alone; so a stop is looked for here, too.
        halted = stopping.halted(owner, request, record, None, book.time.us)
        if halted is not None:
            return said._replace(refusal=STOPPED, halted=(halted.stop, halted.detail))
    if refusal is None and owner.backlogged():
        refusal = EvidenceBacklogError.code
    if refusal is None:
        held = reservations.reserve(owner, request, book)
        if isinstance(held, Reserved):
            return said._replace(reservation=tuple(held))
        refusal = held
    return said._replace(refusal=refusal)


def vouch_for_agent(owner: Owner, tenant: str, agent_id: str) -> tuple[Any, ...]:
    """A `Vouch` for an agent that is about to open a session elsewhere.

    Raises: NotFoundError: nobody has registered it. UnavailableError: the control store has not been heard of for too
        long. ForbiddenError: it is stopped. JournalError.
    """
    record = owner.record(tenant, "agent", agent_id)
    said = _said(record, fresh=_current(owner))
    match said.refusal:
        case None:
            stopping.refuse(owner, tenant, "agent", agent_id, record, None)
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
        reservation=None,
        owner=record.owner if record else None,
    )
