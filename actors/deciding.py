"""Deciding a batch of prepared actions: the heart of an owner.

In order, each action meets its agent's state; evidence and new state of the whole batch become durable in one
transaction; only then does anybody hear of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from actors import api_keys, delegations, messages, modifying, remembering, settlements, tracing
from actors.agent_journal import find_bound
from actors.approvals import use as approval_use
from actors.approvals.task import Task
from actors.ids import agent_key, read_session_id
from actors.journal import Transaction
from actors.keeping import Step, binding_of, keep
from actors.live_agent import LiveAgent, Session
from actors.messages import (
    BATCH,
    CONFLICT,
    DECIDED,
    REWRITE,
    SKIPPED,
    STALE_BUNDLE,
    STALE_RECORD,
    Decided,
    DecisionRequest,
    Rewritten,
    Vouch,
)
from actors.owner import Owner
from actors.owner_clock import EventTime
from actors.records import AgentRecord
from actors.remembering import Met
from actors.stops import stopping
from policies.effect import Effect
from policies.rewriting import REWRITE_UNSTABLE
from policies.rule_clauses import RuleClauses
from policies.stops import STOPPED
from policies.verdict import Verdict, modified
from policies.verdict import decide as verdict_of

ALLOW_LIFETIME_US = 30_000_000

Answer = tuple[Any, ...]
_NAMED = 5
_SPENT: Answer = ("spent",)


def decide(owner: Owner, digest: str | None, raw: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Decide a batch, in order; what was permitted is past to the later ones.

    Args:
        digest: of the bundle that the batch was prepared with (bit i means nothing without it).
        raw: `DecisionRequest` tuples.
    Returns: ``(BATCH, answers)``, each answer tagged as `actors.messages` says, or ``(STALE_BUNDLE, digest)``.
        Everything DECIDED is durable (but dry runs).
    Raises: JournalError, EvidenceBacklogError: nothing was decided; the caller answers nobody with a permission.
    Cost: one fsync, and about 40 µs an action.
    """
    current = owner.active.digest if owner.active else None
    # INVARIANT (agreement): bits mean nothing under another bundle than the one they were prepared with, and the row
    # names the one that they meant.
    if digest != owner.activation.digest or digest != current:
        settlements.give_up(owner, raw)
        return (STALE_BUNDLE, owner.activation.digest)
    owner.refuse_backlog()
    requests = [DecisionRequest._make(item) for item in raw]
    answers = stale_records(owner, requests)
    step = Step(owner.event_time())
    try:
        with owner.journal.transaction() as transaction:
            for position, request in enumerate(requests):
                if answers[position] is None:
                    answers[position] = _decide_one(owner, request, step, transaction)
            settlements.keep(transaction, requests, answers, now_us=step.time.us)
            step.save(owner, transaction)
        owner.uses.remember(step.used)
    except BaseException:
        # INVARIANT (forgotten): what did not become durable is not remembered either, so that no later decision rests
        # on it: everybody wakes from the journal again.
        owner.forget_memory()
        raise
    owner.rest_surplus()
    return (BATCH, answers)


def stale_records(owner: Owner, requests: list[DecisionRequest]) -> list[Answer | None]:
    """STALE_RECORD for what was prepared with another version of its subject's record, and for its whole group
    (so that the items of a group are decided in order), None for the rest."""
    answers: list[Answer | None] = []
    stale_groups: set[int] = set()
    for request in requests:
        record = delegations.record_of(owner, request)
        version = record.record_version if record else 0
        if request.record_version == version:
            answers.append(None)
            continue
        answers.append((STALE_RECORD, version, json.dumps(record.to_json()) if record else None))
        stale_groups.add(request.group)
    for position, request in enumerate(requests):
        if answers[position] is None and request.group and request.group in stale_groups:
            answers[position] = (STALE_RECORD, request.record_version, None)
    return answers


def _decide_one(owner: Owner, request: DecisionRequest, step: Step, transaction: Transaction) -> Answer:
    if request.group and request.group in step.stopped_groups:
        return (SKIPPED,)
    if request.group and request.group in step.waiting_groups:
        # Not before the one that is to be rewritten first.
        return (STALE_RECORD, request.record_version, None)
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    agent = owner.agent(key)
    record = delegations.record_of(owner, request)
    session, session_refusal = _session(owner, agent, record, request, step)
    # INVARIANT (fail closed): whether we can decide at all comes first, so that no earlier allow is repeated by an
    # owner that cannot tell the time or may have missed a stop, nor in a session that has ended.
    refusal = settlements.refusal(owner, request, step.reservations) or unable(owner, request, step.time)
    # INVARIANT (stopped): asked before anything is repeated, with a copy of the stops that is not too old.
    halted = None if refusal else stopping.halted(owner, request, record, session, step.time.us)
    refusal = refusal or (STOPPED if halted else None) or _unknown(record, request) or session_refusal
    replay = None if refusal or request.dry_run else _replay(owner, key, request, step)
    permitted = False
    match replay:
        case (messages.DECIDED, *repeated):
            answer: Answer = replay
            permitted = Decided._make(repeated).expires_us > 0
        case (messages.CONFLICT, _):
            answer = replay
        case _:
            # What says nothing about the action itself binds no key: it can be decided once the agent is registered,
            # the session opened, the owner able.
            bind = refusal is None and replay is None
            refusal = refusal or ("idempotency_key_spent" if replay else None)
            met = remembering.NOTHING
            if refusal is None or refusal in delegations.COUNTED:
                met = remembering.meet(owner, request, session, step.time.us)
                refusal = refusal or met.refusal
            asked = tracing.clauses(owner, request, session, met, step.time.us)
            if refusal is None and (rules := modifying.rewriting(owner, request, asked)):
                if request.rewritten is None:
                    step.waiting_groups.add(request.group)
                    return (REWRITE, *rules)
                refusal = REWRITE_UNSTABLE
            judged = _verdict(owner, request, refusal, session, record, met, asked, step)
            decided, found = judged.decided, judged.found
            if halted is not None:
                decided, found = decided._replace(detail=halted.detail), found | {"stop": halted.stop}
            if not request.dry_run:
                if made := stopping.stop_by_rules(
                    owner, request, session, decided, transaction, step.time.us
                ):
                    found["stops"] = made
                # An escalation is not final: what it waits for may lift it, under the same key.
                bind = bind and decided.effect != Effect.ESCALATE
                keep(
                    owner,
                    key,
                    agent,
                    record,
                    session,
                    request,
                    decided,
                    met,
                    found,
                    step,
                    transaction,
                    bind=bind,
                    escalated=judged.escalated,
                )
                if judged.used is not None:
                    approval_use.consume(
                        owner, transaction, judged.used, decided.id, step.time.us, request.key_id
                    )
            permitted = decided.expires_us > 0 and not request.dry_run
            answer = (DECIDED, *decided)
    if request.stop_on == ("permit" if permitted else "deny"):
        step.stopped_groups.add(request.group)
    return answer


def _replay(owner: Owner, key: str, request: DecisionRequest, step: Step) -> Answer | None:
    """What an idempotency key is bound to: the decision again, a CONFLICT, or `_SPENT` when it was used up."""
    if request.idempotency_key is None:
        return None
    bound = step.bound.get((key, request.idempotency_key))
    if bound is None:
        bound = find_bound(owner.journal, key, request.idempotency_key)
        if bound is None:
            return None
    digest, answer_json, outcome = bound
    if digest != binding_of(request):
        return (
            CONFLICT,
            f"idempotency key `{request.idempotency_key}` is bound to another action or other arguments",
        )
    answer = read_answer(answer_json)
    if outcome is not None or 0 < answer.expires_us <= step.time.us:
        return _SPENT
    return (DECIDED, *answer._replace(replayed=True))


def unable(owner: Owner, request: DecisionRequest, time: EventTime) -> str | None:
    """Why this owner cannot decide now, if it cannot. Says nothing about the action, so it binds no key."""
    if not time.certain:
        return "clock_uncertain"
    if not owner.directory.fresh(now_s=owner.world.monotonic_us() / 1e6):
        return "lease_expired"
    if request.deadline_us <= owner.world.wall_us():
        return "deadline_passed"
    if owner.active is None:
        return "no_active_bundle"
    if owner.lagging():
        return "bundle_lagging"
    # INVARIANT (lease): the replica checked the key before it read the request; it may have been revoked since.
    key = owner.directory.get("key", request.key_id)
    reason = None if key is None else api_keys.no_longer_good(key, now_us=owner.world.wall_us())
    return None if reason is None else f"key_{reason}"


def _unknown(record: AgentRecord | None, request: DecisionRequest) -> str | None:
    if request.vouch is not None and (refusal := Vouch._make(request.vouch).refusal) is not None:
        return refusal
    if record is not None:
        return None
    return "unknown_agent" if request.subject_type == "agent" else "unknown_subject"


class _Judged(NamedTuple):
    """The answer, and what belongs to it.

    Attributes:
        found: what evidence says beside it: what past and origins said, what monitored rules would do.
        escalated: of an escalation that an approval can lift: what a request for one asks for.
        used: the approval that permits it.
    """

    decided: Decided
    found: dict[str, Any]
    escalated: str | None = None
    used: Task | None = None


def _verdict(
    owner: Owner,
    request: DecisionRequest,
    refusal: str | None,
    session: Session | None,
    record: AgentRecord | None,
    met: Met,
    asked: RuleClauses,
    step: Step,
) -> _Judged:
    found: dict[str, Any] = {}
    identity = "" if request.dry_run else owner.new_event_id(step.time.us)
    escalated: str | None = None
    access: tuple[str, int] | None = None
    used: Task | None = None
    if refusal is None and owner.active is not None:
        bundle, why = owner.active.bundle, ""
        verdict = verdict_of(
            bundle,
            possibly=request.possibly,
            certainly=request.certainly,
            refusal=request.refusal,
            clauses=asked.holds,
            wanted=request.wanted,
        )
        if verdict.effect is Effect.ESCALATE and session is not None:

            def with_lifted(lifted: frozenset[int]) -> Verdict:
                return verdict_of(
                    bundle,
                    possibly=request.possibly,
                    certainly=request.certainly,
                    clauses=asked.holds,
                    lifted=lifted,
                    wanted=request.wanted,
                )

            if request.approval is not None:
                verdict, used, why = approval_use.lift(
                    owner, request, session, verdict, with_lifted, step.time.us
                )
            if verdict.effect is Effect.ESCALATE and not request.dry_run:
                asking = approval_use.access_request(
                    owner, request, identity, verdict, with_lifted, step.time.us
                )
                if isinstance(asking, str):
                    why = "; ".join(one for one in (why, asking) if one)
                else:
                    access = asking
                    escalated = approval_use.left_behind(owner, request, session, record, verdict, asked)
        if request.rewritten is not None:
            verdict = modified(owner.active.bundle, verdict, Rewritten._make(request.rewritten).rules)
        effect, reason_code = verdict.effect, verdict.reason_code
        reasons = tuple((r.rule, r.because, r.controls) for r in verdict.reasons)
        detail = request.detail if reason_code == request.refusal else _doubt(verdict)
        found = remembering.findings(owner, met) | tracing.findings(owner, asked)
        detail = tracing.explained(owner, asked, [reason.rule for reason in verdict.reasons]) or detail
        if why:
            detail = f"{why}; {detail}" if detail else why
        if used is not None:
            found["approval"] = approval_use.evidence_of(used)
        if verdict.would:
            found["would"] = [{"rule": one.rule, "effect": one.effect} for one in verdict.would]
    else:
        effect, reason_code, reasons, detail = Effect.DENY, refusal or "no_active_bundle", (), ""
    permitted = effect in (Effect.ALLOW, Effect.MODIFY)
    operations, rewritten_digest = modifying.remembered(request)
    decided = Decided(
        id=identity,
        effect=str(effect),
        reason_code=reason_code,
        reasons=reasons,
        detail=detail,
        session=session.name if session else None,
        expires_us=step.time.us + ALLOW_LIFETIME_US if permitted else 0,
        bundle=owner.activation.digest,
        replayed=False,
        operations=operations,
        rewritten_digest=rewritten_digest,
        access=access,
        approval=None if used is None else approval_use.approval_shown(used, used=not request.dry_run),
    )
    return _Judged(decided, found | modifying.findings(owner, request), escalated, used)


def _doubt(verdict: Verdict) -> str:
    """Which rules decided for want of knowledge: a fact that is open, a condition that failed. Names no value."""
    if not verdict.uncertain:
        return ""
    names = ", ".join(f"`{name}`" for name in verdict.uncertain[:_NAMED])
    if len(verdict.uncertain) > _NAMED:
        names += f" and {len(verdict.uncertain) - _NAMED} more"
    effect = "denies" if verdict.reason_code == "rule_deny" else "does not allow"
    return (
        f"{names} {effect} because a fact is unknown or the condition failed, as it does where an argument is "
        "missing or of another type"
    )


def _session(
    owner: Owner, agent: LiveAgent, record: AgentRecord | None, request: DecisionRequest, step: Step
) -> tuple[Session | None, str | None]:
    """The session that an action belongs to, or why it has none."""
    if request.session is None:
        if record is None:
            return None, None
        if not record.standing:
            return None, "session_required"
        return owner.standing_session(agent, step.time.us), None
    genuine = read_session_id(request.session, key=owner.settings.session_key, subject=agent.key)
    if genuine is None or genuine.ordinal != owner.settings.ordinal:
        return None, "unknown_session"
    session = owner.find_session(agent, genuine.text)
    if session is None:
        return None, "unknown_session"
    state = session.state(step.time.us)
    if state != "live":
        return session, f"session_{state}"
    # First, as it says why: a child's session ends with its delegation.
    refusal = delegations.refusal(owner, session, request, step.time.us)
    return session, refusal or ("session_expired" if genuine.expires_us <= step.time.us else None)


def read_answer(text: bytes) -> Decided:
    # One of an earlier version has fewer fields.
    answer = Decided(*orjson.loads(text))
    return answer._replace(
        reasons=tuple((r, b, tuple(c)) for r, b, c in answer.reasons),
        access=None if answer.access is None else (answer.access[0], answer.access[1]),
        approval=None if answer.approval is None else (*answer.approval,),
    )
