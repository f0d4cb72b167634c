"""Actions that two owners decide: what an agent's home holds, what the workflow's owner makes of it, and how the two
come to agree whoever was away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.actors.two_owners import HOME, WORK, TwoOwners, refusal, reserved

from actors import outcomes, reservations, settlements
from actors.agent_journal import forget_what_is_over
from actors.deciding import decide
from actors.journal import FencedError, JournalError
from actors.messages import DENIED, PERMITTED, STALE_BUNDLE, VOID, Decided, Outcome, Settlement
from actors.registration import describe_agent
from actors.reservation_journal import find_settlement
from actors.vouching import vouch
from policies.past.state import MOST_OPEN

TWICE = (
    "  - {id: twice, on: {tool: bank.pay}, limit: {count: actions, per: 24h, scope: agent, above: 2},"
    " then: deny}\n"
)
NO_SEND = "  - {id: no-send, past: 'sends and once[24h] reads', scope: agent, then: deny}\n"
SCAN_FIRST = (
    "  - {id: scan-first, on: {tool: mail.send}, past: 'not once[10m] done(scanned)', scope: agent,"
    " then: deny}\n"
)
BUDGET = (
    "  - {id: budget, on: {tool: bank.pay}, limit: {sum: args.amount, per: 24h, scope: agent, above: 100},"
    " then: deny}\n"
)
IN_WORKFLOW = "  - {id: no-send-here, past: 'sends and once reads', then: deny}\n"


def test_an_agents_budget_counts_whatever_its_sessions_are_and_wherever_they_live(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    assert two.do().effect == "allow"
    assert two.at_home().effect == "allow"
    denied = two.do(session=two.new_session())
    assert (denied.effect, denied.reasons[0][0]) == ("deny", "p/twice")
    assert two.at_home().effect == "deny"
    assert two.open() == [] and two.recorded() == [
        ("bank.pay", two.session),
        ("bank.pay", two.home.rows()[-1]["session_id"]),
    ]


def test_what_the_agent_did_at_home_is_past_to_what_it_does_elsewhere_and_the_reverse(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, NO_SEND)
    two.at_home("crm.read")
    assert two.do("mail.send").effect == "deny"
    other = TwoOwners(_made(tmp_path / "other"), NO_SEND)
    other.do("crm.read")
    assert other.at_home("mail.send").effect == "deny"
    row = two.work.rows()[-1]
    assert '"past":{"p/no-send":true}' in row["details"]


def test_what_touches_no_clause_of_the_agents_whole_past_reserves_nothing(tmp_path: Path) -> None:
    for number, (rules, tool) in enumerate(
        [((TWICE, IN_WORKFLOW), "crm.read"), ((IN_WORKFLOW,), "bank.pay")]
    ):
        two = TwoOwners(_made(tmp_path / str(number)), *rules)
        (request,) = two.vouched(two.request(tool))
        held = reserved(request)
        assert held is not None and not held.held and not held.truths
        assert two.open() == []


def test_what_touched_none_is_told_by_and_by_for_rules_to_come(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, IN_WORKFLOW)
    decided = two.do("crm.read")
    two.do("mail.send")  # denied: nothing to be told
    (one,) = two.waiting()
    assert one.verdict == PERMITTED and one.action is not None and two.recorded() == []
    two.pass_s(3)
    two.reconcile(WORK)
    two.tell([one])
    assert two.recorded() == [("crm.read", two.session)] and two.waiting() == []
    shown = describe_agent(two.home.owner, "default/agent/bot")
    assert ("tool", "crm.read") in {(node["kind"], node["name"]) for node in shown["graph"]["nodes"]}
    two.activate(NO_SEND)
    assert two.at_home("mail.send").reasons[0][0] == "p/no-send"
    assert two.report(decided) is not None


@pytest.mark.parametrize("reported", ["before it was told", "after", "after the rule came"])
def test_its_outcome_is_told_as_well(tmp_path: Path, reported: str) -> None:
    two = TwoOwners(tmp_path, IN_WORKFLOW)
    scan = two.do("dlp.scan")
    if reported == "before it was told":
        two.report(scan, tell=False)
    two.pass_s(3)
    two.reconcile(WORK)
    if reported == "after":
        two.report(scan)
    two.activate(SCAN_FIRST)
    if reported == "after the rule came":
        assert two.at_home("mail.send").effect == "deny"
        two.report(scan)
    assert two.at_home("mail.send").effect == "allow"


def test_what_is_told_meanwhile_does_not_take_the_place_of_what_is_open(tmp_path: Path) -> None:
    """A formula that waits for an outcome keeps an action open, and what was done elsewhere comes behind it."""
    nested = (
        "  - {id: nested, on: {tool: mail.send}, past: 'sends and once (reads and once done(scanned))', scope: agent,"
        " then: deny}\n"
    )
    two = TwoOwners(tmp_path, nested)
    two.do("note.write")
    scan = two.at_home("dlp.scan")
    assert len(two.past().open) == 1
    two.pass_s(3)
    two.reconcile(WORK)
    assert [tool for tool, _ in two.recorded()] == ["dlp.scan", "note.write"]
    twice = (
        "  - {id: scans, on: {tool: dlp.scan}, limit: {count: actions, per: 1h, scope: agent, above: 2},"
        " then: deny}\n"
    )
    two.activate(nested, twice)
    assert [two.at_home("dlp.scan").effect for _ in range(2)] == ["allow", "deny"]
    assert scan.effect == "allow"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_reservation_counts_before_it_is_decided_and_no_longer_once_it_was_denied(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE, IN_WORKFLOW)
    first, second = two.vouched(two.request(), two.request())
    assert two.at_home().effect == "deny"
    answers = two.work.decide(first, second._replace(deadline_us=0))
    assert [Decided._make(answer[1:]).effect for answer in answers] == ["allow", "deny"]
    assert two.at_home().effect == "deny"  # nobody has told yet
    two.settle([first, second], answers)
    assert two.at_home().effect == "allow" and two.open() == []


def test_the_items_of_a_batch_see_what_was_reserved_for_those_before(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    decided = two.act(*(two.request(group=7) for _ in range(4)))
    assert [one.effect for one in decided] == ["allow", "allow", "deny", "deny"]
    assert two.open() == []


def test_reservations_survive_the_death_of_either_owner(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    requests = two.vouched(two.request(), two.request())
    two.restart(HOME)
    assert two.at_home().effect == "deny" and len(two.open()) == 2
    answers = two.work.decide(*requests)
    two.restart(WORK)
    two.settle(requests, answers)
    two.restart(HOME)
    assert two.open() == [] and len(two.recorded()) == 2
    assert two.at_home().effect == "deny"


def test_it_is_told_in_the_background_when_no_replica_did_and_once(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    two.act(two.request(), settle=False)
    assert len(two.open()) == len(two.waiting()) == 1
    two.pass_s(3)
    two.away = {HOME}
    two.reconcile(WORK)
    assert len(two.open()) == len(two.waiting()) == 1
    two.away = set()
    two.reconcile(WORK)
    assert two.open() == [] and two.waiting() == []
    told = find_settlement(two.work.owner.journal, _only(two))
    assert told is not None and told.verdict == PERMITTED
    two.tell([told, told])
    assert len(two.recorded()) == 1 and len(two.past().open) == 0


def _only(two: TwoOwners) -> str:
    ((identity,),) = two.home.owner.journal.read("SELECT id FROM reservations")
    return str(identity)


def test_a_home_asks_about_what_nobody_spoke_of_and_what_was_never_seen_is_void_for_good(
    tmp_path: Path,
) -> None:
    two = TwoOwners(tmp_path, TWICE)
    (request,) = two.vouched(two.request())
    two.pass_s(6)
    two.away = {WORK}
    two.reconcile(HOME)
    assert len(two.open()) == 1  # it goes on counting
    two.away = set()
    two.reconcile(HOME)
    assert two.open() == []
    two.restart(WORK)
    (late,) = two.work.decided(request._replace(deadline_us=two.world.wall_us + 1_000_000))
    assert (late.effect, late.reason_code) == ("deny", "reservation_void")
    assert two.recorded() == []


def test_a_home_that_asks_hears_what_was_decided(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE, IN_WORKFLOW)
    two.act(two.request(), two.request(deadline_us=0), settle=False)
    two.pass_s(6)
    two.reconcile(HOME)
    assert two.open() == [] and len(two.recorded()) == 1


def test_what_an_owner_cannot_know_any_more_counts_as_permitted(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    two.act(two.request(), settle=False)
    two.pass_s(60)
    two.work.owner.journal.close()
    for file in tmp_path.glob("host-000.db*"):
        file.unlink()  # the operator began a new journal
    two.restart(WORK)
    two.reconcile(HOME)
    assert two.open() == [] and len(two.recorded()) == 1


def test_a_reservation_is_for_one_decision(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    (request,) = two.vouched(two.request())
    first, second = two.work.decided(request, request)
    assert (first.effect, second.reason_code) == ("allow", "reservation_void")
    (third,) = two.work.decided(request)
    assert third.reason_code == "reservation_void"
    two.settle([request], [two.work.decide(request)[0]])  # says nothing of the first
    assert len(two.open()) == 1
    two.pass_s(3)
    two.reconcile(WORK)
    assert two.open() == [] and len(two.recorded()) == 1


def test_a_replay_a_dry_run_and_what_is_refused_hold_nothing(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    assert two.do(idempotency_key="once").effect == "allow"
    again = two.do(idempotency_key="once")
    assert again.replayed and again.effect == "allow"
    assert two.open() == [] and len(two.recorded()) == 1
    (dry,) = two.vouched(two.request(dry_run=True))
    held = reserved(dry)
    assert held is not None and held.id == "" and [truth for _, _, truth in held.truths] == [False]
    assert two.work.decided(dry)[0].effect == "allow"
    assert two.do(idempotency_key="spent", deadline_us=0).reason_code == "deadline_passed"
    assert two.do().effect == "allow"
    assert two.act(two.request(dry_run=True))[0].effect == "deny"
    assert two.open() == [] and two.waiting() and len(two.recorded()) == 2


def test_what_a_dry_run_found_decides_nothing_else(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    (dry,) = two.vouched(two.request(dry_run=True))
    (decided,) = two.work.decided(dry._replace(dry_run=False))
    assert (decided.effect, decided.reason_code) == ("deny", "stale_vouch")


def test_truths_of_another_bundle_say_nothing(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    (request,) = two.vouched(two.request())
    held = reserved(request)
    assert held is not None
    two.activate(TWICE, NO_SEND, owners=[WORK])
    other = two.work.bundle.digest
    assert decide(two.work.owner, held.digest, [tuple(request)]) == (STALE_BUNDLE, other)
    # Its word is given: whatever comes late with this reservation is void.
    assert [one.verdict for one in two.waiting()] == [VOID]
    assert vouch(two.home.owner, other, [tuple(two.request())]) == (STALE_BUNDLE, held.digest)
    (decided,) = two.work.decided(request)  # as if it had been prepared with the new one
    assert decided.reason_code == "stale_vouch"


def test_without_an_answer_from_home_the_clauses_count_as_true(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    (request,) = two.vouched(two.request())
    assert request.vouch is not None
    (decided,) = two.work.decided(request._replace(vouch=(*request.vouch[:3], None, None)))
    assert (decided.effect, decided.reasons[0][0]) == ("deny", "p/twice")


def test_past_the_bound_nothing_more_is_reserved_and_nothing_done_at_home(tmp_path: Path) -> None:
    rule = TWICE.replace("above: 2", "above: 1000")
    two = TwoOwners(tmp_path, rule)
    requests = two.vouched(*(two.request() for _ in range(MOST_OPEN + 2)))
    assert [refusal(one) for one in requests[-3:]] == [None, "too_many_pending", "too_many_pending"]
    assert two.work.decided(requests[-1])[0].reason_code == "too_many_pending"
    assert two.at_home().reason_code == "too_many_pending"
    two.pass_s(6)
    two.reconcile(HOME)
    assert two.open() == [] and two.at_home().effect == "allow"


@pytest.mark.parametrize(
    ("disturb", "code"),
    [
        (lambda two: two.world.pass_s(3), "lease_expired"),
        (lambda two: setattr(two.world, "wall_us", two.world.wall_us + 10_000_000), "clock_uncertain"),
        (lambda two: setattr(two.home.owner.settings, "evidence_backlog", 0), "evidence_backlog"),
    ],
)
def test_a_home_that_cannot_decide_reserves_nothing(tmp_path: Path, disturb: Any, code: str) -> None:
    two = TwoOwners(tmp_path, TWICE)
    if code == "evidence_backlog":
        two.home.evidence_backlog = 0
        two.restart(HOME)
    else:
        disturb(two)
    (request,) = two.vouched(two.request())
    assert (refusal(request), reserved(request)) == (code, None)
    assert two.open() == []


def test_a_session_that_is_not_genuine_reserves_nothing(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    forged = two.session[:-2] + ("AA" if two.session[-2:] != "AA" else "BB")
    at_home = two.home.request("bot", "bank.pay", session="ses_x")
    (one, other) = two.vouched(two.request(session=forged), at_home)
    assert reserved(one) is None and reserved(other) is None and two.open() == []


def test_permitted_elsewhere_is_done_when_its_outcome_says_so(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, SCAN_FIRST)
    scan = two.do("dlp.scan")
    assert two.at_home("mail.send").effect == "deny"
    told = two.report(scan)
    assert told == Settlement(told.reservation, PERMITTED, "succeeded") if told else False
    assert two.at_home("mail.send").effect == two.do("mail.send").effect == "allow"


def test_an_outcome_that_no_replica_told_comes_in_the_background_and_brings_the_permission_along(
    tmp_path: Path,
) -> None:
    two = TwoOwners(tmp_path, SCAN_FIRST)
    (scan,) = two.act(two.request("dlp.scan"), settle=False)
    two.report(scan, tell=False)
    two.restart(WORK)
    two.pass_s(3)
    two.reconcile(WORK)
    two.restart(HOME)
    assert not two.open() and not two.waiting()
    assert two.at_home("mail.send").effect == "allow"


def test_an_outcome_that_comes_after_the_acknowledgement_is_sent_again(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, SCAN_FIRST)
    (scan,) = two.act(two.request("dlp.scan"), settle=False)
    two.pass_s(3)
    two.reconcile(WORK)
    two.report(scan, tell=False)
    assert two.at_home("mail.send").effect == "deny"
    two.reconcile(WORK)
    assert two.at_home("mail.send").effect == "allow" and two.waiting() == []


def test_a_budget_is_given_back_once_and_by_a_witness_alone(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, BUDGET)
    first = two.do(arguments={"amount": 60})
    second = two.do(arguments={"amount": 40})
    assert two.at_home(arguments={"amount": 1}).effect == "deny"
    two.report(first, "not_executed")
    assert two.at_home(arguments={"amount": 1}).effect == "deny"
    told = two.report(second, "not_executed", witness=True)
    assert told is not None
    two.tell([told, told])
    two.restart(HOME)
    two.tell([told])
    assert two.at_home(arguments={"amount": 41}).effect == "deny"
    assert two.at_home(arguments={"amount": 40}).effect == "allow"


def test_denials_elsewhere_count_at_home(tmp_path: Path) -> None:
    rules = (
        "  - {id: no-read, on: {tool: crm.read}, then: deny}\n"
        "  - {id: lockout, on: {tool: crm.read}, limit: {count: denials, per: 1h, scope: agent, above: 1},"
        " then: deny}\n"
    )
    two = TwoOwners(tmp_path, rules)
    assert [len(two.do("crm.read").reasons) for _ in range(3)] == [1, 1, 2]
    assert len(two.at_home("crm.read").reasons) == 2
    told = find_settlement(
        two.work.owner.journal, two.home.owner.journal.read("SELECT id FROM reservations")[0][0]
    )
    assert told is not None and told.verdict == DENIED
    assert two.recorded() == []


def test_what_an_agent_did_elsewhere_is_seen_at_home_and_told_to_rules_to_come(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, NO_SEND)
    two.do("crm.read")
    shown = describe_agent(two.home.owner, "default/agent/bot")
    assert ("tool", "crm.read") in {(node["kind"], node["name"]) for node in shown["graph"]["nodes"]}
    two.activate("  - {id: new, past: 'sends and once[1h] reads', scope: agent, then: deny}\n")
    assert two.do("mail.send").reasons[0][0] == "p/new"


def test_what_is_open_counts_for_a_bundle_that_comes_and_for_the_one_after(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    requests = two.vouched(two.request(), two.request())
    (answer,) = two.work.decide(requests[0])
    two.activate(NO_SEND)  # looks at agents' pasts, and has no such limit
    assert two.at_home("dlp.scan").effect == "allow"
    two.activate()  # looks at no past
    two.settle(requests[:1], [answer])
    two.activate(TWICE)
    assert two.at_home().effect == "deny"
    two.pass_s(6)
    two.reconcile(HOME)
    assert two.open() == [] and two.at_home().effect == "allow"
    assert two.at_home().effect == "deny"


def test_a_new_limit_counts_what_is_open_and_gives_back_no_more_than_that(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, NO_SEND, BUDGET)
    more: dict[str, Any] = {"arguments": {"amount": 1}}
    requests = two.vouched(two.request(**more), two.request(**more))
    two.activate(NO_SEND, BUDGET, TWICE)
    assert two.at_home(**more).effect == "deny"
    two.tell([Settlement(held.id, VOID) for one in requests if (held := reserved(one))])
    assert [two.at_home(**more).effect for _ in range(3)] == ["allow", "allow", "deny"]


def test_a_failed_transaction_reserves_and_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = TwoOwners(tmp_path, TWICE)

    def fail(*_: object, **__: object) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(JournalError):
        patched.setattr(two.home.owner.pasts, "save", fail)
        two.vouched(two.request())
    assert two.open() == [] and not two.past().open
    requests = two.vouched(two.request())
    answers = two.work.decide(*requests)
    with monkeypatch.context() as patched, pytest.raises(JournalError):
        patched.setattr(two.home.owner.pasts, "save", fail)
        two.settle(requests, answers)
    assert len(two.open()) == len(two.past().open) == 1
    two.settle(requests, answers)
    assert two.open() == [] and len(two.recorded()) == 1


def test_an_owner_that_was_superseded_acknowledges_and_answers_nothing(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    old_home, old_work = two.home.owner, two.work.owner
    two.home.reopen()
    two.work.reopen()
    with pytest.raises(FencedError):
        reservations.settle(old_home, [tuple(Settlement("x", VOID))])
    with pytest.raises(FencedError):
        settlements.fates(old_work, [])


def test_what_is_settled_is_forgotten_in_time_and_what_is_open_is_not(tmp_path: Path) -> None:
    two = TwoOwners(tmp_path, TWICE)
    two.do()
    two.act(two.request(), settle=False)
    two.away = {HOME}
    two.pass_s(49 * 3600)
    for bench in (two.home, two.work):
        while forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=10):
            pass
    assert len(two.open()) == 1 and len(two.waiting()) == 2
    two.away = set()
    two.reconcile(WORK)
    assert not two.open() and not two.waiting()
    for bench in (two.home, two.work):
        forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=10)
    assert two.home.owner.journal.read("SELECT count(*) FROM reservations") == [(0,)]
    assert two.work.owner.journal.read("SELECT count(*) FROM settlements") == [(0,)]


def test_an_acknowledgement_is_of_what_was_sent_and_not_of_what_was_reported_meanwhile(
    tmp_path: Path,
) -> None:
    two = TwoOwners(tmp_path, SCAN_FIRST)
    (scan,) = two.act(two.request("dlp.scan"), settle=False)
    sent = two.waiting()
    two.report(scan, tell=False)
    settlements.acknowledged(two.work.owner, sent)
    assert [one.outcome for one in two.waiting()] == ["succeeded"]


def test_a_success_at_home_counts_for_nothing_that_came_after_it_whatever_was_cancelled(
    tmp_path: Path,
) -> None:
    rule = (
        "  - {id: scan-after, past: 'sends and (not done(scanned) since reads)', scope: agent, then: deny}\n"
    )
    two = TwoOwners(tmp_path, TWICE)
    for _ in range(3):
        (cancelled,) = two.vouched(two.request())
        held = reserved(cancelled)
        assert held is not None
        two.tell([Settlement(held.id, VOID)])
    scan = two.at_home("dlp.scan")
    two.pass_s(1)
    two.at_home("crm.read")
    two.activate(TWICE, rule)
    outcomes.report_outcome(two.home.owner, Outcome(scan.id, "succeeded", True, (), None, None, "k", False))
    assert two.at_home("mail.send").reasons[0][0] == "p/scan-after"
    again = two.at_home("dlp.scan")
    outcomes.report_outcome(two.home.owner, Outcome(again.id, "succeeded", True, (), None, None, "k", False))
    assert two.at_home("mail.send").effect == "allow"


def test_what_a_delegation_does_not_cover_counts_among_the_denials_at_home_as_well(tmp_path: Path) -> None:
    lock = (
        "  - {id: lock, on: {tool: crm.read}, limit: {count: denials, per: 1h, scope: agent, above: 1},"
        " then: deny}\n"
    )
    two = TwoOwners(tmp_path, lock)
    session = two.new_session(tools=("mail.send",))
    assert [two.do("crm.read", session=session).reason_code for _ in range(2)] == ["outside_delegation"] * 2
    assert two.at_home("crm.read").reasons[0][0] == "p/lock"
