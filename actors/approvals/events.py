"""Each event of an approval as one durable step: the task, its evidence, and a notice for channels; and what happens
by itself as time passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from actors.approvals import journal as approval_journal
from actors.approvals import rows as approval_rows
from actors.approvals import values as approval_values
from actors.approvals.approvers import may_act
from actors.approvals.task import EXPIRED, Task
from actors.delegation_journal import owner_elsewhere
from actors.journal import Transaction
from actors.owner import Owner

AT_ONCE: Final = 200
"""Tasks of which one round of housekeeping lets something happen."""


def write(
    owner: Owner,
    step: Transaction,
    task: Task,
    event_type: str,
    time_us: int,
    *,
    actor: str,
    approver: str | None = None,
    comment: str = "",
    arguments: bytes | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    """A task after an event: its row, and what is told of it, in one transaction.

    Args:
        actor: who did it: `type:id`, a key's id, or "time".
        arguments: JSON of narrowed arguments.
        more: further details of the evidence.
    """
    approval_journal.save(step, task, now_us=time_us, arguments=arguments)
    tell(owner, step, task, event_type, time_us, actor=actor, approver=approver, comment=comment, more=more)


def tell(
    owner: Owner,
    step: Transaction,
    task: Task,
    event_type: str,
    time_us: int,
    *,
    actor: str,
    approver: str | None = None,
    comment: str = "",
    more: dict[str, Any] | None = None,
) -> None:
    """Evidence and a notice."""
    details: dict[str, Any] = {"actor": actor}
    if comment:
        details["comment"] = comment
    to = may_act(task, time_us) if task.open else []
    if to:
        details["may_act"] = to
    step.append(
        approval_rows.row(
            task,
            event_type,
            event_id=owner.new_event_id(time_us),
            time_us=time_us,
            approver=approver,
            details=details | (more or {}),
        )
    )
    approval_journal.notify(
        step, approval_rows.notice(task, event_type, time_us=time_us, to=to, actor=actor, comment=comment)
    )
    step.set_meta("event_time_us", time_us)


def owned_now(owner: Owner, task: Task) -> Task:
    """A task with whoever owns its agent by now among those that `exclude: owner` speaks of, besides who did."""
    record = owner.record_by_key(task.agent)
    whose = owner_elsewhere(owner.journal, task.agent) if record is None else record.owner
    return task if not whose or whose in task.owners else replace(task, owners=(*task.owners, whose))


def advance(owner: Owner, step: Transaction, task: Task, now_us: int) -> Task:
    """Let happen what time brings: it expires, those of `then_to` may approve as well, somebody is reminded.

    INVARIANT (expiry): whoever touches a task comes here first, so that nothing is approved, and nothing used, that
    has expired by the owner's event time.
    """
    due_us = task.due_us
    if due_us is None or due_us > now_us:
        return task
    if now_us >= task.expires_us:
        task = task.ended(EXPIRED)
        write(owner, step, task, approval_rows.EXPIRED, now_us, actor="time")
        return task
    if names := [rule.rule for rule in task.rules if task.waits_for_more(rule, now_us)]:
        task = task.escalate(now_us)
        write(owner, step, task, approval_rows.ESCALATED, now_us, actor="time", more={"rules": names})
    if task.open and not task.reminded and now_us >= task.remind_us:
        task = task.remind()
        write(owner, step, task, approval_rows.REMINDED, now_us, actor="time")
    return task


def let_time_pass(owner: Owner) -> bool:
    """What is due of all tasks. Returns: whether there is more. Cost: an index lookup where nothing is due.

    Raises: EvidenceBacklogError: there is no room for its evidence; it stays due.
    """
    time = owner.event_time()
    if not time.certain:
        return False  # nothing is allowed meanwhile either
    due = approval_journal.due(owner.journal, now_us=time.us, limit=AT_ONCE)
    if due:
        owner.refuse_backlog()
        with owner.journal.transaction() as step:
            for task in due:
                advance(owner, step, task, time.us)
    return len(due) == AT_ONCE


def remember_values(owner: Owner, step: Transaction, task: Task, time_us: int) -> list[str]:
    """An approved task's values, as far as its approvers approved them as such. Returns: their ids."""
    values = approval_values.approved_with(owner, task, time_us)
    approval_journal.remember(step, values)
    return [value.id for value in values]
