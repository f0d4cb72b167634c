"""`controlplane approvals` against a control plane that remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import KEY, FakeControlPlane
from unit.evidence.evidence_samples import small_row

from controlplane.cli.approval_screens import left, needed
from controlplane.cli.approval_watch import PAUSE_S, WAIT_S, Watching
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.record import canonical_bytes, leaf_hash

Run = Callable[..., Result]
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def task(identity: str = "apr_1", **changes: Any) -> dict[str, Any]:
    expires = datetime.now(UTC) + timedelta(minutes=29, seconds=30)
    return {
        "id": identity,
        "state": "partial",
        "agent": "treasury-bot",
        "session": "ses_1",
        "workflow": "wfl_1",
        "action": "call",
        "resource": {"type": "tool", "id": "payments.transfer"},
        "arguments": {"to": "DE89", "amount": 12000},
        "justification": "the March\ninvoices",
        "rules": [
            {
                "rule": "treasury/large-transfer",
                "because": "above 10 000",
                "by": ["role:treasury"],
                "then_to": ["user:cfo"],
                "quorum": 2,
                "approvals": [
                    {"approver": "user:anna", "at": "2026-11-24T11:59:00Z", "comment": "fine by me"}
                ],
                "values": [{"at": "/to", "shown": "DE…89"}],
            }
        ],
        "requested_at": "2026-11-24T11:58:00Z",
        "expires_at": expires.isoformat(),
        "created_by": "k1",
        "decision_id": "01a2",
        "may_decide": True,
        "delegated": [{"from": "user:anna", "to": "user:eve", "until": "2026-11-24T14:00:00Z"}],
        "comments": [{"by": "user:bob", "at": "2026-11-24T11:59:30Z", "text": "why twice?"}],
    } | changes


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (("approve", "apr_1"), "POST", "/v1/approvals/apr_1/approve", {}),
        (
            ("approve", "apr_1", "--comment", "ok", "--narrow", "/amount=5000", "--narrow", '/to="DE89"'),
            "POST",
            "/v1/approvals/apr_1/approve",
            {"comment": "ok", "narrow": {"/amount": 5000, "/to": "DE89"}},
        ),
        (("deny", "apr_1", "--comment", "no"), "POST", "/v1/approvals/apr_1/deny", {"comment": "no"}),
        (
            ("delegate", "apr_1", "--to", "user:bob", "--comment", "away"),
            "POST",
            "/v1/approvals/apr_1/delegate",
            {"to": "user:bob", "comment": "away"},
        ),
        (("comment", "apr_1", "why?"), "POST", "/v1/approvals/apr_1/comment", {"comment": "why?"}),
        (("cancel", "apr_1"), "POST", "/v1/approvals/apr_1/cancel", {}),
        (("cancel", "apr_1", "--comment", "done"), "POST", "/v1/approvals/apr_1/cancel", {"comment": "done"}),
        (("show", "apr_1"), "GET", "/v1/approvals/apr_1", None),
    ],
)
def test_a_command_asks_for_exactly_what_its_options_say(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], method: str, path: str, body: Any
) -> None:
    remote.answer(method, path, task())
    done = ask("approvals", *words)
    assert done.exit_code == 0, done.output
    assert remote.asked == [(method, path, body)]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ((), "/v1/approvals?limit=100"),
        (
            ("--state", "pending", "--agent", "bot 1", "--mine", "--limit", "5"),
            "/v1/approvals?state=pending&agent=bot+1&mine=true&limit=5",
        ),
    ],
)
def test_a_list_asks_for_its_filters(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], path: str
) -> None:
    remote.answer("GET", path, {"approvals": [task()]})
    done = ask("approvals", "list", *words)
    row = done.stdout.splitlines()[1]
    assert "apr_1" in row and "1 of role:treasury" in row and "29m" in row and "call payments.transfer" in row


def test_remembering_says_until_when(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/approvals/apr_1/approve", task())
    ask("approvals", "approve", "apr_1", "--remember-until", "30d", "--remember-for", "workflow")
    until = datetime.fromisoformat(remote.last_body["remember_until"])
    assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
    assert remote.last_body["remember_scope"] == "workflow"
    ask("approvals", "approve", "apr_1", "--remember-until", "2026-12-01T12:00:00+01:00")
    assert remote.last_body["remember_until"] == "2026-12-01T11:00:00Z"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("approve", "apr_1", "--narrow", "amount=5"), "is not POINTER=JSON"),
        (("approve", "apr_1", "--narrow", "/amount"), "is not POINTER=JSON"),
        (("approve", "apr_1", "--narrow", "/to=DE89"), "texts have quotes"),
        (("approve", "apr_1", "--narrow", "/amount=1e999"), "is no JSON value"),
        (("approve", "apr_1", "--remember-until", "soon"), "is neither a duration"),
        (("approve", "apr_1", "--remember-for", "agent"), "--remember-until"),
        (("deny", "apr_1"), "--comment"),
        (("delegate", "apr_1"), "--to"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_asked(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], says: str
) -> None:
    done = ask("approvals", *words)
    assert done.exit_code == 2
    assert says in done.output.replace("\n", " ")
    assert remote.asked == []


def test_show_says_who_must_still_approve_how_long_is_left_and_what_for(
    ask: Run, remote: FakeControlPlane
) -> None:
    remote.answer("GET", "/v1/approvals/apr_1", task())
    shown = ask("approvals", "show", "apr_1").stdout
    for words in (
        "partial, 29m",
        "1 of role:treasury",
        "2 of role:treasury",
        '"amount": 12000',
        "the March invoices",
        "approved by user:anna at 2026-11-24T11:59:00Z: fine by me",
        "user:bob at 2026-11-24T11:59:30Z: why twice?",
        "/to DE…89",
        "user:cfo",
        "user:anna to user:eve until 2026-11-24T14:00:00Z",
        "controlplane approvals approve apr_1",
    ):
        assert words in shown


def test_what_is_over_is_not_offered_for_decision(ask: Run, remote: FakeControlPlane) -> None:
    over = task(
        state="denied",
        may_decide=False,
        ended_by="user:anna",
        ended_comment="no",
        masked_arguments={"amount": "number"},
    )
    del over["arguments"]
    remote.answer("GET", "/v1/approvals/apr_1", over)
    shown = ask("approvals", "show", "apr_1").stdout
    assert "user:anna" in shown and "Decide" not in shown and "left" not in shown and "masked" in shown


def test_as_json_it_is_the_answer_itself(ask: Run, remote: FakeControlPlane) -> None:
    one = task()
    remote.answer("GET", "/v1/approvals/apr_1", one)
    remote.answer("GET", "/v1/approvals?limit=100", {"approvals": [one], "next": None})
    assert json.loads(ask("approvals", "show", "apr_1", "--json").stdout) == one
    assert json.loads(ask("approvals", "list", "--json").stdout)["approvals"] == [one]


def test_values_are_listed_and_revoked(ask: Run, remote: FakeControlPlane) -> None:
    value = {
        "id": "apv_1",
        "rule": "treasury/payee",
        "agent": "bot",
        "shown": "DE…89",
        "until": "2026-12-24T00:00:00Z",
    }
    remote.answer("GET", "/v1/approvals/values?limit=100", {"values": [value]})
    remote.answer("DELETE", "/v1/approvals/values/apv_1", value)
    assert "DE…89" in ask("approvals", "values", "list").stdout
    assert "revoked apv_1" in ask("approvals", "values", "revoke", "apv_1").stdout


def test_watching_one_approval_ends_when_it_is_decided(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("GET", "/v1/approvals/apr_1", task(state="approved"))
    done = ask("approvals", "watch", "apr_1")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1 and "approved" in done.stdout


def test_ctrl_c_ends_watching_cleanly(
    ask: Run, remote: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("controlplane.cli.approvals.time.sleep", interrupted)
    remote.answer("GET", "/v1/approvals?mine=true&limit=200", {"approvals": [task(), task("apr_2")]})
    done = ask("approvals", "watch", "--mine", "--json")
    assert done.exit_code == 0
    assert [json.loads(each)["id"] for each in done.stdout.splitlines()] == ["apr_1", "apr_2"]


def test_one_approval_is_waited_for_by_long_polls_and_each_change_is_told_once() -> None:
    states = ["pending", "pending", None, "partial", "approved"]
    asked: list[str] = []
    slept: list[float] = []

    def get(path: str) -> dict[str, Any] | None:
        asked.append(path)
        state = states.pop(0)
        return None if state is None else {"id": "apr_1", "state": state}

    told = [found["state"] for found in Watching(get, slept.append).one("/v1/approvals/apr_1")]
    assert told == ["pending", "partial", "approved"]
    assert asked == ["/v1/approvals/apr_1", *[f"/v1/approvals/apr_1?wait_s={WAIT_S}"] * 4]
    assert slept == [PAUSE_S] * 2


def test_all_open_approvals_are_told_each_change_of_them_and_how_they_ended() -> None:
    def listed(**states: str) -> dict[str, Any]:
        return {"approvals": [{"id": name, "state": state} for name, state in states.items()]}

    looks: list[tuple[str, dict[str, Any] | None]] = [
        ("/v1/approvals?limit=200", listed(a="pending", b="pending", c="pending", d="pending")),
        ("/v1/approvals?limit=200", None),
        ("/v1/approvals?limit=200", listed(a="partial", b="pending")),
        ("/v1/approvals/c", {"id": "c", "state": "denied"}),
        ("/v1/approvals/d", None),  # its owner is silent
        ("/v1/approvals?limit=200", listed(a="partial")),
        ("/v1/approvals/b", {}),  # somebody else's by now
        ("/v1/approvals/d", {"id": "d", "state": "expired"}),
    ]

    def get(path: str) -> dict[str, Any] | None:
        expected = next(look for look in looks if look[0] == path)
        looks.remove(expected)
        return expected[1]

    def sleep(seconds: float) -> None:
        if not looks:
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        for found in Watching(get, sleep).all({}):
            told.append((found["id"], found["state"]))
    assert told[:5] == [
        ("a", "pending"),
        ("b", "pending"),
        ("c", "pending"),
        ("d", "pending"),
        ("a", "partial"),
    ]
    assert told[5:] == [("c", "denied"), ("d", "expired")]


def test_a_list_is_read_page_by_page_and_says_who_did_not_answer(ask: Run, remote: FakeControlPlane) -> None:
    first = {
        "approvals": [task(f"apr_{n}") for n in range(200)],
        "next": "apr_199",
        "unavailable": ["host-001"],
    }
    remote.answer("GET", "/v1/approvals?limit=200", first)
    remote.answer(
        "GET", "/v1/approvals?limit=100&after=apr_199", {"approvals": [task("apr_200")], "next": None}
    )
    done = ask("approvals", "list", "--limit", "300")
    assert len(done.stdout.splitlines()) == 1 + 201 + 1
    assert "host-001 did not answer" in done.stdout


def test_show_says_why_somebody_may_not_decide(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("GET", "/v1/approvals/apr_1", task(may_decide=False, why_not="you own the agent"))
    assert "you own the agent" in ask("approvals", "show", "apr_1").stdout


@pytest.mark.parametrize(
    ("expires_at", "shown"),
    [
        ("2026-11-24T12:29:30Z", "29m 30s"),
        ("2026-11-26T13:00:10Z", "2d 1h"),
        ("2026-11-24T12:00:05.5Z", "5s"),
        ("2026-11-24T13:00:05Z", "1h"),
        ("2026-11-24T11:00:00Z", "none"),
        ("soon", ""),
    ],
)
def test_how_long_is_left(expires_at: str, shown: str) -> None:
    assert left({"state": "pending", "expires_at": expires_at}, NOW) == shown
    assert left({"state": "approved", "expires_at": expires_at}, NOW) == ""


def test_whose_word_is_missing() -> None:
    rules = [
        {"by": ["role:a", "user:b"], "quorum": 1, "approvals": []},
        {"by": ["role:c"], "quorum": 3, "approvals": [{}]},
        {"by": ["role:d"], "quorum": 1, "approvals": [{}]},
    ]
    assert needed({"state": "pending", "rules": rules}) == ["1 of role:a or user:b", "2 of role:c"]


def approval_table(folder: Path, *events: tuple[str, str, str, str | None, float]) -> None:
    """An evidence table. Args: events: (type, approval, state, approver, hours ago)."""
    records = []
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    for seq, (kind, approval, state, approver, hours) in enumerate(events):
        row = small_row(
            seq=seq,
            event_id=f"e-{seq}",
            event_type=kind,
            event_time=now_us - int(hours * 3.6e9),
            agent_id="treasury-bot",
            approval_id=approval,
            approval_state=state,
            rule_ids=["treasury/large"],
            details='{"actor":"x","may_act":["role:treasury"]}',
        )
        if approver:
            row["approver_id"] = approver
        canonical = canonical_bytes(row)
        records.append((canonical, leaf_hash(canonical)))
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(records) - 1, records=records)
    EvidenceTable.open_or_create(str(folder)).land([batch], ingest_time_us=now_us)


def test_the_load_is_read_from_the_table_alone(run: Run, tmp_path: Path) -> None:
    approval_table(
        tmp_path / "t",
        ("approval_requested", "apr_0", "pending", None, 24 * 20),
        ("approval_requested", "apr_1", "pending", None, 3),
        ("approval_granted", "apr_1", "approved", "user:anna", 2),
        ("approval_requested", "apr_2", "pending", None, 1),
    )
    answer = run("approvals", "load", "--table", tmp_path / "t", "--json")
    found = json.loads(answer.stdout)
    assert [(one["approval"], one["may_act"]) for one in found["waiting"]] == [
        ("apr_0", ["role:treasury"]),
        ("apr_2", ["role:treasury"]),
    ]
    (anna,) = found["approvers"]
    assert (anna["approver"], anna["approved"], anna["hasty"], anna["median_s"]) == ("user:anna", 1, 0, 3600)
    (rule,) = found["rules"]
    assert (rule["requested"], rule["approved"], rule["rate"]) == (2, 1, 1.0)
    screen = run("approvals", "load", "--table", tmp_path / "t").stdout
    assert "2 wait" in screen and "treasury/large" in screen and "20d" in screen


def test_commands_need_no_table_that_they_do_not_read(run: Run, remote: FakeControlPlane) -> None:
    done = run("approvals", "load", "--table", "/nonexistent/table")
    assert done.exit_code == 1 and "no evidence table" in done.output
    assert KEY not in done.output
