"""What an approval does for the action that names it, in the transaction that decides it; and what an escalated
decision leaves behind for whoever asks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from actors.approvals import events as approval_events
from actors.approvals import journal as approval_journal
from actors.approvals import rows as approval_rows
from actors.approvals import values as approval_values
from actors.approvals.approvers import standing
from actors.approvals.events import owned_now
from actors.approvals.task import APPROVED, Task
from actors.ids import agent_key, binding_token
from actors.journal import Transaction
from actors.live_agent import Session
from actors.messages import DecisionRequest, Vouch
from actors.owner import Owner
from actors.records import AgentRecord
from actors.sessions import principal_of
from actors.stops import stopping
from policies.bundle import Bundle
from policies.effect import Effect
from policies.rule_clauses import RuleClauses
from policies.verdict import Verdict, escalating

LONGEST_ASKING_US: Final = 23 * 3_600_000_000
"""How long an approval can be asked for at most: less than a decision is remembered."""

Decide = Callable[[frozenset[int]], Verdict]
"""The verdict on the action with these rules lifted; everything else as it is now."""


class Found(NamedTuple):
    """What the approval that an action names comes to.

    Attributes:
        verdict: of the action: with what the approval lifts where that decides it, else as it was without.
        used: the approval that permits it; None = none does.
        why_not: why it does not, in words.
    """

    verdict: Verdict
    used: Task | None = None
    why_not: str = ""


def lift(
    owner: Owner,
    request: DecisionRequest,
    session: Session | None,
    escalated: Verdict,
    decide: Decide,
    now_us: int,
) -> Found:
    """Ask the approval that an escalated action names.

    INVARIANT (approval): it lifts the objection of the rules that were approved and say the same still, for exactly
    this action of this agent in this session, once, before it expires; whoever approved and has lost the right since
    does not count. Whatever else restricts, restricts.
    Cost: a lookup and one more combination of the matched rules.
    """
    assert request.approval is not None and owner.active is not None
    task = approval_journal.find(owner.journal, request.approval)
    why = _void(task, request, session, now_us)
    if task is None or why:
        return Found(escalated, None, f"approval `{request.approval}` {why}")
    task = owned_now(owner, task)
    bundle = owner.active.bundle
    counted = dict(standing(owner.directory, task))
    lifted: set[int] = set()
    objections: dict[str, str] = {}
    for asked in task.rules:
        number = bundle.number_of.get(asked.rule)
        if number is None or bundle.rules[number].hash != asked.hash:
            objections[asked.rule] = f"rule `{asked.rule}` has changed since it was approved"
        elif len(counted[asked.rule]) < asked.terms.quorum:
            objections[asked.rule] = (
                f"of the approvals of rule `{asked.rule}` {len(counted[asked.rule])} still count, of "
                f"{asked.terms.quorum} that it takes"
            )
        else:
            lifted.add(number)
    verdict = decide(frozenset(lifted))
    if verdict.effect in (Effect.ALLOW, Effect.MODIFY):
        return Found(verdict, task)
    if verdict.effect is not Effect.ESCALATE:
        return Found(verdict, None, f"approval `{task.id}` was not used: it lifts no denial")
    # Asked for anew, it is asked for all of it: one approval is named with an action.
    left = [bundle.rules[number].name for number in sorted(escalating(bundle, verdict))]
    whys = [objections.get(name, f"it does not cover rule `{name}`") for name in left]
    return Found(escalated, None, f"approval `{task.id}` was not used: {'; '.join(whys[:5])}")


def consume(owner: Owner, step: Transaction, task: Task, decision: str, now_us: int, key_id: str) -> None:
    """Use an approval up, in the transaction of the decision that it permits.

    INVARIANT (once): the decision and the use of its approval become durable together or not at all, and whoever
    comes next, in the same batch even, reads that it is used.
    """
    approvers = {
        rule.rule: [one.approver for one in given]
        for rule, (_, given) in zip(task.rules, standing(owner.directory, task), strict=True)
    }
    approval_events.write(
        owner,
        step,
        task.use(decision, now_us),
        approval_rows.CONSUMED,
        now_us,
        actor=key_id,
        more={"permitted": decision, "approvers": approvers},
    )


def approval_shown(task: Task, *, used: bool) -> tuple[str, str, int]:
    """(id, state, until when) as an answer names the approval. A dry run uses nothing."""
    return task.id, "used" if used else task.state, task.expires_us


def evidence_of(task: Task) -> dict[str, Any]:
    """What a decision's evidence says of the approval that permitted it: who approved which rule."""
    return {
        "id": task.id,
        "rules": {rule.rule: [given.approver for given in rule.given] for rule in task.rules},
    }


def access_request(
    owner: Owner, request: DecisionRequest, decision: str, escalated: Verdict, decide: Decide, now_us: int
) -> tuple[str, int] | str:
    """(binding token, until when it is good) with which approval can be asked for; or why nobody can lift it."""
    assert owner.active is not None
    bundle = owner.active.bundle
    numbers = escalating(bundle, escalated)
    for number in sorted(numbers):
        if bundle.rules[number].approval is None:
            return f"rule `{bundle.rules[number].name}` names nobody in `approve` who may lift it"
    if decide(numbers).effect not in (Effect.ALLOW, Effect.MODIFY):
        return "no rule would allow it, were it approved"
    expires_us = now_us + min(LONGEST_ASKING_US, *(_expires_us(bundle, number) for number in numbers))
    expires_us = expires_us // 1_000_000 * 1_000_000
    token = binding_token(
        key=owner.settings.session_key, tenant=request.tenant, decision=decision, expires_us=expires_us
    )
    return token, expires_us


def left_behind(
    owner: Owner,
    request: DecisionRequest,
    session: Session,
    record: AgentRecord | None,
    escalated: Verdict,
    clauses: RuleClauses,
) -> str:
    """What is kept with an escalated decision, as JSON, for the request for its approval."""
    assert owner.active is not None
    bundle = owner.active.bundle
    rules = []
    for number in sorted(escalating(bundle, escalated)):
        rule = bundle.rules[number]
        objecting = clauses.objecting.get(rule.name, [])
        rules.append([rule.name, rule.hash, approval_values.values_of(request, objecting)])
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    # INVARIANT (segregation): what an agent has another do for it is its owner's request, too.
    acting = stopping.acting_agents(owner, request.subject_type, request.subject_id, record, session)
    owners = [
        *(whose for _, whose in acting),
        None if record is None else record.owner,
        principal_of(key, session),
    ]
    if request.vouch is not None:
        owners.append(Vouch._make(request.vouch).owner)
    kept = {
        "rules": rules,
        "owners": [one for one in dict.fromkeys(owners) if one],
        "masked": request.masked_arguments,
    }
    return orjson.dumps(kept).decode()


def _void(task: Task | None, request: DecisionRequest, session: Session | None, now_us: int) -> str:
    """Why an approval says nothing of this action; "" = it does."""
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    if task is None or task.agent != key or task.tenant != request.tenant:
        return "is none of this agent's"
    if task.used_by:
        return f"was used by decision `{task.used_by}`: it permits one action"
    if now_us >= task.expires_us:
        return "has expired"
    if task.state != APPROVED:
        return f"is {task.state}"
    if session is None or session.name != task.session:
        return "is for another session"
    asked = (request.action, request.resource_type, request.resource_id)
    if asked != (task.action, task.resource_type, task.resource_id):
        return "is for another action"
    if request.properties_digest.hex() != task.properties_digest:
        return "is for other properties of the resource"
    if request.arguments_digest.hex() != task.arguments_digest:
        return "is for other arguments" + (", those that it was narrowed to" if task.narrowed else "")
    return ""


def _expires_us(bundle: Bundle, number: int) -> int:
    terms = bundle.rules[number].approval
    assert terms is not None
    return terms.expires_us
