"""Permitted actions of which nobody said in time what they came to."""

from __future__ import annotations

from typing import Final

import orjson

from actors import evidence_rows
from actors.agent_journal import find_outcomes
from actors.deciding import read_answer
from actors.ids import COUNTER_BITS, decision_key
from actors.messages import Decided, DecidedAction
from actors.owner import Owner

_NAMED: Final = 50
_NEXT: Final = "outcomes_looked_for"


def is_overdue(owner: Owner, answer: Decided, outcome: object) -> bool:
    """Whether the outcome of this decision should have come by now and has not."""
    if not answer.expires_us or outcome is not None:
        return False
    return decision_key(answer.id) < _due(owner)


def notice(owner: Owner, *, limit: int) -> bool:
    """Leave a finding `outcome_overdue` for each agent with permitted actions whose outcome did not come in time; once
    for each of them. An outcome that comes later is taken all the same.

    Args:
        limit: how many decisions are looked at.
    Returns: whether there are more to look at. Durable when it returns.
    Cost: one transaction; about 1 µs a decision, 4 µs one without an outcome.
    """
    first, due = int(owner.journal.meta(_NEXT, 0)), _due(owner)
    # Findings are evidence as well: they wait where it cannot land.
    if due <= first or owner.backlogged():
        return False
    rows = find_outcomes(owner.journal, since=first, before=due, limit=limit)
    whole = len(rows) < limit
    silent: dict[tuple[str, str], list[str]] = {}
    for _, identity, answer, request in rows:
        if identity is None or answer is None or request is None or not read_answer(answer).expires_us:
            continue
        action = DecidedAction(*orjson.loads(request))
        silent.setdefault((action.tenant, action.subject_id), []).append(identity)
    now_us = owner.event_time().us
    with owner.journal.transaction() as step:
        for (tenant, agent_id), decisions in silent.items():
            step.append(
                evidence_rows.overdue_row(
                    tenant,
                    agent_id,
                    event_id=owner.new_event_id(now_us),
                    time_us=now_us,
                    details={
                        "count": len(decisions),
                        "decisions": decisions[:_NAMED],
                        "timeout_s": owner.settings.outcome_timeout_s,
                    },
                )
            )
        if silent:
            step.set_meta("event_time_us", now_us)
        step.set_meta(_NEXT, due if whole else rows[-1][0] + 1)
    return not whole


def _due(owner: Owner) -> int:
    """What is filed before this should have an outcome; 0: nothing has to have one."""
    timeout_us = owner.settings.outcome_timeout_s * 1_000_000
    return (owner.event_time().us - timeout_us) // 1000 << COUNTER_BITS if timeout_us else 0
