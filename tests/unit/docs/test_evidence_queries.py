"""docs/evidence-queries.md is executed: twenty questions, each with its answer from three known days."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from unit.evidence.evidence_samples import record, small_row

from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query
from evidence.record import EvidenceRow
from evidence.views.texts import VIEWS

PAGE = (Path(__file__).parents[3] / "docs" / "evidence-queries.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"```sql\n-- (\w+)\n(.*?)```", PAGE, re.DOTALL))
HOUR_US = 3_600_000_000
NOW_US = time.time_ns() // 1000
B1, B2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64

PAYER = {"agent_id": "payer", "session_id": "ses_p", "workflow_id": "wf_1"}
MAILER = {"agent_id": "mailer", "session_id": "ses_m", "workflow_id": "wf_1", "parent_agent_id": "payer"}
SCOUT = {"agent_id": "scout", "session_id": "ses_s", "workflow_id": "wf_2"}
ON_BEHALF = {"payer": "user:ada", "mailer": "user:ada", "scout": "user:bob"}
TOOLS: dict[str, dict[str, Any]] = {
    "bank.pay": {"system": "bank", "boundary": "external", "data_classes": []},
    "bank.look": {"system": "bank", "boundary": "internal", "data_classes": ["financial"]},
    "crm.read": {"system": "crm", "boundary": "internal", "data_classes": ["pii", "financial"]},
    "mail.send": {"system": "mail", "boundary": "external", "data_classes": []},
    "web.read": {"system": "web", "boundary": "internal", "data_classes": []},
    "shell.run": {},
}
SAYS = {"allow": "rule_allow", "deny": "rule_deny", "escalate": "rule_escalate", "modify": "rule_modify"}


def decision(
    ago_h: float,
    identity: str,
    who: dict[str, Any],
    tool: str,
    said: str,
    rule: str | None = None,
    **more: Any,
) -> tuple[float, dict[str, Any]]:
    details = more.pop("details", None)
    row = {
        "event_id": identity,
        "event_type": "decision",
        **who,
        "action": "call",
        "resource_type": "tool",
        "resource_id": tool,
        "tool_name": tool,
        "decision": said,
        "reason_code": SAYS[said],
        "bundle_hash": B1 if ago_h > 26 else B2,
        "mode": "enforce",
        "duration_us": 100,
        "authorization_boundary": json.dumps({"key": "k", "principal": ON_BEHALF[who["agent_id"]]}),
        **TOOLS[tool],
        **more,
    }
    if rule is not None:
        row["rule_ids"] = [rule]
    if details is not None:
        row["details"] = json.dumps(details)
    return ago_h, row


def outcome(
    ago_h: float, of: str, who: dict[str, Any], tool: str, status: str
) -> tuple[float, dict[str, Any]]:
    details = {"decision": of, "complete": True, "witness": False, "key": "k"}
    return ago_h, {
        "event_id": f"o-{of}",
        "event_type": "outcome",
        **who,
        "action": "call",
        "resource_type": "tool",
        "resource_id": tool,
        "outcome": status,
        "details": json.dumps(details),
    }


def approval(
    ago_h: float, kind: str, identity: str, of: str, state: str, approver: str | None = None, **details: Any
) -> tuple[float, dict[str, Any]]:
    row = {
        "event_id": f"{identity}-{kind}-{ago_h}",
        "event_type": f"approval_{kind}",
        **PAYER,
        "resource_type": "tool",
        "resource_id": "bank.pay",
        "rule_ids": ["desk/large"],
        "approval_id": identity,
        "approval_state": state,
        "details": json.dumps({"decision": of, **details}),
    }
    return ago_h, row | ({} if approver is None else {"approver_id": approver})


def change(
    ago_h: float, kind: str, *, agent: str | None = None, bundle: str | None = None, **details: Any
) -> Any:
    row = {"event_id": f"{kind}-{ago_h}", "event_type": kind, "details": json.dumps(details)}
    return ago_h, row | ({} if agent is None else {"agent_id": agent}) | (
        {} if bundle is None else {"bundle_hash": bundle}
    )


HOST = [
    decision(60, "d-0", PAYER, "bank.pay", "escalate", "desk/large", approval_id="apr_0"),
    approval(60, "requested", "apr_0", "d-0", "pending"),
    approval(59.9, "granted", "apr_0", "d-0", "approved", "user:ada"),
    decision(40, "d-1", PAYER, "bank.pay", "allow", "desk/all"),
    outcome(40, "d-1", PAYER, "bank.pay", "succeeded"),
    decision(30, "d-2", PAYER, "bank.look", "allow", "desk/all"),
    outcome(30, "d-2", PAYER, "bank.look", "not_executed"),
    decision(28, "d-2b", MAILER, "crm.read", "allow", "desk/all"),
    outcome(28, "d-2b", MAILER, "crm.read", "succeeded"),
    decision(27, "d-2c", SCOUT, "web.read", "allow", "desk/all"),
    outcome(27, "d-2c", SCOUT, "web.read", "succeeded"),
    decision(20, "d-3", PAYER, "bank.pay", "deny", "desk/too-large", controls=["sox/itgc-sod"], duration_us=300),
    decision(19.9, "d-4", MAILER, "mail.send", "deny", "desk/no-pii", controls=["gdpr/32", "sox/itgc-sod"]),
    decision(19.8, "d-4b", MAILER, "mail.send", "deny", "desk/no-pii", controls=["gdpr/32"]),
    decision(19, "d-5", PAYER, "bank.pay", "escalate", "desk/large", controls=["sox/itgc-sod"], approval_id="apr_1"),
    approval(19, "requested", "apr_1", "d-5", "pending", justification="rent"),
    approval(18.5, "granted", "apr_1", "d-5", "partial", "user:anna"),
    approval(18, "granted", "apr_1", "d-5", "approved", "user:bert"),
    decision(17.9, "d-6", PAYER, "bank.pay", "allow", "desk/all", approval_id="apr_1"),
    approval(17.9, "consumed", "apr_1", "d-5", "used", permitted="d-6"),
    outcome(17.8, "d-6", PAYER, "bank.pay", "failed"),
    decision(16, "d-7", SCOUT, "shell.run", "deny", reason_code="uncatalogued_resource",
             details={"detail": "unknown tool"}),
    decision(9, "d-8", MAILER, "mail.send", "allow", "desk/all"),
    decision(6, "d-9", MAILER, "mail.send", "modify", "desk/redact"),
    outcome(6, "d-9", MAILER, "mail.send", "succeeded"),
    (5.5, {"event_id": "f-1", "event_type": "finding", **MAILER, "resource_id": "mail.send",
           "reason_code": "executed_digest_mismatch", "details": '{"decision":"d-9"}'}),
    decision(4.5, "d-10", SCOUT, "web.read", "deny", reason_code="stopped",
             details={"stop": "stp_1", "detail": "stopped"}),
    decision(4.4, "d-11", SCOUT, "web.read", "deny", reason_code="stopped",
             details={"stop": "stp_1", "detail": "still"}),
    decision(0.6, "d-12", PAYER, "bank.pay", "allow", "desk/all", mode="monitor",
             details={"would": [{"rule": "desk/night", "effect": "deny"}, {"rule": "desk/odd", "effect": "escalate"}]}),
    decision(0.5, "d-13", PAYER, "bank.pay", "allow", "desk/all", duration_us=200,
             details={"shadow": {"bundle": B1, "decision": "deny", "rules": ["desk/new"]}}),
    decision(0.5, "d-14", PAYER, "bank.pay", "deny", "desk/too-large",
             details={"shadow": {"bundle": B1, "decision": "deny", "rules": ["desk/new"]}}),
]  # fmt: skip
CONTROL = [
    change(62, "bundle_stored", bundle=B1, by="ada", name="desk", rules=4),
    change(61, "bundle_activated", bundle=B1, by="ada", replaces=None),
    change(48, "key_created", key="key_9", by="ada"),
    change(26, "bundle_activated", bundle=B2, by="ben", replaces=B1),
    change(5, "stop_set", agent="scout", stop="stp_1", target="agent `scout`", reason="odd", by="ben"),
    change(
        2, "stop_released", agent="scout", stop="stp_1", target="agent `scout`", reason="looked", by="ada"
    ),
    change(1.5, "rate_limited", key="key_9", refused=12, limits=["key"], agents=["scout"]),
    change(1.4, "rate_limited", key="key_9", refused=30, limits=["key"], agents=["scout"]),
    change(1, "stop_set", stop="stp_2", target="fleet", reason="drill", by="ben"),
]


def batch(log_id: str, events: list[tuple[float, dict[str, Any]]]) -> LogBatch:
    rows: list[EvidenceRow] = [
        small_row(event_time=NOW_US - int(ago_h * HOUR_US), log_id=log_id, seq=seq, **row)
        for seq, (ago_h, row) in enumerate(events)
    ]
    return LogBatch(log_id=log_id, first_seq=0, last_seq=len(rows) - 1, records=[record(row) for row in rows])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("evidence") / "decisions")
    EvidenceTable.open_or_create(path).land(
        [batch("control", CONTROL), batch("host-000", HOST)], ingest_time_us=NOW_US
    )
    return path


@pytest.fixture
def ask(table: str) -> Iterator[Any]:
    def asked(name: str, *columns: str) -> list[tuple[Any, ...]]:
        answer = query(table, QUERIES[name])
        rows = answer.select(list(columns) or answer.column_names).to_pylist()
        return [tuple(row.values()) for row in rows]

    return asked


def test_the_page_has_twenty_questions_with_an_answer_each() -> None:
    assert len(QUERIES) == 20
    tested = set(re.findall(r'ask\(\s*"(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert tested == set(QUERIES)


def test_the_page_tells_of_every_view() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == sorted(VIEWS, key=PAGE.index)
    assert {*re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)} == {*VIEWS}


def test_is_anything_missing(ask: Any) -> None:
    found = ask("missing", "log_id", "rows", "missing", "doubled")
    assert found == [("control", len(CONTROL), 0, 0), ("host-000", len(HOST), 0, 0)]


def test_which_control_stopped_what(ask: Any) -> None:
    found = ask("controls", "control", "decisions", "denied", "escalated", "agents")
    assert found == [("gdpr/32", 2, 2, 0, 1), ("sox/itgc-sod", 3, 2, 1, 2)]


def test_under_which_rules_it_was_decided(ask: Any) -> None:
    found = ask("bundles", "bundle_hash", "decisions", "changed_by")
    assert found == [(B1, 5, "ada"), (B2, 13, "ben")]


def test_who_changed_what(ask: Any) -> None:
    assert ask("changes", "event_type", "changed_by", "what", "reason") == [
        ("bundle_stored", "ada", B1, None),
        ("bundle_activated", "ada", B1, None),
        ("key_created", "ada", "key_9", None),
        ("bundle_activated", "ben", B2, None),
        ("stop_set", "ben", "scout", "odd"),
        ("stop_released", "ada", "scout", "looked"),
        ("stop_set", "ben", None, "drill"),
    ]


def test_who_approved_what_was_carried_out(ask: Any) -> None:
    found = ask("approved", "approval_id", "agent_id", "rule_ids", "approvers", "took_s", "outcome")
    assert found == [("apr_1", "payer", ["desk/large"], ["user:anna", "user:bert"], 3600.0, "failed")]


def test_did_anybody_approve_for_themselves(ask: Any) -> None:
    assert ask("own_approvals") == [("apr_0", "payer", "bank.pay", "user:ada", ["user:ada"])]


def test_what_happened_in_a_workflow(ask: Any) -> None:
    found = ask("workflow", "event_type", "agent_id", "decision")
    assert len(found) == sum(row.get("workflow_id") == "wf_1" for _, row in HOST)
    assert found[:3] == [
        ("decision", "payer", "escalate"),
        ("approval_requested", "payer", None),
        ("approval_granted", "payer", None),
    ]


def test_what_was_denied_in_the_last_day(ask: Any) -> None:
    assert ask("denied", "agent_id", "resource_id", "rule", "denied") == [
        ("mailer", "mail.send", "desk/no-pii", 2),
        ("payer", "bank.pay", "desk/too-large", 2),
        ("scout", "web.read", "stopped", 2),
        ("scout", "shell.run", "uncatalogued_resource", 1),
    ]


def test_how_much_is_decided_by_hour(ask: Any) -> None:
    found = ask("hourly", "decisions", "denied_share", "escalated")
    recent = [row["decision"] for ago_h, row in HOST if row["event_type"] == "decision" and ago_h < 24]
    assert sum(decisions for decisions, _, _ in found) == len(recent)
    assert sum(decisions * share for decisions, share, _ in found) == pytest.approx(recent.count("deny"))
    assert sum(escalated for _, _, escalated in found) == recent.count("escalate")


def test_how_long_decisions_take(ask: Any) -> None:
    found = {said: rest for said, *rest in ask("latency")}
    assert found["allow"] == [4, 100.0, pytest.approx(197.0), 200]
    assert found["deny"] == [7, 100.0, pytest.approx(288.0), 300]


def test_what_was_denied_without_a_rules_word(ask: Any) -> None:
    assert ask("unasked") == [("stopped", 2, 1, "still"), ("uncatalogued_resource", 1, 1, "unknown tool")]


def test_how_late_evidence_lands(ask: Any) -> None:
    control, host = ask("landing", "log_id", "rows", "max_s")
    assert control == ("control", 5, 5 * 3600.0)
    assert host[:2] == ("host-000", sum(ago_h < 24 for ago_h, _ in HOST)) and host[2] == 20 * 3600.0


def test_what_permitted_actions_came_to(ask: Any) -> None:
    assert ask("outcomes") == [
        ("bank.pay", 4, 1, 1, 0, 0),
        ("mail.send", 2, 1, 0, 0, 1),
        ("bank.look", 1, 0, 0, 1, 0),
        ("crm.read", 1, 1, 0, 0, 0),
        ("web.read", 1, 1, 0, 0, 0),
    ]


def test_who_asks_too_often(ask: Any) -> None:
    assert ask("too_often", "key_id", "refused", "minutes") == [("key_9", 42, 2)]


def test_which_sessions_touched_personal_data_and_sent_something_out(ask: Any) -> None:
    found = ask("leaks", "agent_id", "session_id", "sent_with", "touched_with")
    assert found == [("mailer", "ses_m", "mail.send", "crm.read")] * 2


def test_what_an_agent_never_did_before(ask: Any) -> None:
    assert ask("new_tools", "agent_id", "resource_id", "times") == [("mailer", "mail.send", 2)]


def test_what_each_agent_was_entitled_to_and_touched(ask: Any) -> None:
    assert ask("reach") == [
        ("mailer", "crm", ["user:ada"], 1, 0, ["financial", "pii"], ["internal"]),
        ("mailer", "mail", ["user:ada"], 2, 2, [], ["external"]),
        ("payer", "bank", ["user:ada"], 5, 4, ["financial"], ["external", "internal"]),
        ("scout", "web", ["user:bob"], 1, 2, [], ["internal"]),
        ("scout", None, ["user:bob"], 0, 1, [], []),
    ]


def test_what_should_not_have_happened(ask: Any) -> None:
    found = ask("findings", "agent_id", "reason_code", "resource_id", "decision_id", "decision", "rule")
    assert found == [("mailer", "executed_digest_mismatch", "mail.send", "d-9", "modify", "desk/redact")]


def test_who_was_stopped(ask: Any) -> None:
    first, second = ask("stops")
    assert first == ("stp_1", "agent `scout`", "odd", "ben", "ada", 3.0, False, 2)
    assert second[:5] == ("stp_2", "fleet", "drill", "ben", None) and second[6:] == (True, 0)
    assert timedelta(hours=second[5]) >= timedelta(hours=1)


def test_what_rules_on_trial_would_have_done(ask: Any) -> None:
    assert ask("trials", "kind", "rule", "would", "decision", "times", "example") == [
        ("monitor", "desk/night", "deny", "allow", 1, "d-12"),
        ("monitor", "desk/odd", "escalate", "allow", 1, "d-12"),
        ("shadow", "desk/new", "deny", "allow", 1, "d-13"),
    ]
