"""Requests for approval at an owner: who may approve, what an approval is bound to, and that it permits once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from unit.actors.approvals_bench import POLICY, ApprovalBench, bench

from actors.approvals import journal as approval_journal
from actors.approvals import requests as approvals
from actors.approvals.events import let_time_pass
from actors.approvals.rows import time_of
from actors.ids import binding_token
from controlplane.errors import ConflictError, ForbiddenError, GovernanceError, NotFoundError, OverloadedError


@pytest.fixture
def desk(tmp_path: Path) -> ApprovalBench:
    return bench(tmp_path)


def refused(kind: type[GovernanceError], code: str, call: Callable[[], object]) -> str:
    with pytest.raises(kind) as found:
        call()
    assert found.value.code == code, found.value
    return found.value.message


# -- from the question to the answer -------------------------------------------------------------------------------


def test_two_approvals_lift_an_escalation_once(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    assert escalated.effect == "escalate" and escalated.access is not None
    task = desk.ask(escalated)
    assert (task["state"], task["decision_id"]) == ("pending", escalated.id)
    assert desk.approve(task["id"], "user:anna")["state"] == "pending"
    assert desk.approve(task["id"], "user:bert")["state"] == "approved"
    allowed = desk.pay(approval=task["id"])
    assert allowed.effect == "allow" and allowed.expires_us > 0
    assert allowed.approval is not None and allowed.approval[:2] == (task["id"], "used")
    assert [rule for rule, _, _ in allowed.reasons] == ["desk/all", "desk/large"]
    again = desk.pay(approval=task["id"])
    assert again.effect == "escalate" and f"was used by decision `{allowed.id}`" in again.detail
    assert desk.events() == [
        "approval_requested",
        "approval_granted",
        "approval_granted",
        "approval_consumed",
    ]


def test_evidence_says_who_did_what_and_why(desk: ApprovalBench) -> None:
    task = desk.ask(desk.pay(), justification="invoice 4711")
    desk.approve(task["id"], "user:anna", "user:bert")
    allowed = desk.pay(approval=task["id"])
    rows = [row for row in desk.rows() if row.get("approval_id") == task["id"]]
    requested, anna, bert, decision, consumed = rows
    assert orjson.loads(requested["details"])["justification"] == "invoice 4711"
    assert (anna["approver_id"], anna["approval_state"]) == ("user:anna", "pending")
    assert (bert["approver_id"], bert["approval_state"]) == ("user:bert", "approved")
    said = orjson.loads(bert["details"])
    assert (said["actor"], said["comment"], said["rules"]) == (
        "user:bert",
        "user:bert says so",
        ["desk/large"],
    )
    assert decision["event_id"] == allowed.id and decision["approval_state"] == "used"
    given = orjson.loads(decision["details"])["approval"]
    assert given == {"id": task["id"], "rules": {"desk/large": ["user:anna", "user:bert"]}}
    assert orjson.loads(consumed["details"])["permitted"] == allowed.id


def test_asking_again_gives_the_same_task(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    first = desk.ask(escalated)
    assert desk.ask(escalated)["id"] == first["id"]
    assert desk.events() == ["approval_requested"]


def test_who_asks_for_the_same_action_again_gets_the_same_task_until_it_is_over(desk: ApprovalBench) -> None:
    first = desk.asked()
    assert desk.asked() == first
    assert desk.asked(5001) != first
    desk.approve(first, "user:anna", "user:bert")
    assert desk.asked() == first
    assert desk.pay(approval=first).effect == "allow"
    second = desk.asked()
    assert second != first
    desk.deny(second, "user:anna")
    third = desk.asked()
    assert third != second
    desk.pass_s(1800)
    assert desk.asked() != third
    desk.use(POLICY.replace("1000.0", "2000.0"))
    assert desk.events().count("approval_requested") == 5
    desk.asked()
    assert desk.events().count("approval_requested") == 6


def test_a_token_of_another_deployment_or_tenant_asks_for_nothing(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    assert escalated.access is not None
    until_us = escalated.access[1]
    for key, tenant in ((b"x" * 32, "default"), (b"s" * 32, "other")):
        forged = binding_token(key=key, tenant=tenant, decision=escalated.id, expires_us=until_us)
        refused(
            NotFoundError,
            "unknown_binding_token",
            lambda forged=forged: desk.ask(escalated, token=forged),  # type: ignore[misc]
        )
    desk.pass_s(1801)
    refused(ConflictError, "binding_token_expired", lambda: desk.ask(escalated))


def test_arguments_must_be_those_that_were_decided(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    call = lambda: desk.ask(escalated, arguments=b"{}", arguments_digest=b"o" * 32)  # noqa: E731
    refused(ConflictError, "arguments_mismatch", call)


def test_arguments_are_kept_while_somebody_has_to_look_at_them(desk: ApprovalBench) -> None:
    request = desk.request("bot", "bank.pay", {"amount": 5000, "to": "DE89"})
    raw = b'{"amount":5000,"to":"DE89"}'
    task = desk.ask(desk.pay(), arguments=raw, arguments_digest=request.arguments_digest)
    seen = approvals.look(desk.owner, desk.viewer(who="user:anna"), task["id"])
    assert seen["arguments"] == {"amount": 5000, "to": "DE89"} and seen["may_decide"]
    for other in (desk.viewer("auditor"), desk.viewer("agent", agents=("bot",))):
        assert "arguments" not in approvals.look(desk.owner, other, task["id"])
    assert b"DE89" not in b"".join(notice for _, notice in approval_journal.notices(desk.owner.journal, 0, 9))
    desk.approve(task["id"], "user:anna", "user:bert")
    assert approval_journal.arguments_of(desk.owner.journal, task["id"]) is None


# -- what an approval is bound to ----------------------------------------------------------------------------------


def approved(desk: ApprovalBench, amount: float = 5000) -> str:
    identity = desk.asked(amount)
    desk.approve(identity, "user:anna", "user:bert")
    return identity


def test_a_changed_argument_is_not_what_was_approved(desk: ApprovalBench) -> None:
    identity = approved(desk)
    other = desk.pay(5001, approval=identity)
    assert other.effect == "escalate" and "is for other arguments" in other.detail
    assert other.access is not None
    assert desk.pay(approval=identity).effect == "allow"


def test_an_approval_is_for_one_agent_one_session_and_one_action(desk: ApprovalBench) -> None:
    identity = approved(desk)
    desk.register("other")
    arguments = {"amount": 5000, "to": "DE89"}
    (foreign,) = desk.decided(desk.request("other", "bank.pay", arguments, approval=identity))
    assert foreign.effect == "escalate" and "is none of this agent's" in foreign.detail
    from actors import sessions
    from actors.messages import SessionRequest

    opened = sessions.open_session(
        desk.owner, SessionRequest("default", "agent", "bot", None, True, "k", None)
    )
    assert "another session" in desk.pay(approval=identity, session=opened["session"]).detail
    assert desk.pay(approval=identity).effect == "allow"


def test_a_changed_rule_voids_its_approval(desk: ApprovalBench) -> None:
    identity = approved(desk)
    desk.use(POLICY.replace("quorum: 2", "quorum: 1"))
    again = desk.pay(approval=identity)
    assert again.effect == "escalate"
    assert "rule `desk/large` has changed since it was approved" in again.detail
    desk.use(POLICY)
    assert desk.pay(approval=identity).effect == "allow"


def test_a_rule_that_changes_before_it_is_asked_for_is_decided_again(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    desk.use(POLICY.replace("1000.0", "2000.0"))
    refused(ConflictError, "rule_changed", lambda: desk.ask(escalated))


def test_an_approval_lifts_its_rule_and_nothing_else(desk: ApprovalBench) -> None:
    identity = approved(desk)
    denies = "  - {id: no, on: {tool: bank.pay}, when: args.amount > 4000.0, then: deny}\n"
    desk.use(POLICY + denies)
    assert desk.pay(approval=identity).reason_code == "rule_deny"
    more = "  - {id: more, on: {tool: bank.pay}, then: escalate, approve: {by: 'role:board'}}\n"
    desk.use(POLICY + more)
    left = desk.pay(approval=identity)
    assert left.effect == "escalate" and "it does not cover rule `desk/more`" in left.detail
    both = desk.ask(left)
    assert [rule["rule"] for rule in both["rules"]] == ["desk/large", "desk/more"]
    desk.use(POLICY)
    assert desk.pay(approval=identity).effect == "allow"


def test_what_no_rule_would_allow_cannot_be_asked_for(desk: ApprovalBench) -> None:
    desk.use(POLICY.replace("{id: all, on: {tool: bank.*}", "{id: all, on: {tool: bank.look}"))
    escalated = desk.pay()
    assert escalated.access is None and "no rule would allow it" in escalated.detail


def test_a_rule_that_names_no_approver_cannot_be_lifted(desk: ApprovalBench) -> None:
    desk.use(POLICY + "  - {id: never, on: {tool: bank.pay}, then: escalate}\n")
    escalated = desk.pay()
    assert escalated.access is None and "names nobody in `approve`" in escalated.detail


def test_a_dry_run_shows_what_an_approval_does_and_uses_nothing(desk: ApprovalBench) -> None:
    identity = approved(desk)
    shown = desk.pay(approval=identity, dry_run=True)
    assert shown.effect == "allow" and shown.approval is not None and shown.approval[1] == "approved"
    assert desk.pay(dry_run=True).access is None
    assert desk.pay(approval=identity).effect == "allow"


def test_two_of_one_batch_use_an_approval_once(desk: ApprovalBench) -> None:
    identity = approved(desk)
    request = desk.request("bot", "bank.pay", {"amount": 5000, "to": "DE89"}, approval=identity)
    first, second = desk.decided(request, request)
    assert (first.effect, second.effect) == ("allow", "escalate")


# -- idempotency keys ----------------------------------------------------------------------------------------------


def test_after_approval_the_same_key_gets_its_allow_once_and_repeats_it(desk: ApprovalBench) -> None:
    escalated = desk.pay(idempotency_key="invoice-1")
    identity = str(desk.ask(escalated)["id"])
    assert desk.pay(idempotency_key="invoice-1", approval=identity).effect == "escalate"
    desk.approve(identity, "user:anna", "user:bert")
    allowed = desk.pay(idempotency_key="invoice-1", approval=identity)
    assert allowed.effect == "allow" and not allowed.replayed
    again = desk.pay(idempotency_key="invoice-1", approval=identity)
    assert again == allowed._replace(replayed=True)
    assert desk.pay(idempotency_key="invoice-2", approval=identity).effect == "escalate"
    assert desk.events().count("approval_consumed") == 1


# -- who may approve -----------------------------------------------------------------------------------------------


def test_nobody_counts_twice(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna")
    message = refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:anna"))
    assert "has approved it already" in message
    assert desk.state(identity) == "pending"


def test_whom_it_does_not_concern_sees_nothing(desk: ApprovalBench) -> None:
    identity = desk.asked()
    for who in ("user:emil", "user:nobody"):
        refused(NotFoundError, "unknown_approval", lambda who=who: desk.approve(identity, who))  # type: ignore[misc]
        refused(NotFoundError, "unknown_approval", lambda who=who: desk.deny(identity, who))  # type: ignore[misc]
        seen = lambda who=who: approvals.look(desk.owner, desk.viewer(who=who), identity)  # type: ignore[misc] # noqa: E731
        refused(NotFoundError, "unknown_approval", seen)


def test_the_agents_owner_may_not_approve(desk: ApprovalBench) -> None:
    identity = desk.asked()
    message = refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:owner"))
    assert "owns the agent" in message
    desk.register("bot", owner="someone")  # a new owner does not make the old one free to approve what waits
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:owner"))
    seen = approvals.look(desk.owner, desk.viewer(who="user:owner"), identity)
    assert not seen["may_decide"] and "owns the agent" in seen["why_not"]


def test_who_owns_the_agent_by_now_may_not_approve_what_waits(desk: ApprovalBench) -> None:
    identity = approved(desk)
    waits = desk.asked(6000)
    desk.register("bot", owner="user:anna")
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(waits, "user:anna"))
    assert "1 still count, of 2" in desk.pay(approval=identity).detail


@pytest.mark.parametrize(
    "owner", ["anna", "desk-7", "group:desk-7", "user:anna", "Anna", "User:ANNA ", "Desk-7", "Group:desk-7"]
)
def test_an_owner_is_a_person_or_a_team_however_it_is_written(desk: ApprovalBench, owner: str) -> None:
    desk.groups["user:anna"] = ["desk-7"]
    desk.renew_lease()
    desk.register("bot", owner=owner)
    identity = desk.asked()
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:anna"))
    assert desk.approve(identity, "user:bert", "user:cleo")["state"] == "approved"


def test_authors_approve_unless_they_are_excluded(desk: ApprovalBench) -> None:
    desk.approve(desk.asked(), "user:writer")
    desk.use(POLICY.replace("quorum: 2", "quorum: 2, exclude: [owner, author]"))
    identity = desk.asked()
    message = refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:writer"))
    assert "is an author of rule `desk/large`" in message


def test_whoever_lost_the_role_since_does_not_count(desk: ApprovalBench) -> None:
    identity = approved(desk)
    desk.people["user:bert"] = []
    desk.renew_lease()
    left = desk.pay(approval=identity)
    assert left.effect == "escalate" and "1 still count, of 2" in left.detail
    desk.people["user:bert"] = ["treasury"]
    desk.renew_lease()
    assert desk.pay(approval=identity).effect == "allow"


def test_an_approval_that_counts_no_more_is_not_half_of_a_quorum(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna")
    desk.people["user:anna"] = []
    desk.renew_lease()
    assert desk.approve(identity, "user:bert")["state"] == "pending"
    assert desk.approve(identity, "user:cleo")["state"] == "approved"


def test_what_is_approved_by_nobody_who_counts_is_asked_for_anew(desk: ApprovalBench) -> None:
    identity = approved(desk)
    desk.people["user:bert"] = []
    desk.renew_lease()
    anew = desk.asked()
    assert anew != identity and desk.state(identity) == "cancelled"
    desk.people["user:bert"] = ["treasury"]
    desk.renew_lease()
    assert desk.pay(approval=identity).effect == "escalate", "no two that can be used"
    desk.approve(anew, "user:anna", "user:cleo")
    assert desk.asked() == anew and desk.pay(approval=anew).effect == "allow"


def test_one_denial_ends_it(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna")
    assert desk.deny(identity, "user:bert")["state"] == "denied"
    refused(ConflictError, "approval_over", lambda: desk.approve(identity, "user:cleo"))
    assert "is denied" in desk.pay(approval=identity).detail


def test_what_is_approved_can_be_taken_back_until_it_is_used(desk: ApprovalBench) -> None:
    taken_back, used = approved(desk), approved(desk, 6000)
    assert desk.deny(taken_back, "user:bert")["state"] == "denied"
    assert "is denied" in desk.pay(approval=taken_back).detail
    assert desk.pay(6000, approval=used).effect == "allow"
    refused(ConflictError, "approval_over", lambda: desk.deny(used, "user:bert"))


def test_who_asked_may_give_up(desk: ApprovalBench) -> None:
    identity = desk.asked()
    stranger = desk.viewer("agent", agents=("else",))
    refused(
        NotFoundError, "unknown_approval", lambda: approvals.cancel(desk.owner, stranger, identity, "k", "")
    )
    own = desk.viewer("agent", agents=("bot",))
    assert approvals.cancel(desk.owner, own, identity, "k", "done by hand")["state"] == "cancelled"
    refused(ConflictError, "approval_over", lambda: desk.approve(identity, "user:anna"))


def test_a_delegate_takes_the_place_of_who_delegated(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.delegate(identity, "user:anna", "user:emil")
    shown = desk.approve(identity, "user:emil")
    (given,) = shown["rules"][0]["approvals"]
    assert (given["approver"], given["in_place_of"]) == ("user:emil", "user:anna")
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:anna"))
    refused(ForbiddenError, "may_not_delegate", lambda: desk.delegate(identity, "user:emil", "user:dora"))
    assert desk.approve(identity, "user:bert")["state"] == "approved"


def test_who_may_not_approve_cannot_have_it_done(desk: ApprovalBench) -> None:
    identity = desk.asked()
    refused(ForbiddenError, "may_not_delegate", lambda: desk.delegate(identity, "user:owner", "user:emil"))
    message = refused(
        ForbiddenError, "may_not_delegate", lambda: desk.delegate(identity, "user:anna", "user:owner")
    )
    assert "`user:owner` owns the agent" in message


def test_whom_an_owning_group_takes_in_may_not_approve_in_anybodys_place(desk: ApprovalBench) -> None:
    desk.register("bot", owner="group:desk")
    identity = desk.asked()
    desk.delegate(identity, "user:anna", "user:emil")
    desk.groups = {"user:emil": ["desk"]}
    desk.renew_lease()
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:emil"))


def test_an_approver_is_told_that_their_delegate_was_there_before(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.delegate(identity, "user:anna", "user:emil")
    desk.approve(identity, "user:emil")
    message = refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:anna"))
    assert message.endswith(
        "`user:emil` has approved it already; who delegates and their delegate count once"
    )


def test_a_delegation_ends(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.delegate(identity, "user:anna", "user:emil", until_us=desk.world.wall_us + 1_000_000)
    desk.pass_s(2)
    refused(NotFoundError, "unknown_approval", lambda: desk.approve(identity, "user:emil"))


# -- time ----------------------------------------------------------------------------------------------------------


def test_expired_is_denied(desk: ApprovalBench) -> None:
    waiting, ready = desk.asked(6000), approved(desk)
    desk.pass_s(1800)
    assert "has expired" in desk.pay(approval=ready).detail
    refused(ConflictError, "approval_over", lambda: desk.approve(waiting, "user:anna"))
    assert desk.state(waiting) == "expired"
    let_time_pass(desk.owner)
    assert desk.state(ready) == "expired"
    assert desk.events().count("approval_expired") == 2
    let_time_pass(desk.owner)
    assert desk.events().count("approval_expired") == 2


def test_after_a_time_others_may_approve_as_well(desk: ApprovalBench) -> None:
    identity = desk.asked()
    message = refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:dora"))
    from_us = desk.world.wall_us + 600_000_000
    assert f"those of `then_to` may decide from {time_of(from_us)[:19]}" in message
    desk.pass_s(600)
    let_time_pass(desk.owner)
    (notice,) = [
        orjson.loads(raw)
        for _, raw in approval_journal.notices(desk.owner.journal, 0, 100)
        if orjson.loads(raw)["event"] == "approval_escalated"
    ]
    assert notice["to"] == ["role:treasury", "role:board"]
    desk.approve(identity, "user:dora", "user:anna")
    assert desk.pay(approval=identity).effect == "allow"


def test_approvers_are_reminded_once(desk: ApprovalBench) -> None:
    desk.asked()
    for _ in range(3):
        desk.pass_s(301)
        let_time_pass(desk.owner)
    assert desk.events().count("approval_reminded") == 1


def test_a_restart_loses_nothing_at_any_step(desk: ApprovalBench) -> None:
    escalated = desk.pay()
    desk.restart()
    identity = str(desk.ask(escalated)["id"])
    desk.restart()
    desk.approve(identity, "user:anna")
    desk.restart()
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(identity, "user:anna"))
    desk.approve(identity, "user:bert")
    desk.restart()
    assert desk.pay(approval=identity).effect == "allow"
    desk.restart()
    assert desk.pay(approval=identity).effect == "escalate"
    assert desk.events() == [
        "approval_requested",
        "approval_granted",
        "approval_granted",
        "approval_consumed",
    ]


def test_what_is_not_durable_did_not_happen(desk: ApprovalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = approved(desk)
    from actors import deciding

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(deciding.settlements, "keep", fail)
        with pytest.raises(RuntimeError):
            desk.pay(approval=identity)
    assert desk.pay(approval=identity).effect == "allow"


# -- narrowing -----------------------------------------------------------------------------------------------------


def test_less_may_be_approved_and_voids_what_was_approved_before(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna")
    shown = desk.approve(identity, "user:bert", narrowed=desk.narrowed(2000))
    assert shown["state"] == "pending" and shown["approved_arguments"]["amount"] == 2000
    desk.approve(identity, "user:anna")
    assert "those that it was narrowed to" in desk.pay(5000, approval=identity).detail
    own = approvals.look(desk.owner, desk.viewer("agent", agents=("bot",)), identity)
    assert own["approved_arguments"] == {"amount": 2000, "to": "DE89"}
    assert desk.pay(2000, approval=identity).effect == "allow"
    assert approval_journal.arguments_of(desk.owner.journal, identity) is None


def test_two_who_narrow_do_not_undo_each_other(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna", narrowed=desk.narrowed(2000))
    refused(
        ConflictError,
        "narrowed_meanwhile",
        lambda: desk.approve(identity, "user:bert", narrowed=desk.narrowed(3000)),
    )
    shown = desk.approve(identity, "user:bert", narrowed=desk.narrowed(1500, of_amount=2000))
    assert shown["approved_arguments"]["amount"] == 1500


# -- bounds --------------------------------------------------------------------------------------------------------


def test_an_agent_cannot_fill_the_desks_of_its_approvers(
    desk: ApprovalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "MOST_OF_AGENT", 2)
    first, _ = desk.asked(5000), desk.asked(5001)
    refused(OverloadedError, "too_many_approvals", lambda: desk.asked(5002))
    desk.deny(first, "user:anna")
    desk.asked(5002)


def test_lists_show_what_concerns_whom(desk: ApprovalBench) -> None:
    first = desk.asked(5000)
    desk.pass_s(1)
    second = desk.asked(6000)
    desk.approve(first, "user:anna")

    def ids(who: tuple[object, ...], *, mine: bool = False, limit: int = 10, before: str = "") -> list[str]:
        states = ["pending", "partial"]
        found, left = approvals.listed(desk.owner, who, states, None, before, limit, mine=mine)
        assert left == ""
        return [task["id"] for task in found]

    assert ids(desk.viewer(who="user:anna")) == [second, first]
    assert ids(desk.viewer(who="user:anna"), mine=True) == [second]
    assert ids(desk.viewer(who="user:emil")) == []
    assert ids(desk.viewer("auditor")) == [second, first]
    assert ids(desk.viewer("agent", agents=("bot",)), limit=1) == [second]
    assert ids(desk.viewer("agent", agents=("bot",)), limit=1, before=second) == [first]
    assert ids(desk.viewer("agent", agents=("else",))) == []


def test_several_rules_are_approved_one_by_one(desk: ApprovalBench) -> None:
    more = "  - {id: board, on: {tool: bank.pay}, then: escalate, approve: {by: 'role:board'}}\n"
    desk.use(POLICY + more)
    identity = desk.asked()
    assert desk.approve(identity, "user:dora")["state"] == "partial"
    assert "is partial" in desk.pay(approval=identity).detail
    assert desk.approve(identity, "user:anna", "user:bert")["state"] == "approved"
    assert desk.pay(approval=identity).effect == "allow"


def test_what_has_changed_meanwhile_is_not_approved(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna")
    desk.use(POLICY.replace("large transfers", "larger transfers"))
    refused(ConflictError, "rule_changed", lambda: desk.approve(identity, "user:bert"))


def test_a_principal_of_the_type_role_is_nobodys_role(desk: ApprovalBench) -> None:
    desk.people["role:treasury"] = []
    desk.renew_lease()
    identity = desk.asked()
    refused(NotFoundError, "unknown_approval", lambda: desk.approve(identity, "role:treasury"))


def test_members_of_a_group_that_owns_the_agent_may_not_approve(desk: ApprovalBench) -> None:
    desk.register("bot", owner="role:treasury")
    refused(ForbiddenError, "may_not_approve", lambda: desk.approve(desk.asked(), "user:anna"))


def test_channels_are_told_of_every_event_and_whom_to_tell(desk: ApprovalBench) -> None:
    identity = desk.asked()
    desk.approve(identity, "user:anna", "user:bert")
    desk.pay(approval=identity)
    journal = desk.owner.journal
    told = approval_journal.notices(journal, 0, 100)
    shown = [orjson.loads(raw) for _, raw in told]
    assert [one["seq"] for one in shown] == [seq for seq, _ in told] == [1, 2, 3, 4]
    assert [one["event"] for one in shown] == desk.events()
    assert [one["to"] for one in shown] == [["role:treasury"], ["role:treasury"], [], []]
    assert shown[1]["actor"] == "user:anna" and shown[1]["comment"] == "user:anna says so"
    assert shown[1]["task"]["rules"][0]["approvals"][0]["approver"] == "user:anna"
    assert [seq for seq, _ in approval_journal.notices(journal, 2, 1)] == [3]
    approval_journal.forget_notices(journal, 4)
    desk.restart()
    desk.asked()
    assert [seq for seq, _ in approval_journal.notices(desk.owner.journal, 0, 100)] == [5]


def test_the_journal_forgets_what_is_over(desk: ApprovalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_journal, "MOST_NOTICES", 3)
    over, waiting = desk.asked(5000), desk.asked(6000)
    desk.deny(over, "user:anna")
    desk.pass_s(86_401)
    let_time_pass(desk.owner)
    now_us = desk.world.wall_us
    more = approval_journal.forget_what_is_over(
        desk.owner.journal, before_us=now_us - 86_400_000_000, now_us=now_us, limit=10
    )
    assert not more and approval_journal.find(desk.owner.journal, over) is None
    assert desk.state(waiting) == "expired"
    assert len(approval_journal.notices(desk.owner.journal, 0, 100)) == 3
