"""What oversight costs people, from rows of evidence."""

from __future__ import annotations

from typing import Any

from controlplane.oversight.load import ApproverLoad, RuleLoad, load_of

S = 1_000_000


def event(
    at_s: float, kind: str, approval: str, state: str, approver: str | None = None, **changes: Any
) -> dict[str, Any]:
    return {
        "event_type": f"approval_{kind}",
        "time_us": int(at_s * S),
        "approval_id": approval,
        "approval_state": state,
        "approver_id": approver,
        "agent_id": "bot",
        "rule_ids": ["bank/large"],
        "details": '{"may_act":["role:treasury"]}',
    } | changes


def test_who_waits_for_whom_and_since_when() -> None:
    rows = [
        event(0, "requested", "a", "pending"),
        event(5, "requested", "b", "pending", agent_id="other"),
        event(6, "delegated", "b", "pending", "user:bob", agent_id="other", details='{"to":"user:eve"}'),
        event(7, "granted", "b", "partial", "user:anna", agent_id="other"),
        event(8, "denied", "a", "denied", "user:anna"),
    ]
    (waiting,) = load_of(rows, since_us=0, now_us=65 * S).waiting
    assert (waiting.approval, waiting.agent, waiting.rules, waiting.may_act) == (
        "b",
        "other",
        ("bank/large",),
        ("role:treasury",),
    )
    assert (waiting.since_us, waiting.age_s) == (5 * S, 60)


def test_what_was_asked_for_before_the_period_and_still_waits_is_found() -> None:
    found = load_of([event(0, "requested", "a", "pending")], since_us=50 * S, now_us=100 * S)
    assert [one.age_s for one in found.waiting] == [100]
    assert found.rules == ()


def test_by_approver_how_much_is_approved_and_how_long_it_takes() -> None:
    rows = [event(0, "requested", name, "pending") for name in "abc"]
    rows += [
        event(10, "granted", "a", "approved", "user:anna"),
        event(20, "granted", "b", "approved", "user:anna"),
        event(60, "denied", "c", "denied", "user:anna"),
        event(61, "granted", "b", "approved", "user:bob"),
    ]
    assert load_of(rows, since_us=0, now_us=100 * S).approvers == (
        ApproverLoad(approver="user:anna", approved=2, denied=1, rate=2 / 3, median_s=20, hasty=0),
        ApproverLoad(approver="user:bob", approved=1, denied=0, rate=1, median_s=61, hasty=0),
    )


def test_a_rubber_stamp_follows_the_request_or_the_last_decision_within_two_seconds() -> None:
    rows = [event(0, "requested", name, "pending") for name in "abcd"]
    rows += [
        event(1.9, "granted", "a", "approved", "user:anna"),  # of the request
        event(30, "granted", "b", "approved", "user:anna"),
        event(31, "granted", "c", "approved", "user:anna"),  # of the decision before it
        event(31.5, "granted", "d", "approved", "user:bob"),  # somebody else's
    ]
    hasty = {one.approver: one.hasty for one in load_of(rows, since_us=0, now_us=100 * S).approvers}
    assert hasty == {"user:anna": 2, "user:bob": 0}


def test_decisions_before_the_period_do_not_count_but_are_remembered() -> None:
    rows = [event(0, "requested", name, "pending") for name in "ab"]
    rows += [
        event(49.5, "granted", "a", "approved", "user:anna"),
        event(50.5, "granted", "b", "approved", "user:anna"),
    ]
    (anna,) = load_of(rows, since_us=50 * S, now_us=100 * S).approvers
    assert (anna.approved, anna.hasty) == (1, 1)


def test_by_rule_what_became_of_what_it_held_up() -> None:
    both = ["bank/large", "bank/payee"]
    rows = [
        event(0, "requested", "a", "pending", rule_ids=both),
        event(0, "requested", "b", "pending"),
        event(0, "requested", "c", "pending"),
        event(0, "requested", "d", "pending"),
        event(0, "requested", "e", "pending"),
        event(10, "granted", "a", "approved", "user:anna", rule_ids=both),
        event(20, "denied", "b", "denied", "user:anna"),
        event(30, "expired", "c", "expired"),
        event(40, "cancelled", "d", "cancelled"),
        event(50, "expired", "a", "expired", rule_ids=both),  # approved, and not used in time
    ]
    assert load_of(rows, since_us=0, now_us=100 * S).rules == (
        RuleLoad(
            rule="bank/large",
            requested=5,
            approved=1,
            denied=1,
            expired=1,
            cancelled=1,
            rate=0.25,
            median_s=25,
        ),
        RuleLoad(
            rule="bank/payee", requested=1, approved=1, denied=0, expired=0, cancelled=0, rate=1, median_s=10
        ),
    )


def test_what_an_approver_denies_after_it_was_approved_is_denied() -> None:
    rows = [
        event(0, "requested", "a", "pending"),
        event(10, "granted", "a", "approved", "user:anna"),
        event(20, "denied", "a", "denied", "user:bob"),
        event(0, "requested", "b", "pending"),
        event(10, "granted", "b", "approved", "user:anna"),
        event(30, "cancelled", "b", "cancelled"),
    ]
    (rule,) = load_of(rows, since_us=0, now_us=100 * S).rules
    assert (rule.approved, rule.denied, rule.cancelled, rule.median_s) == (1, 1, 0, 15)


def test_a_rule_whose_approvals_all_wait_has_no_rate() -> None:
    (rule,) = load_of([event(0, "requested", "a", "pending")], since_us=0, now_us=S).rules
    assert (rule.rate, rule.median_s) == (None, None)


def test_nothing_is_no_load() -> None:
    found = load_of([], since_us=0, now_us=S)
    assert (found.waiting, found.approvers, found.rules) == ((), (), ())
