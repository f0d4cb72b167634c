"""The load that approvals put on people, from the rows of the evidence table. Pure.

Who waits for whom, by approver and by rule how much is approved, how long it takes, and how many decisions came too
fast to have been thought about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

HASTY_US: Final = 2_000_000
"""A decision within this of what the approver could first have seen is a rubber stamp: of the request, or of the
approver's own decision before it."""

_OUTCOMES: Final = ("approved", "denied", "expired", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One approval that is open.

    Attributes:
        agent: who waits.
        rules: which rules ask for approval.
        may_act: principals and roles, as far as evidence says.
    """

    approval: str
    agent: str
    rules: tuple[str, ...]
    may_act: tuple[str, ...]
    since_us: int
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverLoad:
    """What one person decided.

    Attributes:
        rate: approved of decided.
        median_s: from the request to the decision.
        hasty: see `HASTY_US`.
    """

    approver: str
    approved: int
    denied: int
    rate: float
    median_s: float
    hasty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLoad:
    """What became of what one rule held up. An approval that several rules ask for counts with each.

    Attributes:
        rate: approved of those that came to an end.
        median_s: from the request to the last approval or the end; None = none has ended.
    """

    rule: str
    requested: int
    approved: int
    denied: int
    expired: int
    cancelled: int
    rate: float | None
    median_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Args: waiting: the longest first; approvers, rules: the most loaded first."""

    waiting: tuple[Waiting, ...]
    approvers: tuple[ApproverLoad, ...]
    rules: tuple[RuleLoad, ...]


@dataclass(slots=True)
class _Task:
    approval: str
    requested_us: int
    agent: str = ""
    rules: tuple[str, ...] = ()
    may_act: tuple[str, ...] = ()
    outcome: str = ""
    ended_us: int | None = None


def load_of(rows: Iterable[Mapping[str, Any]], *, since_us: int, now_us: int) -> Load:
    """The load of a period.

    Args:
        rows: of approvals, in the order of time: `event_type`, `time_us`, `approval_id`, `approval_state`,
            `approver_id`, `agent_id`, `rule_ids`, `details`. They may begin before the period: what was asked for
            before it and is open, or decided within it, counts.
        since_us: decisions and requests before it do not count.
    Cost: linear.
    """
    tasks: dict[str, _Task] = {}
    decided: dict[str, list[tuple[int, int, bool]]] = {}  # (when, how long it took, approved) by approver
    for row in rows:
        task = _follow(tasks, row)
        approver = row["approver_id"]
        if row["event_type"] in ("approval_granted", "approval_denied") and approver is not None:
            approved = row["event_type"] == "approval_granted"
            decided.setdefault(approver, []).append(
                (row["time_us"], row["time_us"] - task.requested_us, approved)
            )
    waiting = [
        Waiting(
            approval=task.approval,
            agent=task.agent,
            rules=task.rules,
            may_act=task.may_act,
            since_us=task.requested_us,
            age_s=(now_us - task.requested_us) / 1e6,
        )
        for task in tasks.values()
        if task.ended_us is None
    ]
    approvers = [
        found
        for approver, decisions in decided.items()
        if (found := _approver(approver, decisions, since_us)) is not None
    ]
    return Load(
        waiting=tuple(sorted(waiting, key=lambda one: one.since_us)),
        approvers=tuple(sorted(approvers, key=lambda one: (-one.approved - one.denied, one.approver))),
        rules=tuple(_rules(tasks.values(), since_us)),
    )


def _follow(tasks: dict[str, _Task], row: Mapping[str, Any]) -> _Task:
    """What a row makes of its approval."""
    time_us, state = row["time_us"], row["approval_state"]
    task = tasks.get(row["approval_id"])
    if task is None:
        task = tasks[row["approval_id"]] = _Task(row["approval_id"], time_us)
    task.agent = row["agent_id"] or task.agent
    task.rules = tuple(row["rule_ids"] or task.rules)
    if may_act := json.loads(row["details"] or "{}").get("may_act"):
        task.may_act = tuple(may_act)
    # The first end counts: one that was approved and not used in time expires, and was approved all the same. But an
    # approver may take an approval back before it is used, and that is the last word.
    if state in _OUTCOMES and (task.ended_us is None or (state == "denied" and task.outcome != "denied")):
        task.outcome, task.ended_us = state, time_us
    return task


def _approver(approver: str, decisions: list[tuple[int, int, bool]], since_us: int) -> ApproverLoad | None:
    hasty = approved = 0
    took_us: list[int] = []
    before_us = None
    for time_us, waited_us, yes in decisions:
        # Whoever decides a heap of them one after the other has looked at none since the last one.
        since_last_us = waited_us if before_us is None else min(waited_us, time_us - before_us)
        before_us = time_us
        if time_us < since_us:
            continue
        took_us.append(waited_us)
        approved += yes
        hasty += since_last_us < HASTY_US
    if not took_us:
        return None
    return ApproverLoad(
        approver=approver,
        approved=approved,
        denied=len(took_us) - approved,
        rate=approved / len(took_us),
        median_s=median(took_us) / 1e6,
        hasty=hasty,
    )


def _rules(tasks: Iterable[_Task], since_us: int) -> list[RuleLoad]:
    by_rule: dict[str, list[_Task]] = {}
    for task in tasks:
        if task.requested_us >= since_us:
            for rule in task.rules:
                by_rule.setdefault(rule, []).append(task)
    found = []
    for rule, held in by_rule.items():
        counts = dict.fromkeys(_OUTCOMES, 0)
        took_us = []
        for task in held:
            if task.ended_us is not None:
                counts[task.outcome] += 1
                took_us.append(task.ended_us - task.requested_us)
        found.append(
            RuleLoad(
                rule=rule,
                requested=len(held),
                approved=counts["approved"],
                denied=counts["denied"],
                expired=counts["expired"],
                cancelled=counts["cancelled"],
                rate=counts["approved"] / len(took_us) if took_us else None,
                median_s=median(took_us) / 1e6 if took_us else None,
            )
        )
    return sorted(found, key=lambda one: (-one.requested, one.rule))
