"""Requests for approval at the owner that escalated: asked for, looked at, given up. No Ray in here."""

from __future__ import annotations

from typing import Any, Final

import orjson

from actors import api_keys
from actors.approvals import journal as approval_journal
from actors.approvals import rows as approval_rows
from actors.approvals.approvers import may_act, seat_of, standing
from actors.approvals.events import advance, owned_now, tell, write
from actors.approvals.messages import ApprovalRequest, Viewer
from actors.approvals.task import CANCELLED, AskedRule, Comment, Task
from actors.ids import agent_key, approval_id, ordinal_of_decision, read_binding_token, subject_of_key
from actors.journal import Transaction
from actors.messages import DecidedAction
from actors.outcomes import remembered
from actors.owner import Owner
from controlplane.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)

MOST_OF_AGENT: Final = 100
"""Requests of one agent that wait at a time."""
MOST_OF_OWNER: Final = 10_000
MOST_COMMENTS: Final = 50
_SCANNED: Final = 2_000
"""Tasks that one page is looked for among, for whoever may see few of them."""


def request(owner: Owner, raw: tuple[Any, ...]) -> dict[str, Any]:
    """Ask for an escalated decision to be approved. Durable when it returns.

    Asked again it is the same task; and so it is for another decision about the very same action, as long as the task
    waits or can be used (not where approvers have lost the right to it since): who retries does not fill desks, and
    nobody approves twice what is to happen once.

    Args: raw: an `ApprovalRequest`.
    Returns: ``{"task", "created"}``.
    Raises: NotFoundError: no token of ours. ConflictError: it has expired, the decision was no escalation that anybody
        can lift, a rule has changed since, or the arguments are not those that were decided. OverloadedError: too
        many wait. EvidenceBacklogError. UnavailableError.
    """
    asked = ApprovalRequest._make(raw)
    now_us = able(owner, asked.key_id)
    token = read_binding_token(asked.token, key=owner.settings.session_key, tenant=asked.tenant)
    if token is None or ordinal_of_decision(token.decision) != owner.settings.ordinal:
        raise unknown_token()
    known = approval_journal.of_decision(owner.journal, token.decision)
    if known is not None:
        _refuse_other_arguments(asked, known.arguments_digest if not known.narrowed else None)
        return _known(owner, known, now_us)
    if token.expires_us <= now_us:
        raise ConflictError(
            "the time to ask for this approval is over: ask for the decision again",
            code="binding_token_expired",
        )
    answer, action, _ = remembered(owner, token.decision)
    _refuse_other_arguments(asked, action.arguments_digest)
    if action.escalated is None or answer.session is None:
        raise ConflictError(
            f"decision `{token.decision}` is none that an approval lifts", code="not_approvable"
        )
    escalated = orjson.loads(action.escalated)
    rules = _asked_rules(owner, escalated)
    key = agent_key(action.tenant, action.subject_type, action.subject_id)
    task = Task(
        id=approval_id(owner.new_event_id(now_us)),
        tenant=action.tenant,
        agent=key,
        session=answer.session,
        workflow=action.workflow_id,
        action=action.action,
        resource_type=action.resource_type,
        resource_id=action.resource_id,
        arguments_digest=action.arguments_digest,
        evidence_digest=action.evidence_digest,
        masked=escalated["masked"],
        properties_digest=action.properties_digest,
        owners=tuple(dict.fromkeys([*escalated["owners"], *_owner_now(owner, action)])),
        decision=token.decision,
        bundle=answer.bundle,
        rules=rules,
        created_by=asked.key_id,
        justification=asked.justification,
        requested_us=now_us,
        expires_us=now_us + min(rule.terms.expires_us for rule in rules),
    )
    known = approval_journal.of_action(owner.journal, task.bound)
    if known is not None and now_us >= known.expires_us:
        known = None
    if known is not None and (known.open or _counts(owner, known)):
        return _known(owner, known, now_us)
    _refuse_too_many(owner, key)
    more = {"justification": asked.justification} if asked.justification else None
    with owner.journal.transaction() as step:
        if known is not None:
            # Two that can be used would permit twice: were its approvers to get their roles back, say.
            known = known.ended(
                CANCELLED, asked.key_id, "approvals of it count no more: it is asked for anew"
            )
            write(
                owner,
                step,
                known,
                approval_rows.CANCELLED,
                now_us,
                actor=asked.key_id,
                comment=known.ended_comment,
            )
        approval_journal.add(step, task, asked.arguments)
        tell(owner, step, task, approval_rows.REQUESTED, now_us, actor=asked.key_id, more=more)
    return {"task": approval_rows.shown_task(task, asked.arguments), "created": True}


def cancel(owner: Owner, viewer: tuple[Any, ...], identity: str, key_id: str, comment: str) -> dict[str, Any]:
    """Whoever asked for it needs it no more. Durable when it returns.

    Raises: NotFoundError: there is none of a subject that the caller speaks for. ConflictError: it is over.
    """
    now_us = able(owner, key_id)
    with owner.journal.transaction() as step:
        task = find(owner, step, identity, viewer[0], now_us)
        _refuse_stranger(task, Viewer._make(viewer))
        if task.open or task.usable:
            task = task.ended(CANCELLED, key_id, comment)
            write(owner, step, task, approval_rows.CANCELLED, now_us, actor=key_id, comment=comment)
            return approval_rows.shown_task(task)
    raise is_over(task)


def comment(owner: Owner, viewer: tuple[Any, ...], identity: str, key_id: str, text: str) -> dict[str, Any]:
    """Say something about a task that waits: whoever asked for it, or an approver whom it concerns.

    Raises: NotFoundError. ConflictError: it is over, or everything has been said.
    """
    now_us = able(owner, key_id)
    who = Viewer._make(viewer)
    with owner.journal.transaction() as step:
        task = find(owner, step, identity, who.tenant, now_us)
        if _sight(owner, task, who, now_us) is None or who.role == "auditor":
            raise unknown(identity)
        if task.open and len(task.comments) < MOST_COMMENTS:
            by = who.approver or key_id
            task = task.comment(Comment(by=by, at_us=now_us, text=text))
            write(
                owner,
                step,
                task,
                approval_rows.COMMENTED,
                now_us,
                actor=by,
                approver=who.approver,
                comment=text,
            )
            return approval_rows.shown_task(task)
    if task.open:
        raise ConflictError(f"a task takes {MOST_COMMENTS} comments", code="too_many_comments")
    raise is_over(task)


def look(owner: Owner, viewer: tuple[Any, ...], identity: str) -> dict[str, Any]:
    """One task, as the viewer may see it, with `version`, which each change raises.

    Raises: NotFoundError: there is none for this viewer.
    """
    owner.journal.refuse_fenced()
    now_us = owner.event_time().us
    who = Viewer._make(viewer)
    task = approval_journal.find(owner.journal, identity)
    if task is None or task.tenant != who.tenant:
        raise unknown(identity)
    task = owned_now(owner, task)
    if task.due_us is not None and task.due_us <= now_us:
        owner.refuse_backlog()
        with owner.journal.transaction() as step:
            task = advance(owner, step, task, now_us)
    shown = _sight(owner, task, who, now_us)
    if shown is None:
        raise unknown(identity)
    return shown


def listed(
    owner: Owner,
    viewer: tuple[Any, ...],
    states: list[str],
    agent: str | None,
    before: str,
    limit: int,
    *,
    mine: bool,
) -> tuple[list[dict[str, Any]], str]:
    """The tasks that the viewer may see, the newest first; and where it was left off, an id, if it was: not everybody
    may see much of what waits here. Older ones were not looked at.

    Args:
        agent: only this agent's.
        before: an id; only older ones. "" = from the newest on.
        mine: only those that the viewer may decide, or asked for.
    """
    owner.journal.refuse_fenced()
    now_us = owner.event_time().us
    who = Viewer._make(viewer)
    if agent is None and who.role == "agent" and len(who.agents) == 1:
        (agent,) = who.agents
    key = None if agent is None else agent_key(who.tenant, "agent", agent)
    found: list[dict[str, Any]] = []
    scanned = 0
    while len(found) < limit and scanned < _SCANNED:
        page = approval_journal.newest(
            owner.journal, who.tenant, states=states, agent=key, before=before, limit=limit
        )
        for task in page:
            # What has expired by now and was not noticed yet is shown as it will be noticed.
            if task.due_us is not None and now_us >= task.expires_us:
                continue
            shown = _sight(owner, task, who, now_us, arguments=False)
            if shown is not None and (not mine or shown.get("may_decide", shown.get("yours", False))):
                found.append(shown)
        scanned += len(page)
        if len(page) < limit:
            return found[:limit], ""
        before = page[-1].id
    return found[:limit], before if len(found) < limit else ""


def able(owner: Owner, key_id: str) -> int:
    """Event time, if something about approvals can be decided now.

    Raises: EvidenceBacklogError. UnavailableError: the clock or the lease is not good, or the key no longer.
    """
    owner.refuse_backlog()
    time = owner.event_time()
    if not time.certain:
        raise UnavailableError("the clock cannot be trusted: nothing is approved", code="clock_uncertain")
    # INVARIANT (lease): roles are those of a directory that may not have missed that somebody lost one.
    if not owner.directory.fresh(now_s=owner.world.monotonic_us() / 1e6):
        raise UnavailableError("roles cannot be checked now: the control store is away", code="lease_expired")
    entry = owner.directory.get("key", key_id)
    reason = None if entry is None else api_keys.no_longer_good(entry, now_us=owner.world.wall_us())
    if reason is not None:
        raise ForbiddenError(f"this key is {reason}", code=f"key_{reason}")
    return time.us


def find(owner: Owner, step: Transaction, identity: str, tenant: str, now_us: int) -> Task:
    """A task as it stands now. Raises: NotFoundError."""
    task = approval_journal.find(owner.journal, identity)
    if task is None or task.tenant != tenant:
        raise unknown(identity)
    return advance(owner, step, owned_now(owner, task), now_us)


def unknown(identity: str) -> NotFoundError:
    return NotFoundError(f"no approval `{identity}`", code="unknown_approval")


def unknown_token() -> NotFoundError:
    message = "no such binding token; an escalation has it in `context.access_request`"
    return NotFoundError(message, code="unknown_binding_token")


def is_over(task: Task) -> ConflictError:
    state = "used" if task.used_by else task.state
    return ConflictError(f"approval `{task.id}` is {state}", code="approval_over", found=state)


def rule_changed(name: str) -> ConflictError:
    message = f"rule `{name}` has changed since it escalated: the decision is to be asked for again"
    return ConflictError(message, code="rule_changed")


def _sight(
    owner: Owner, task: Task, who: Viewer, now_us: int, *, arguments: bool = True
) -> dict[str, Any] | None:
    """A task as a viewer may see it; None = not at all.

    Approvers whom it concerns see the arguments; who asked, those that were approved; others their masked form.
    """
    raw = approval_journal.arguments_of(owner.journal, task.id) if arguments else None
    _, subject_type, subject_id = subject_of_key(task.agent)
    if who.role == "approver":
        if who.approver is None:
            return None
        seats = [seat_of(owner.directory, task, rule, who.approver, now_us) for rule in task.rules]
        gave = any(who.approver in (one.approver, one.seat) for rule in task.rules for one in rule.given)
        if not gave and not any(seat.concerned for seat in seats):
            return None
        shown = approval_rows.shown_task(task, raw)
        if raw is not None:
            shown["arguments_digest"] = task.arguments_digest
        waiting = [seat for seat, rule in zip(seats, task.rules, strict=True) if not rule.approved]
        shown["may_decide"] = task.open and any(seat.holder is not None for seat in waiting)
        if not shown["may_decide"]:
            whys = [seat.why_not for seat in waiting if seat.why_not] if task.open else []
            shown["why_not"] = whys[0] if whys else f"it is {task.state}"
    elif who.role in ("operator", "auditor"):
        shown = approval_rows.shown_task(task)
        if task.open:
            shown["waits_for"] = may_act(task, now_us)
    elif who.asked_for(subject_type, subject_id):
        shown = approval_rows.shown_task(task, raw if task.narrowed and task.usable else None)
    else:
        return None
    shown["yours"] = who.asked_for(subject_type, subject_id) and who.role not in ("operator", "auditor")
    shown["version"] = task.version
    return shown


def _asked_rules(owner: Owner, escalated: dict[str, Any]) -> tuple[AskedRule, ...]:
    """The rules that escalated, with their terms. Raises: ConflictError: one of them says something else by now."""
    bundle = None if owner.active is None else owner.active.bundle
    if bundle is None:
        raise UnavailableError("this owner is still compiling the active bundle", code="bundle_loading")
    found: list[AskedRule] = []
    for name, known_hash, values in escalated["rules"]:
        number = bundle.number_of.get(name)
        rule = None if number is None else bundle.rules[number]
        if rule is None or rule.hash != known_hash or rule.approval is None:
            raise rule_changed(name)
        found.append(
            AskedRule(
                rule=name,
                hash=rule.hash,
                because=rule.because,
                controls=rule.controls,
                terms=rule.approval,
                values=tuple((digest, shown, at) for digest, shown, at in values),
            )
        )
    return tuple(found)


def _counts(owner: Owner, task: Task) -> bool:
    """Whether an approved task's approvals still count, so that it can be used."""
    counted = dict(standing(owner.directory, owned_now(owner, task)))
    return all(len(counted[rule.rule]) >= rule.terms.quorum for rule in task.rules)


def _known(owner: Owner, task: Task, now_us: int) -> dict[str, Any]:
    with owner.journal.transaction() as step:
        task = advance(owner, step, task, now_us)
    return {"task": approval_rows.shown_task(task), "created": False}


def _owner_now(owner: Owner, action: DecidedAction) -> list[str]:
    record = owner.record(action.tenant, action.subject_type, action.subject_id)
    return [] if record is None or record.owner is None else [record.owner]


def _refuse_stranger(task: Task, who: Viewer) -> None:
    _, subject_type, subject_id = subject_of_key(task.agent)
    if not who.asked_for(subject_type, subject_id):
        raise unknown(task.id)


def _refuse_other_arguments(asked: ApprovalRequest, digest: str | None) -> None:
    """INVARIANT (what is seen): approvers see the arguments that their approval is bound to, or none."""
    if asked.arguments_digest is None or digest is None:
        return
    if asked.arguments_digest.hex() != digest:
        raise ConflictError(
            "these are not the arguments that were decided",
            code="arguments_mismatch",
            expected=digest,
            found=asked.arguments_digest.hex(),
        )


def _refuse_too_many(owner: Owner, key: str) -> None:
    if approval_journal.count_open(owner.journal, key, limit=MOST_OF_AGENT) >= MOST_OF_AGENT:
        raise OverloadedError(
            f"{MOST_OF_AGENT} requests of `{subject_of_key(key)[2]}` wait for approval; cancel some, or wait",
            code="too_many_approvals",
        )
    if approval_journal.count_open(owner.journal, None, limit=MOST_OF_OWNER) >= MOST_OF_OWNER:
        raise OverloadedError(
            f"{MOST_OF_OWNER} requests wait for approval at `{owner.settings.name}`; try again later",
            code="too_many_approvals",
        )
