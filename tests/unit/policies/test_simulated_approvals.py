"""A simulation compares what rules say: what people approved was escalated, and it happened."""

from __future__ import annotations

import pytest
from unit.policies.policy_texts import CATALOG, bundle_of, policy

from policies.action import Subject
from policies.replay.recorded import RecordedAction
from policies.replay.simulation import Simulation

ASKS = "{id: ask, on: {tool: crm.read}, then: escalate, approve: {by: 'role:treasury'}}"
OPEN = "{id: all, then: allow}"


def recorded(name: str, tool: str, time_us: int, *, approved: bool, bundle: str) -> RecordedAction:
    return RecordedAction(
        id=name,
        time_us=time_us,
        asked_us=time_us,
        tenant="default",
        subject=Subject(type="agent", id="bot"),
        session="s",
        workflow="s",
        action="call",
        resource_type="tool",
        resource_id=tool,
        arguments={},
        complete=True,
        decision="allow",
        reason_code="rule_allow",
        bundle=bundle,
        rules=("p/all", "p/ask") if approved else ("p/all",),
        approved=approved,
    )


@pytest.mark.parametrize(("approved", "changed"), [(True, 0), (False, 1)])
def test_what_was_approved_is_no_change_under_the_rules_that_escalated_it(
    approved: bool, changed: int
) -> None:
    bundle = bundle_of(policy(OPEN, ASKS), CATALOG)
    simulation = Simulation(bundle, {}, since_us=0)
    simulation.tell(recorded("d", "crm.read", 1, approved=approved, bundle=bundle.digest))
    report = simulation.report()
    assert (report.changed, report.other_reasons) == (changed, 0)


def test_what_was_approved_is_past_to_what_comes() -> None:
    after = "{id: after, on: {tool: clock.read}, past: once reads, then: deny}"
    bundle = bundle_of(policy(OPEN, ASKS, after, head="define: {reads: {on: {tool: crm.read}}}\n"), CATALOG)
    simulation = Simulation(bundle, {}, since_us=0)
    simulation.tell(recorded("first", "crm.read", 1, approved=True, bundle=bundle.digest))
    simulation.tell(recorded("second", "clock.read", 2, approved=False, bundle=bundle.digest))
    (shift,) = simulation.report().shifts
    assert (shift.was, shift.would_be, shift.samples) == ("allow", "deny", ("second",))
