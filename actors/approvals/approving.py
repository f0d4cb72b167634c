"""What approvers do: approve, narrow, remember, deny, delegate. Each is one durable step. No Ray in here."""

from __future__ import annotations

from typing import Any, Final

from actors.approvals import rows as approval_rows
from actors.approvals.approvers import Seat, excluded, seat_of, standing
from actors.approvals.events import remember_values, write
from actors.approvals.messages import ApprovalAct, Narrowed
from actors.approvals.requests import able, find, is_over, rule_changed, unknown
from actors.approvals.task import APPROVED, DENIED, AskedRule, Delegated, Given, Task
from actors.approvals.values import LONGEST_US
from actors.owner import Owner
from controlplane.errors import ConflictError, ForbiddenError, GovernanceError, InputError
from policies.bundle import Bundle

MOST_DELEGATIONS: Final = 20


def approve(owner: Owner, raw: tuple[Any, ...]) -> dict[str, Any]:
    """Approve every rule of a task that the approver may, or less of it (`narrowed`).

    Args: raw: an `ApprovalAct`.
    Returns: the task.
    Raises: NotFoundError: there is none that concerns this approver. ForbiddenError: they may not approve it, and why.
        ConflictError: it is over, a rule has changed, it was narrowed meanwhile, or there is no value to remember.
        InputError: values are to be remembered for too long. EvidenceBacklogError. UnavailableError.
    Cost: one fsync.
    """
    act = ApprovalAct._make(raw)
    now_us = able(owner, act.key_id)
    refused: GovernanceError
    with owner.journal.transaction() as step:
        asked = find(owner, step, act.id, act.tenant, now_us)
        outcome = _approved(owner, asked, act, now_us)
        if isinstance(outcome, Task):
            arguments = Narrowed._make(act.narrowed).arguments if act.narrowed is not None else None
            remembered = remember_values(owner, step, outcome, now_us)
            write(
                owner,
                step,
                outcome,
                approval_rows.GRANTED,
                now_us,
                actor=act.approver,
                approver=act.approver,
                comment=act.comment,
                arguments=arguments,
                more=_granted_details(asked, outcome, act, remembered),
            )
            return approval_rows.shown_task(outcome, arguments)
        refused = outcome
    # What time brought (it has expired, say) stands, and only then it is refused.
    raise refused


def deny(owner: Owner, raw: tuple[Any, ...]) -> dict[str, Any]:
    """One denial ends a task, whoever has approved it, until it is used: by anybody whom it concerns.

    Raises: as `approve`.
    """
    act = ApprovalAct._make(raw)
    now_us = able(owner, act.key_id)
    with owner.journal.transaction() as step:
        task = find(owner, step, act.id, act.tenant, now_us)
        if not _seats(owner, task, act.approver, now_us):
            raise unknown(act.id)
        if task.open or task.usable:
            task = task.ended(DENIED, act.approver, act.comment)
            write(
                owner,
                step,
                task,
                approval_rows.DENIED,
                now_us,
                actor=act.approver,
                approver=act.approver,
                comment=act.comment,
            )
            return approval_rows.shown_task(task)
    raise is_over(task)


def delegate(owner: Owner, raw: tuple[Any, ...]) -> dict[str, Any]:
    """Let another principal approve in the approver's place, for this task; the two of them count once.

    Raises: as `approve`; ConflictError: it was delegated too often.
    """
    act = ApprovalAct._make(raw)
    now_us = able(owner, act.key_id)
    refused: GovernanceError
    with owner.journal.transaction() as step:
        task = find(owner, step, act.id, act.tenant, now_us)
        outcome = _delegated(owner, task, act, now_us)
        if isinstance(outcome, Task):
            more = {"to": act.to, "until": approval_rows.time_of(outcome.delegated[-1].until_us)}
            write(
                owner,
                step,
                outcome,
                approval_rows.DELEGATED,
                now_us,
                actor=act.approver,
                approver=act.approver,
                comment=act.comment,
                more=more,
            )
            return approval_rows.shown_task(outcome)
        refused = outcome
    raise refused


def _approved(owner: Owner, task: Task, act: ApprovalAct, now_us: int) -> Task | GovernanceError:
    """The task as an approval leaves it, or why not."""
    seats = _seats(owner, task, act.approver, now_us)
    if not seats:
        return unknown(act.id)
    if not task.open:
        return is_over(task)
    for rule in task.rules:
        if owner.active is not None and not _says_the_same(owner.active.bundle, rule):
            return rule_changed(rule.rule)
    if act.seen_digest is not None and act.seen_digest != task.arguments_digest:
        return _narrowed_meanwhile(task, act.seen_digest)
    # Whoever lost their role since does not count, so that nothing is approved that could never be used.
    task = task.recounted(standing(owner.directory, task))
    if act.narrowed is not None:
        narrowed = Narrowed._make(act.narrowed)
        if narrowed.of_digest != task.arguments_digest:
            return _narrowed_meanwhile(task, narrowed.of_digest)
        if act.remember_until_us is not None:
            return ConflictError(
                "what is narrowed is approved once: it cannot be remembered as well",
                code="nothing_to_remember",
            )
        task = task.narrow(
            digest=narrowed.digest, evidence_digest=narrowed.evidence_digest, masked=narrowed.masked
        )
    seats = _seats(owner, task, act.approver, now_us)
    takes = [(rule, seat) for rule, seat in seats if seat.holder is not None and not rule.approved]
    if not takes:
        why = next((seat.why_not for rule, seat in seats if not rule.approved and seat.why_not), "")
        return ForbiddenError(
            why or "the rules that it waits for are not yours to approve", code="may_not_approve"
        )
    if refused := _refuse_remembering(task, [rule for rule, _ in takes], act, now_us):
        return refused
    for rule, seat in takes:
        assert seat.holder is not None
        remembers = act.remember_until_us is not None and rule.terms.remember and bool(rule.values)
        given = Given(
            approver=act.approver,
            seat=seat.holder,
            at_us=now_us,
            comment=act.comment,
            remember_until_us=act.remember_until_us if remembers else None,
            remember_scope=act.remember_scope,
        )
        task = task.granted(given, [rule.rule])
    return task


def _narrowed_meanwhile(task: Task, seen: str) -> ConflictError:
    """INVARIANT (what is seen): nobody approves other arguments than those that they have looked at."""
    return ConflictError(
        "the arguments are not those that you have seen: it was narrowed meanwhile; look at it again",
        code="narrowed_meanwhile",
        expected=task.arguments_digest,
        found=seen,
    )


def _says_the_same(bundle: Bundle, asked: AskedRule) -> bool:
    number = bundle.number_of.get(asked.rule)
    return number is not None and bundle.rules[number].hash == asked.hash


def _refuse_remembering(
    task: Task, rules: list[AskedRule], act: ApprovalAct, now_us: int
) -> GovernanceError | None:
    until_us = act.remember_until_us
    if until_us is None:
        return None
    if not now_us < until_us <= now_us + LONGEST_US:
        return InputError("`remember_until` must lie in the next 90 days", code="invalid_remember_until")
    if task.narrowed or not any(rule.terms.remember and rule.values for rule in rules):
        return ConflictError(
            "no rule that you approve lets values be remembered (`remember: value`), or its values are too many, or "
            "the action was narrowed",
            code="nothing_to_remember",
        )
    return None


def _delegated(owner: Owner, task: Task, act: ApprovalAct, now_us: int) -> Task | GovernanceError:
    seats = _seats(owner, task, act.approver, now_us)
    if not seats:
        return unknown(act.id)
    if not task.open:
        return is_over(task)
    # A delegate has no place of their own to give away.
    if not any(seat.holder == act.approver for _, seat in seats):
        why = next((seat.why_not for _, seat in seats if seat.why_not), "")
        return ForbiddenError(why or "only who may approve by themselves delegates", code="may_not_delegate")
    if act.to == act.approver:
        return InputError("nobody delegates to themselves")
    kind, _, identity = act.to.partition(":")
    if owner.record_of(None, act.tenant, kind, identity) is None or kind == "agent":
        return InputError(f"`{act.to}` is not a registered principal", code="unknown_principal")
    mine = [rule for rule, seat in seats if seat.holder == act.approver]
    if all(whys := [excluded(owner.directory, task, rule, act.to) for rule in mine]):
        return ForbiddenError(whys[0], code="may_not_delegate")
    if len(task.delegated) >= MOST_DELEGATIONS:
        return ConflictError(
            f"a task is delegated {MOST_DELEGATIONS} times at most", code="too_many_delegations"
        )
    until_us = task.expires_us if act.until_us is None else min(act.until_us, task.expires_us)
    if until_us <= now_us:
        return InputError("`until` has passed")
    return task.delegate(
        Delegated(seat=act.approver, to=act.to, until_us=until_us, at_us=now_us, comment=act.comment)
    )


def _seats(owner: Owner, task: Task, who: str, now_us: int) -> list[tuple[AskedRule, Seat]]:
    """Where an approver stands with each rule; nothing where none concerns them."""
    found = [(rule, seat_of(owner.directory, task, rule, who, now_us)) for rule in task.rules]
    return found if any(seat.concerned for _, seat in found) else []


def _granted_details(asked: Task, task: Task, act: ApprovalAct, remembered: list[str]) -> dict[str, Any]:
    mine = [
        (rule.rule, one)
        for rule in task.rules
        for one in rule.given
        if one.approver == act.approver and one.at_us == max(given.at_us for given in rule.given)
    ]
    details: dict[str, Any] = {"rules": [rule for rule, _ in mine]}
    places = sorted({one.seat for _, one in mine if one.seat != act.approver})
    if places:
        details["in_place_of"] = places
    if act.narrowed is not None:
        details["narrowed_from"] = asked.evidence_digest
    if act.remember_until_us is not None:
        details["remember"] = {
            "until": approval_rows.time_of(act.remember_until_us),
            "scope": act.remember_scope,
        }
    if remembered:
        details["remembered"] = remembered
    if task.state == APPROVED:
        details["approved_until"] = approval_rows.time_of(task.expires_us)
    return details
