"""Values that were approved for a rule, so that they need not be approved with each action (`remember: value`).

A value is kept as a digest over its text and what `origin` looks up of it, bound to the rule's hash, to the action and
the resource, the place in the arguments and its role, and to one agent or workflow; of its text there are the ends that
explanations show.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import orjson

from actors.approvals import journal as approval_journal
from actors.approvals import rows as approval_rows
from actors.approvals.journal import Value
from actors.approvals.messages import Viewer
from actors.approvals.task import APPROVED, AskedRule, Given, Task
from actors.ids import agent_key, ordinal_of_decision, subject_of_key
from actors.live_agent import Session
from actors.messages import DecisionRequest
from actors.owner import Owner
from controlplane.errors import NotFoundError
from policies.bundle import Rule
from policies.origin.units import LONGEST_PATH, Unit

MOST_OF_RULE: Final = 32
"""Values of one action that can be approved as values."""
LONGEST_US: Final = 90 * 24 * 3_600_000_000
PREFIX: Final = "apv_"
MOST_VALUES: Final = 100_000
"""That one owner remembers; past them approving is for one action only."""


def digest_of(unit: Unit, *, action: str, resource_type: str, resource_id: str) -> str:
    """What stands for a value: 128 bits, hex.

    INVARIANT (that value): what `origin` takes for one, since it folds what disguises, is not one to whom it is sent.
    """
    # All items of a list are in one place.
    place = tuple("*" if step.isdigit() else step for step in unit.path.split("/"))
    said = (
        action, resource_type, resource_id, unit.role, place, unit.whole, unit.names, unit.beside, unit.words,
        unit.strong, unit.indirect, unit.exact,
    )  # fmt: skip
    return blake2b(repr(said).encode(), digest_size=16).hexdigest()


def values_of(request: DecisionRequest, objecting: list[Unit | None]) -> list[list[str]]:
    """(digest, ends, place) of the values that a rule objected to; none where they cannot be approved as values."""
    if len(objecting) > MOST_OF_RULE:
        return []
    found = []
    for unit in objecting:
        if unit is None or _is_cut(unit):
            return []
        found.append([_digest(request, unit), unit.masked, unit.path])
    return found


def approved(
    owner: Owner, request: DecisionRequest, session: Session, now_us: int, rule: Rule, unit: Unit
) -> str | None:
    """The id under which a value is approved for a rule, for this agent or workflow. Cost: two index lookups."""
    if _is_cut(unit):
        return None
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    holders = (key, session.workflow_id)
    # INVARIANT (rule): what was approved for a rule that says something else by now says nothing of it.
    return approval_journal.remembered(owner.journal, _digest(request, unit), rule.hash, holders, now_us)


def approved_with(owner: Owner, task: Task, time_us: int) -> list[Value]:
    """The values that an approved task's approvers approved as such: for one agent or one workflow, a quorum of each
    rule has to have said so."""
    if (
        task.state != APPROVED
        or approval_journal.count_values(owner.journal, limit=MOST_VALUES) >= MOST_VALUES
    ):
        return []
    found: list[Value] = []
    for rule in task.rules:
        lasting = [one for one in rule.given if one.remember_until_us is not None]
        for scope in ("agent", "workflow"):
            # Neither is the narrower one: who approves it for this agent speaks of no other in the workflow.
            given = [one for one in lasting if one.remember_scope == scope]
            if len(given) >= rule.terms.quorum:
                found += _of_rule(owner, task, rule, given, time_us)
    return found


def _of_rule(owner: Owner, task: Task, rule: AskedRule, given: list[Given], time_us: int) -> list[Value]:
    # The narrowest of what they said.
    until_us = min(one.remember_until_us or 0 for one in given)
    for_workflow = task.workflow is not None and given[0].remember_scope == "workflow"
    holder = task.workflow if for_workflow and task.workflow is not None else task.agent
    found = []
    for digest, shown, at in rule.values:
        entry = {
            "rule": rule.rule,
            "scope": "workflow" if for_workflow else "agent",
            "agent": subject_of_key(task.agent)[2],
            "subject_type": subject_of_key(task.agent)[1],
            "workflow": task.workflow if for_workflow else None,
            "action": task.action,
            "resource": {"type": task.resource_type, "id": task.resource_id},
            "argument": at,
            "shown": shown,
            "approval": task.id,
            "approved_by": [one.approver for one in given],
            "approved_at": approval_rows.time_of(time_us),
        }
        identity = PREFIX + owner.new_event_id(time_us)
        raw = orjson.dumps(entry)
        found.append(Value(identity, task.tenant, rule.hash, holder, digest, until_us, raw))
    return found


def listed(owner: Owner, tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
    """The values that are approved here, in the order of their ids."""
    owner.journal.refuse_fenced()
    found = approval_journal.values_of(owner.journal, tenant, after=after, limit=limit)
    return [_shown(value) for value in found]


def revoke(owner: Owner, viewer: tuple[Any, ...], identity: str, key_id: str) -> dict[str, Any]:
    """Forget a value: from the next action on the rule objects to it again. Durable when it returns.

    Raises: NotFoundError: there is none, or an approver's key stands for none of those who approved it.
    """
    owner.refuse_backlog()
    who = Viewer._make(viewer)
    value = approval_journal.find_value(owner.journal, identity)
    entry = {} if value is None else orjson.loads(value.entry)
    mine = who.role == "operator" or (
        who.approver is not None and who.approver in entry.get("approved_by", ())
    )
    if value is None or value.tenant != who.tenant or not mine:
        raise NotFoundError(f"no approved value `{identity}`", code="unknown_value")
    time_us = owner.event_time().us
    details = {"value": identity, "actor": who.approver or key_id, "rule": entry["rule"]}
    row = approval_rows.value_row(
        entry, value.tenant, event_id=owner.new_event_id(time_us), time_us=time_us, details=details
    )
    with owner.journal.transaction() as step:
        approval_journal.forget_value(step, identity)
        step.append(row)
        step.set_meta("event_time_us", time_us)
    return _shown(value)


def value_ordinal(identity: str) -> int | None:
    """Which log an approved value's id points to."""
    return ordinal_of_decision(identity.removeprefix(PREFIX)) if identity.startswith(PREFIX) else None


def _is_cut(unit: Unit) -> bool:
    """Whether a unit may stand for more than one value, or for one in more than one place."""
    return unit.cut or len(unit.path) >= LONGEST_PATH


def _digest(request: DecisionRequest, unit: Unit) -> str:
    return digest_of(
        unit, action=request.action, resource_type=request.resource_type, resource_id=request.resource_id
    )


def _shown(value: Value) -> dict[str, Any]:
    shown: dict[str, Any] = orjson.loads(value.entry)
    return {"id": value.id, **shown, "until": approval_rows.time_of(value.until_us)}
