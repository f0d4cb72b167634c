"""What an owner remembers of what it permitted: over restarts, failures, outcomes and changes of the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import Bench

from actors import delegations, outcomes, past_journal, sessions
from actors.active_bundle import ActiveBundle
from actors.directory import Activation
from actors.journal import JournalError
from actors.messages import Decided, DelegationRequest, Outcome, SessionRequest
from actors.past_journal import forget_history, index_history
from policies.past.retention import HISTORY_US

CATALOG = """
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  dlp.scan: {effects: [], data: [], boundary: internal}
  mail.send: {effects: [send], data: [], boundary: external, args: {to: {type: email, role: destination}}}
  bank.pay: {effects: [pay], data: [], boundary: external, args: {to: {type: iban}, amount: {type: decimal}}}
  bank.create: {effects: [write], data: [], boundary: internal, args: {iban: {type: iban}}}
---
kind: Policy
name: p
define:
  reads: {on: {data: pii}}
  leaves: {on: {effect: send}}
  scanned: {on: {tool: dlp.scan}}
  created: {on: {tool: bank.create}}
  pays: {on: {tool: bank.pay}}
  large: {on: {tool: bank.pay}, when: args.amount > 100.0}
rules:
  - {id: all, then: allow}
"""
NO_PII_OUT = "  - {id: no-pii-out, past: 'leaves and once[24h] reads', then: deny}\n"
SCAN_FIRST = "  - {id: scan-first, on: {tool: mail.send}, past: 'not once[10m] done(scanned)', then: deny}\n"
NEW_PAYEE = (
    "  - {id: new-payee, past: 'pays and once[72h] created', by: {created: args.iban, pays: args.to},"
    " then: escalate}\n"
)
DAILY_CAP = (
    "  - {id: daily-cap, on: {tool: bank.pay}, limit: {sum: args.amount, per: 24h, scope: agent, above: 500},"
    " then: deny}\n"
)
COUNT = "  - {id: reads-2, on: {tool: crm.read}, limit: {count: actions, above: 2}, then: deny}\n"
AFTER_LARGE = "  - {id: after-large, past: 'leaves and once large', then: deny}\n"


def compiled(*rules: str) -> ActiveBundle:
    return ActiveBundle.compile([("p.yaml", CATALOG + "".join(rules))])


class Story:
    """A bench with one agent, and short words for what happens to it."""

    def __init__(self, path: Path, *rules: str) -> None:
        self.bench = Bench(path, bundle=compiled(*rules))
        self.bench.register("bot")
        self.activations = 1

    def do(self, tool: str, _session: str | None = None, **arguments: Any) -> Decided:
        (decided,) = self.bench.decided(self.bench.request(tool=tool, arguments=arguments, session=_session))
        return decided

    def report(self, decided: Decided, status: str = "succeeded", *, witness: bool = False) -> None:
        outcomes.report_outcome(
            self.bench.owner,
            Outcome(
                decision_id=decided.id,
                status=status,
                complete=True,
                labels=(),
                executed_digest=None,
                result_digest=None,
                key_id="k",
                witness=witness,
            ),
        )

    def activate(self, *rules: str, lenient: bool = False) -> None:
        self.activations += 1
        self.bench.bundle = compiled(*rules)
        digest = self.bench.bundle.digest
        self.bench.owner.adopt(self.bench.bundle, Activation(digest, self.activations, lenient))

    def restart(self) -> None:
        self.bench.owner.journal.close()
        self.bench.reopen()
        digest = self.bench.bundle.digest
        self.bench.owner.adopt(self.bench.bundle, Activation(digest, self.activations))

    def open_session(self) -> str:
        opened = sessions.open_session(
            self.bench.owner,
            SessionRequest(
                tenant="default",
                subject_type="agent",
                subject_id="bot",
                task_digest=None,
                new_workflow=True,
                key_id="k",
            ),
        )
        return str(opened["session"])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "host-000.db"


def test_what_was_permitted_is_past_to_what_comes_also_in_one_batch(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT)
    bench = story.bench
    read, sent = bench.decided(
        bench.request(tool="crm.read", arguments={"id": "7"}),
        bench.request(tool="mail.send", arguments={"to": "a@b.example"}),
    )
    assert read.effect == "allow"
    assert (sent.effect, sent.reasons[0][0]) == ("deny", "p/no-pii-out")


def test_what_was_denied_did_not_happen(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT, "  - {id: no-read, on: {tool: crm.read}, then: deny}\n")
    assert story.do("crm.read", id="7").effect == "deny"
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_a_past_survives_a_restart_and_ends_with_its_window(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT)
    story.do("crm.read", id="7")
    story.restart()
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    story.bench.world.pass_s(24 * 3600 + 1)
    story.bench.renew_lease()
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_other_workflows_have_other_pasts(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT)
    session = story.open_session()
    story.do("crm.read", session, id="7")
    assert story.do("mail.send", story.open_session(), to="a@b.example").effect == "allow"
    assert story.do("mail.send", session, to="a@b.example").effect == "deny"


def test_permitted_is_not_done(journal: Path) -> None:
    story = Story(journal, SCAN_FIRST)
    scan = story.do("dlp.scan")
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    story.restart()
    story.report(scan)
    story.restart()
    assert story.do("mail.send", to="a@b.example").effect == "allow"
    failed = Story(journal.with_name("other.db"), SCAN_FIRST)
    failed.report(failed.do("dlp.scan"), "failed")
    assert failed.do("mail.send", to="a@b.example").effect == "deny"


def test_a_witness_may_be_asked_for(journal: Path) -> None:
    rule = SCAN_FIRST.replace("then: deny", "witness: gateway, then: deny")
    story = Story(journal, rule)
    story.report(story.do("dlp.scan"))
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    story.report(story.do("dlp.scan"), witness=True)
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_a_key_tells_one_account_from_another_however_it_is_written(journal: Path) -> None:
    story = Story(journal, NEW_PAYEE)
    story.do("bank.create", iban="DE89 3704 0044 0532 0130 00")
    story.restart()
    assert story.do("bank.pay", to="GB33BUKB20201555555555", amount=1).effect == "allow"
    paid = story.do("bank.pay", to="de89370400440532013000", amount=1)
    assert (paid.effect, paid.reasons[0][0]) == ("escalate", "p/new-payee")
    assert story.do("bank.pay", amount=1).effect == "escalate"  # whom it would pay is unknown


def test_a_budget_counts_over_restarts_and_is_given_back_by_a_witness_alone(journal: Path) -> None:
    story = Story(journal, DAILY_CAP)
    first = story.do("bank.pay", to="DE89", amount="499.99")
    story.restart()
    assert story.do("bank.pay", to="DE89", amount="0.02").effect == "deny"
    assert story.do("bank.pay", to="DE89", amount="0.01").effect == "allow"
    story.report(first, "not_executed", witness=True)
    assert story.do("bank.pay", to="DE89", amount=499.99).effect == "allow"
    second = Story(journal.with_name("other.db"), DAILY_CAP)
    second.report(second.do("bank.pay", to="DE89", amount=500), "not_executed")
    assert second.do("bank.pay", to="DE89", amount=1).effect == "deny"
    assert second.do("bank.pay", to="DE89", amount=-1).effect == "deny"


def test_denials_are_counted_though_they_did_not_happen(journal: Path) -> None:
    locked = (
        "  - {id: no-read, on: {tool: crm.read}, then: deny}\n"
        "  - {id: lockout, on: {tool: 'crm.*'}, limit: {count: denials, per: 1h, above: 2}, then: deny}\n"
    )
    story = Story(journal, locked)
    reasons = [[reason[0] for reason in story.do("crm.read", id="7").reasons] for _ in range(4)]
    assert reasons[2:] == [["p/no-read"], ["p/lockout", "p/no-read"]]


def test_an_escalation_is_not_past_and_binds_no_key(journal: Path) -> None:
    ask = "  - {id: ask, on: {tool: crm.read}, when: 'args.id == \"7\"', then: escalate}\n"
    story = Story(journal, NO_PII_OUT, ask)
    bench = story.bench
    request = bench.request(tool="crm.read", arguments={"id": "7"}, idempotency_key="once")
    (first,), (again,) = bench.decided(request), bench.decided(request)
    assert (first.effect, first.reason_code) == ("escalate", "rule_escalate")
    assert not again.replayed and again.id != first.id
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_a_monitored_rule_says_in_evidence_what_it_would_have_done(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT.replace("then: deny", "then: deny, mode: monitor"))
    story.do("crm.read", id="7")
    assert story.do("mail.send", to="a@b.example").effect == "allow"
    row = story.bench.rows()[-1]
    assert row["mode"] == "monitor"
    assert '"would":[{"rule":"p/no-pii-out","effect":"deny"}]' in row["details"]


def test_evidence_says_what_the_past_said(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT, DAILY_CAP)
    story.do("bank.pay", to="DE89", amount="499.5")
    assert (
        story.bench.rows()[-1]["details"]
        == '{"past":{"p/no-pii-out":false},"limits":{"p/daily-cap":{"level":"499.5","above":"500"}}}'
    )


def test_a_failed_transaction_leaves_no_past_behind(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(journal, NO_PII_OUT)
    owner = story.bench.owner

    def fail(*_: object, **__: object) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(JournalError):
        patched.setattr(owner.pasts, "save", fail)
        story.do("crm.read", id="7")
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_the_first_that_a_new_rule_hears_of_may_be_an_outcome(journal: Path) -> None:
    story = Story(journal)
    scan = story.do("dlp.scan")
    story.activate(SCAN_FIRST)
    story.report(scan)
    story.restart()
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_a_new_rule_judges_by_what_was_done_before_it_existed(journal: Path) -> None:
    story = Story(journal)
    story.do("crm.read", id="7")
    story.activate(NO_PII_OUT)
    assert story.do("mail.send", to="a@b.example").effect == "deny"


def test_a_new_rule_knows_outcomes_that_were_reported_before_it_existed(journal: Path) -> None:
    story = Story(journal)
    story.report(story.do("dlp.scan"))
    story.activate(SCAN_FIRST)
    assert story.do("mail.send", to="a@b.example").effect == "allow"
    unscanned = Story(journal.with_name("other.db"))
    unscanned.do("dlp.scan")
    unscanned.activate(SCAN_FIRST)
    assert unscanned.do("mail.send", to="a@b.example").effect == "deny"


def test_what_a_new_rule_was_told_is_kept_though_nothing_is_permitted_after(journal: Path) -> None:
    locked = (
        "  - {id: no-pay, on: {tool: bank.pay}, then: deny}\n"
        "  - {id: lockout, on: {tool: 'bank.*'}, limit: {count: denials, per: 1h, above: 2}, then: deny}\n"
    )
    story = Story(journal)
    story.do("crm.read", id="7")
    story.activate(NO_PII_OUT, locked)
    assert story.do("bank.pay", to="DE89", amount=1).effect == "deny"
    story.restart()
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    told = Story(journal.with_name("other.db"))
    scan = told.do("dlp.scan")
    told.activate(SCAN_FIRST)
    told.report(scan)
    told.restart()
    assert told.do("mail.send", to="a@b.example").effect == "allow"


@pytest.mark.parametrize(("lenient", "effect"), [(False, "deny"), (True, "allow")])
def test_conditions_over_arguments_that_nobody_kept_are_possible_or_leniently_untrue(
    journal: Path, lenient: bool, effect: str
) -> None:
    story = Story(journal)
    story.do("bank.pay", to="DE89", amount=1)
    story.activate(AFTER_LARGE, lenient=lenient)
    assert story.do("mail.send", to="a@b.example").effect == effect


def test_rules_that_stay_keep_what_they_know(journal: Path) -> None:
    story = Story(journal, AFTER_LARGE)
    story.do("bank.pay", to="DE89", amount=1)  # certainly not large
    story.activate(AFTER_LARGE, NO_PII_OUT)
    assert story.do("mail.send", to="a@b.example").effect == "allow"
    story.activate(NO_PII_OUT.replace("24h", "12h"), AFTER_LARGE)
    story.restart()
    assert story.do("mail.send", to="a@b.example").effect == "allow"
    story.do("bank.pay", to="DE89", amount=101)
    story.activate(AFTER_LARGE)
    assert story.do("mail.send", to="a@b.example").effect == "deny"


def test_a_rule_that_comes_back_knows_what_happened_while_it_was_away(journal: Path) -> None:
    story = Story(journal, NO_PII_OUT)
    story.do("dlp.scan")
    story.activate()
    story.do("crm.read", id="7")
    story.activate(NO_PII_OUT)
    assert story.do("mail.send", to="a@b.example").effect == "deny"


def test_a_new_sum_is_unknown_until_what_was_paid_before_has_passed_out_of_its_window(journal: Path) -> None:
    story = Story(journal)
    story.do("bank.pay", to="DE89", amount=1)
    story.activate(DAILY_CAP)
    assert story.do("bank.pay", to="DE89", amount=1).effect == "deny"
    story.bench.world.pass_s(24 * 3600 + 1)
    story.bench.renew_lease()
    assert story.do("bank.pay", to="DE89", amount=1).effect == "allow"
    fresh = Story(journal.with_name("other.db"))
    fresh.activate(DAILY_CAP)
    assert fresh.do("bank.pay", to="DE89", amount=1).effect == "allow"


def test_an_outcome_of_an_action_of_an_earlier_bundle_counts(journal: Path) -> None:
    story = Story(journal, SCAN_FIRST)
    scan = story.do("dlp.scan")
    story.activate(NO_PII_OUT, SCAN_FIRST)
    story.report(scan)
    assert story.do("mail.send", to="a@b.example").effect == "allow"


def test_where_the_record_ends_the_past_is_unknown(journal: Path) -> None:
    story = Story(journal)
    story.do("dlp.scan")
    story.bench.world.pass_s(HISTORY_US / 1e6 + 1)
    story.bench.renew_lease()
    forget_history(story.bench.owner.journal, now_us=story.bench.world.wall_us, limit=1000)
    ever = NO_PII_OUT.replace("once[24h]", "once")
    story.activate(ever)
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    assert story.do("mail.send", story.open_session(), to="a@b.example").effect == "allow"
    story.activate(ever.replace("no-pii-out", "again"), lenient=True)
    story.activate(NO_PII_OUT)
    assert story.do("mail.send", to="a@b.example").effect == "allow"  # longer ago than its window


def test_an_outcome_that_comes_under_a_bundle_that_looks_at_no_past_counts_later(journal: Path) -> None:
    wired = "  - {id: after-scan, past: leaves and once done(scanned), then: deny}\n"
    story = Story(journal, wired)
    scan = story.do("dlp.scan")
    story.activate()
    story.report(scan)
    story.activate(wired)
    assert story.do("mail.send", to="a@b.example").effect == "deny"


def test_the_record_is_found_whether_it_is_indexed_already_or_not(journal: Path) -> None:
    story = Story(journal)
    session = story.open_session()
    story.do("crm.read", session, id="7")
    while index_history(story.bench.owner.journal):
        pass
    agent_scope = NO_PII_OUT.replace("then: deny", "scope: agent, then: deny")
    story.activate(agent_scope)
    assert story.do("mail.send", to="a@b.example").effect == "deny"  # in another session of the agent
    story.activate()
    story.do("crm.read", id="8")
    story.activate(NO_PII_OUT)
    assert story.do("mail.send", session, to="a@b.example").effect == "deny"
    assert story.do("mail.send", to="a@b.example").effect == "deny"
    assert story.do("mail.send", story.open_session(), to="a@b.example").effect == "allow"


def test_a_new_rule_over_labels_knows_those_of_every_agent_that_lives_here(journal: Path) -> None:
    story = Story(journal)
    bench = story.bench
    bench.register("helper", labels=("reader",))
    session = story.open_session()
    token = delegations.delegate(
        bench.owner,
        DelegationRequest("default", session, "helper", None, 0, 3_600_000_000, None, "k"),
    )["token"]
    child = delegations.open_child(
        bench.owner, SessionRequest("default", "agent", "helper", None, False, "k", None, token)
    )["session"]
    request = bench.request(agent="helper", tool="crm.read", arguments={"id": "7"}, session=child)
    assert bench.decided(request)[0].effect == "allow"
    labelled = CATALOG.replace(
        "  reads: {on: {data: pii}}", "  reads: {on: {data: pii, agent_label: reader}}"
    )
    bench.bundle = ActiveBundle.compile([("p.yaml", labelled + NO_PII_OUT)])
    bench.owner.adopt(bench.bundle, Activation(bench.bundle.digest, 2))
    assert story.do("mail.send", session, to="a@b.example").effect == "deny"


def test_a_delegate_that_reaches_beyond_its_grant_is_counted_among_the_denials(journal: Path) -> None:
    lock = "  - {id: lock, on: {tool: 'crm.*'}, limit: {count: denials, per: 1h, above: 1}, then: deny}\n"
    story = Story(journal, lock)
    bench = story.bench
    bench.register("helper")
    session = story.open_session()
    token = delegations.delegate(
        bench.owner,
        DelegationRequest("default", session, "helper", ("mail.send",), 0, 3_600_000_000, None, "k"),
    )["token"]
    child = delegations.open_child(
        bench.owner, SessionRequest("default", "agent", "helper", None, False, "k", None, token)
    )["session"]
    for _ in range(2):
        request = bench.request(agent="helper", tool="crm.read", arguments={"id": "7"}, session=child)
        assert bench.decided(request)[0].reason_code == "outside_delegation"
    assert story.do("crm.read", session, id="7").reasons[0][0] == "p/lock"


def test_a_new_count_is_unknown_where_the_record_ends(journal: Path) -> None:
    story = Story(journal)
    for _ in range(3):
        story.do("crm.read", id="7")
    story.bench.world.pass_s(HISTORY_US / 1e6 + 1)
    story.bench.renew_lease()
    forget_history(story.bench.owner.journal, now_us=story.bench.world.wall_us, limit=1000)
    story.activate(COUNT)
    assert story.do("crm.read", id="7").effect == "deny"  # it was the fourth
    assert story.do("crm.read", story.open_session(), id="7").effect == "allow"
    story.activate(COUNT.replace("reads-2", "again"), lenient=True)
    story.activate(COUNT.replace("count: actions", "count: actions, per: 24h"))
    assert story.do("crm.read", id="7").effect == "allow"  # longer ago than its window


def test_where_the_record_ends_things_may_have_come_one_after_the_other(journal: Path) -> None:
    story = Story(journal)
    story.do("dlp.scan")
    story.bench.world.pass_s(HISTORY_US / 1e6 + 1)
    story.bench.renew_lease()
    forget_history(story.bench.owner.journal, now_us=story.bench.world.wall_us, limit=1000)
    story.activate(
        "  - {id: in-turn, on: {tool: mail.send}, past: once (created and previous (reads and previous scanned)),"
        " permitted_is_done: true, then: deny}\n"
    )
    assert story.do("mail.send", to="a@b.example").effect == "deny"


@pytest.mark.parametrize("indexed", [True, False])
def test_a_flood_in_one_session_makes_the_past_of_another_unknown_and_not_empty(
    journal: Path, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    monkeypatch.setattr(past_journal, "MOST_RECALLED", 5)
    story = Story(journal)
    bench = story.bench
    bench.register("helper")
    session = story.open_session()
    story.do("crm.read", session, id="7")
    token = delegations.delegate(
        bench.owner, DelegationRequest("default", session, "helper", None, 0, 3_600_000_000, None, "k")
    )["token"]
    child = delegations.open_child(
        bench.owner, SessionRequest("default", "agent", "helper", None, False, "k", None, token)
    )["session"]
    for _ in range(5):
        bench.decided(bench.request(agent="helper", tool="dlp.scan", session=child))
        if indexed:
            index_history(bench.owner.journal)
    story.activate(NO_PII_OUT.replace("then: deny", "scope: session, then: deny"))
    assert story.do("mail.send", session, to="a@b.example").effect == "deny"
    assert story.do("mail.send", story.open_session(), to="a@b.example").effect == "allow"


def test_a_success_before_what_it_should_follow_does_not_count_for_it_though_a_new_rule_was_told_both(
    journal: Path,
) -> None:
    rule = "  - {id: scan-after, past: 'leaves and (not done(scanned) since reads)', then: deny}\n"
    story = Story(journal, NO_PII_OUT)
    for _ in range(3):
        story.do("dlp.scan")
    story.bench.world.pass_s(HISTORY_US / 1e6 + 1)
    story.bench.renew_lease()
    forget_history(story.bench.owner.journal, now_us=story.bench.world.wall_us, limit=1000)
    before = story.do("dlp.scan")
    story.bench.world.pass_s(1)
    story.do("crm.read", id="7")
    story.activate(rule)
    story.report(before)
    assert story.do("mail.send", to="a@b.example").reasons[0][0] == "p/scan-after"
