"""What became of a permitted action: reported once, by the PEP that executed it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from actors import evidence_rows, overdue, settlements, shadowing, tracing
from actors.agent_journal import find_decision, save_decision_outcome
from actors.deciding import read_answer
from actors.journal import Transaction
from actors.messages import Decided, DecidedAction, Outcome
from actors.owner import Owner
from actors.past_journal import save_outcome
from actors.remembering import reported
from actors.stops import stopping
from controlplane.errors import ConflictError, NotFoundError
from policies.effect import Effect
from policies.origin.told import Told


def remembered(owner: Owner, decision_id: str) -> tuple[Decided, DecidedAction, dict[str, Any] | None]:
    """A decision of the last 24 hours, the action behind it, and its outcome if one was reported.

    Raises: NotFoundError: this owner does not hold it (any more).
    """
    found = find_decision(owner.journal, decision_id)
    if found is None:
        raise NotFoundError(
            f"no decision `{decision_id}` of the last 24 hours; older ones stand in the evidence table"
        )
    answer, request, outcome = found
    return (
        read_answer(answer),
        # A row of an earlier version has fewer fields.
        DecidedAction(*orjson.loads(request)),
        json.loads(outcome) if outcome else None,
    )


def report_outcome(owner: Owner, outcome: Outcome) -> dict[str, Any]:
    """Record what a permitted action came to. Durable when it returns. Taken of an agent that is stopped, too.

    Returns: ``{"decision", "outcome", "findings"}``; a finding `executed_digest_mismatch` says that what was
        executed is not what was allowed, and stops the agent if the deployment says so. Of a foreign action also
        ``"settlement"``: what to tell its agent's home.
    Raises: NotFoundError; ConflictError: it was never permitted, or already has an outcome; EvidenceBacklogError:
        it is to be reported again.
    """
    owner.refuse_backlog()
    answer, action, previous = remembered(owner, outcome.decision_id)
    if answer.effect not in (Effect.ALLOW, Effect.MODIFY):
        raise ConflictError(
            f"decision `{answer.id}` was `{answer.effect}`: there is no outcome to report",
            code="not_permitted",
        )
    if previous is not None:
        raise ConflictError(
            f"decision `{answer.id}` already has the outcome `{previous['status']}`",
            code="outcome_already_reported",
            expected=previous["status"],
            found=outcome.status,
        )
    time_us = owner.event_time().us
    mismatch = (
        outcome.executed_digest is not None and outcome.executed_digest.hex() != action.arguments_digest
    )
    try:
        with owner.journal.transaction() as step:
            _record(owner, outcome, answer, action, step, time_us, mismatch=mismatch)
            told = settlements.report(owner, step, outcome)
    except BaseException:
        # As for decisions: what did not become durable is not remembered.
        owner.forget_memory()
        raise
    shown: dict[str, Any] = {
        "decision": answer.id,
        "outcome": outcome.status,
        "findings": [stopping.EXECUTED_DIGEST_MISMATCH] if mismatch else [],
    }
    return shown if told is None else shown | {"settlement": tuple(told)}


def _record(
    owner: Owner,
    outcome: Outcome,
    answer: Decided,
    action: DecidedAction,
    step: Transaction,
    time_us: int,
    *,
    mismatch: bool,
) -> None:
    if action.past is not None:
        told = reported(owner, outcome, action, answer.session)
        owner.pasts.save(step, told.changed, now_us=time_us)
        owner.pasts.forget(step, told.stale)
        if owner.shadow is not None and answer.session is not None:
            shadowing.told(owner, owner.shadow, step, outcome, action, answer.session)
        save_outcome(step, told.history, outcome=told.code, witnessed=outcome.witness)
    if outcome.told is not None and action.workflow_id is not None:
        tracing.reported(
            owner,
            action.workflow_id,
            Told._make(outcome.told),
            decision_id=answer.id,
            looked_up=action.looked_up,
            witnessed=outcome.witness,
        )
        owner.origins.save(step, now_us=time_us)
    step.append(
        evidence_rows.outcome_row(
            outcome,
            action,
            event_id=owner.new_event_id(time_us),
            time_us=time_us,
            session=answer.session,
            bundle=answer.bundle,
        )
    )
    if mismatch:
        details: dict[str, Any] = {"decision": answer.id, "status": outcome.status}
        if (made := stopping.stop_for_finding(owner, action, answer.id, step, time_us)) is not None:
            details["stops"] = [made]
        step.append(
            evidence_rows.finding_row(
                action,
                event_id=owner.new_event_id(time_us),
                time_us=time_us,
                session=answer.session,
                reason_code=stopping.EXECUTED_DIGEST_MISMATCH,
                details=details,
            )
        )
    recorded = {"status": outcome.status, "reported_at_us": time_us}
    save_decision_outcome(step, answer.id, json.dumps(recorded))
    step.set_meta("event_time_us", time_us)


def describe_decision(owner: Owner, decision_id: str) -> dict[str, Any]:
    """A decision as it was answered, and what it came to."""
    answer, action, outcome = remembered(owner, decision_id)
    return {
        "answer": list(answer),
        "action": action._asdict(),
        "outcome": outcome,
        "overdue": overdue.is_overdue(owner, answer, outcome),
    }
