"""What a batch of decisions leaves behind: evidence, its place in the past, the sessions' use, the replays."""

from __future__ import annotations

from typing import Any

import orjson

from actors import delegations, evidence_rows, modifying, remembering, shadowing, tracing
from actors.agent_journal import save_decisions
from actors.journal import Transaction
from actors.live_agent import LiveAgent, Seen, SeenKey, Session
from actors.messages import Decided, DecidedAction, DecisionRequest
from actors.owner import Owner
from actors.owner_clock import EventTime
from actors.past_journal import HistoryRow
from actors.pasts import Name
from actors.records import AgentRecord
from actors.remembering import Met
from actors.sessions import principal_of
from actors.uses import Used
from policies.effect import Effect
from policies.rewriting import REWRITE_REFUSED


class Step:
    """What one batch writes, collected so that each table is written once. `used`: for `Uses.remember`."""

    def __init__(self, time: EventTime) -> None:
        self.time = time
        self.sessions: dict[tuple[str, str], Session] = {}
        self.seen: dict[tuple[str, SeenKey], Seen] = {}
        self.decisions: list[tuple[Any, ...]] = []
        self.bound: dict[tuple[str, str], tuple[bytes, bytes, str | None]] = {}
        self.stopped_groups: set[int] = set()
        self.waiting_groups: set[int] = set()
        self.reservations: set[str] = set()
        self.history: list[HistoryRow] = []
        self.pasts: dict[Name, None] = {}
        self.shadow_pasts: dict[Name, None] = {}
        self.used: Used = []

    def save(self, owner: Owner, transaction: Transaction) -> None:
        self.used = owner.uses.write(
            transaction,
            [(key, session) for (key, _), session in self.sessions.items()],
            [(key, seen_key, seen) for (key, seen_key), seen in self.seen.items()],
        )
        save_decisions(transaction, self.decisions)
        if self.history:
            owner.pasts.record(transaction, self.history)
        if self.pasts:
            owner.pasts.save(transaction, self.pasts, now_us=self.time.us)
        owner.origins.save(transaction, now_us=self.time.us)
        owner.tallies.save(transaction)
        if self.shadow_pasts and owner.shadow is not None:
            recorded = owner.pasts.newest()
            owner.shadow.pasts.save(transaction, self.shadow_pasts, now_us=self.time.us, recorded=recorded)
        transaction.set_meta("event_time_us", self.time.us)


def keep(
    owner: Owner,
    key: str,
    agent: LiveAgent,
    record: AgentRecord | None,
    session: Session | None,
    request: DecisionRequest,
    answer: Decided,
    met: Met,
    found: dict[str, Any],
    step: Step,
    transaction: Transaction,
    *,
    bind: bool,
    escalated: str | None = None,
) -> None:
    """Everything that a decision leaves behind: evidence, its place in the past, the session's use, the replay.

    Args: escalated: what can be asked to be approved.
    """
    now_us = step.time.us
    active = owner.active
    watched = shadowing.NOTHING
    if owner.shadow is not None and session is not None:
        watched = shadowing.watch(
            owner,
            owner.shadow,
            request,
            session,
            now_us,
            permitted=answer.expires_us > 0,
            refusal=answer.reason_code
            if not answer.reasons
            and answer.reason_code == request.refusal
            and answer.reason_code != REWRITE_REFUSED
            else None,
        )
        step.shadow_pasts.update(dict.fromkeys(watched.changed))
        if watched.found:
            found = found | {"shadow": watched.found}
    facts = active.facts(request.resource_type, request.resource_id) if active else None
    transaction.append(
        evidence_rows.decision_row(
            request,
            answer,
            time_us=now_us,
            duration_us=max(0, owner.world.wall_us() - request.received_us),
            workflow_id=session.workflow_id if session else None,
            parent_agent_id=delegations.parent_agent_id(session),
            principal=principal_of(key, session) if session else None,
            record=record,
            facts=facts,
            atoms=active.defined(request.possibly) if active else [],
            found=found,
        )
    )
    # What is over stays over: a refused use does not keep a session alive.
    if session is not None and session.state(now_us) == "live":
        session.last_us = now_us
        if answer.expires_us:
            session.actions += 1
        step.sessions[key, session.name] = session
    if answer.expires_us and active is not None:
        capability = active.capability(request.resource_type, request.resource_id)
        seen_key, seen = agent.see(
            (request.action, request.resource_type, request.resource_id), capability, now_us
        )
        step.seen[key, seen_key] = seen
    past: str | None = None
    looked_up: str | None = None
    if answer.expires_us and session is not None:
        row, past = remembering.permitted(owner, met, request, session, now_us)
        looked_up = tracing.permitted(owner, request, session, answer.id)
        tracing.count(owner, request, session)
        step.history.append(row)
        step.pasts.update(dict.fromkeys(met.names))
    elif met.look is not None and answer.effect == Effect.DENY and met.refusal is None:
        counting = met.look.denied()
        step.pasts.update(dict.fromkeys(name for name in met.names if name[0] in counting))
    action = DecidedAction(
        tenant=request.tenant,
        subject_type=request.subject_type,
        subject_id=request.subject_id,
        action=request.action,
        resource_type=request.resource_type,
        resource_id=request.resource_id,
        arguments_digest=request.arguments_digest.hex(),
        evidence_digest=request.evidence_digest.hex(),
        workflow_id=session.workflow_id if session else None,
        past=past,
        shadow_past=watched.remembered or None,
        looked_up=looked_up,
        escalated=escalated,
        properties_digest=request.properties_digest.hex(),
    )
    # orjson takes no named tuples.
    remembered, answer_json = orjson.dumps(tuple(action)), orjson.dumps(tuple(answer))
    binding = binding_of(request)
    bound_to = request.idempotency_key if bind else None
    step.decisions.append((answer.id, key, binding, answer_json, remembered, bound_to))
    if bound_to is not None:
        step.bound[key, bound_to] = (binding, answer_json, None)


def binding_of(request: DecisionRequest) -> bytes:
    """What an idempotency key is bound to: the whole action as it was asked, so that a key cannot be carried to another
    tool, and that it is the same when it is asked again."""
    target = f"{request.session}\0{request.action}\0{request.resource_type}\0{request.resource_id}\0".encode()
    return target + modifying.asked_digest(request) + request.properties_digest
