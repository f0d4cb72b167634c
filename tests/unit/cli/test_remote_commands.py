"""The commands that speak to a control plane, against one that remembers what it was asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import KEY, FakeControlPlane

from controlplane.settings import Settings

Run = Callable[..., Result]
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "ac" * 32
OPENED = {"session": "ses_1", "token": "dlg_1"}


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (
            (
                "keys",
                "create",
                "--role",
                "gateway",
                "--agent",
                "bot-*",
                "--grant",
                "workflows",
                "--expires",
                "90d",
            ),
            "POST",
            "/v1/keys",
            {"role": "gateway", "agents": ["bot-*"], "grants": ["workflows"], "expires_in_s": 7_776_000},
        ),
        (
            ("keys", "create", "--role", "agent", "--agent", "bot", "--note", "ci"),
            "POST",
            "/v1/keys",
            {"role": "agent", "agents": ["bot"], "note": "ci"},
        ),
        (
            ("principal", "add", "ada", "--role", "treasury", "--attributes", '{"level": 3}'),
            "POST",
            "/v1/principals",
            {"type": "user", "id": "ada", "roles": ["treasury"], "groups": [], "attributes": {"level": 3}},
        ),
        (
            ("agent", "register", "bot", "--tool", "mail.read", "--tool", "mail.send", "--no-standing"),
            "POST",
            "/v1/agents",
            {"id": "bot", "standing": False, "tools": ["mail.read", "mail.send"]},
        ),
        (("agent", "register", "bot", "--label", ""), "POST", "/v1/agents", {"id": "bot", "labels": []}),
        (("bundle", "activate", DIGEST), "POST", f"/v1/bundles/{DIGEST}/activate", None),
        (
            ("bundle", "activate", DIGEST, "--past", "lenient"),
            "POST",
            f"/v1/bundles/{DIGEST}/activate",
            {"past": "lenient"},
        ),
        (("bundle", "shadow", DIGEST), "POST", f"/v1/bundles/{DIGEST}/shadow", None),
        (("bundle", "shadow", "--off"), "DELETE", "/v1/bundles/shadow", None),
        (("keys", "revoke", "k1"), "DELETE", "/v1/keys/k1", None),
        (
            ("session", "open", "bot", "--task", "pay", "--principal", "user:ada"),
            "POST",
            "/v1/sessions",
            {"agent": "bot", "subject_type": "agent", "task": "pay", "principal": "user:ada"},
        ),
        (
            ("session", "open", "helper", "--parent", "dlg_1"),
            "POST",
            "/v1/sessions",
            {"agent": "helper", "subject_type": "agent", "parent": "dlg_1"},
        ),
        (
            ("session", "task", "ses_1", "and the rent"),
            "POST",
            "/v1/sessions/ses_1/task",
            {"task": "and the rent"},
        ),
        (("session", "end", "ses_1"), "POST", "/v1/sessions/ses_1/end", None),
        (
            ("delegate", "ses_1", "--to", "helper"),
            "POST",
            "/v1/delegations",
            {"session": "ses_1", "to": "helper", "depth": 0, "expires_in_s": 3600},
        ),
        (
            (
                "delegate",
                "ses_1",
                "--to",
                "h",
                "--tool",
                "mail.*",
                "--tool",
                "crm.read",
                "--depth",
                "2",
                "--expires",
                "15m",
                "--principal",
                "user:ada",
            ),
            "POST",
            "/v1/delegations",
            {
                "session": "ses_1",
                "to": "h",
                "depth": 2,
                "expires_in_s": 900,
                "tools": ["mail.*", "crm.read"],
                "principal": "user:ada",
            },
        ),
        (
            ("delegate", "ses_1", "--to", "h", "--tool", ""),
            "POST",
            "/v1/delegations",
            {"session": "ses_1", "to": "h", "depth": 0, "expires_in_s": 3600, "tools": []},
        ),
    ],
)
def test_a_command_asks_for_exactly_what_its_options_say(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], method: str, path: str, body: Any
) -> None:
    remote.answer(method, path, {"id": "k1", "role": "x", "key": "cp_new", "acknowledged": [], **OPENED})
    done = ask(*words)
    assert done.exit_code == 0, done.output
    assert remote.asked == [(method, path, body)]


def test_a_new_key_stands_alone_on_stdout(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/keys", {"id": "k1", "role": "operator", "key": "cp_new"}, 201)
    done = ask("keys", "create", "--role", "operator")
    assert done.stdout == "cp_new\n"
    assert "k1" in done.stderr


def test_a_session_and_a_token_stand_alone_on_stdout(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer(
        "POST", "/v1/sessions", {"session": "ses_1", "workflow": "wfl_1", "principal": "user:ada"}, 201
    )
    remote.answer("POST", "/v1/delegations", {"token": "dlg_1", "to": "h", "tools": ["mail.*"]}, 201)
    opened, given = ask("session", "open", "bot"), ask("delegate", "ses_1", "--to", "h")
    assert (opened.stdout, given.stdout) == ("ses_1\n", "dlg_1\n")
    assert "user:ada" in opened.stderr and "mail.*" in given.stderr


LISTS: list[tuple[tuple[str, str], str, dict[str, Any], tuple[str, ...]]] = [
    (
        ("keys", "list"),
        "/v1/keys",
        {"keys": [{"id": "k1", "role": "agent", "agents": ["bot"], "revoked_at": "2026-01-01T00:00:00Z"}]},
        ("k1", "agent", "bot", "revoked"),
    ),
    (
        ("principal", "list"),
        "/v1/principals",
        {"principals": [{"type": "user", "id": "ada", "roles": ["treasury"], "groups": []}]},
        ("user", "ada", "treasury"),
    ),
    (
        ("agent", "list"),
        "/v1/agents",
        {"agents": [{"id": "bot", "owner": "ada", "isolation": "dedicated"}]},
        ("bot", "ada", "dedicated"),
    ),
    (
        ("bundle", "list"),
        "/v1/bundles",
        {"active": DIGEST, "bundles": [{"digest": DIGEST, "name": "bank", "rules": 7}]},
        ("*", DIGEST, "bank", "7"),
    ),
]


@pytest.mark.parametrize(("words", "path", "answer", "shown"), LISTS)
def test_a_list_shows_its_entries(
    ask: Run, remote: FakeControlPlane, words: tuple[str, str], path: str, answer: Any, shown: tuple[str, ...]
) -> None:
    remote.answer("GET", path, answer)
    rows = ask(*words).stdout.splitlines()
    assert len(rows) == 2
    assert all(word in rows[1].split() for word in shown)


@pytest.mark.parametrize(("words", "path", "answer", "shown"), LISTS)
def test_a_list_as_json_is_the_answer_itself(
    ask: Run, remote: FakeControlPlane, words: tuple[str, str], path: str, answer: Any, shown: tuple[str, ...]
) -> None:
    remote.answer("GET", path, answer)
    assert json.loads(ask(*words, "--json").stdout) == answer


def test_all_pages_of_agents_are_listed(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("GET", "/v1/agents", {"agents": [{"id": "a/1"}], "next": "a/1"})
    remote.answer("GET", "/v1/agents?after=a%2F1", {"agents": [{"id": "b"}], "next": None})
    assert json.loads(ask("agent", "list", "--json").stdout)["agents"] == [{"id": "a/1"}, {"id": "b"}]


def test_files_are_uploaded_under_the_names_the_user_gave(
    ask: Run, remote: FakeControlPlane, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.yaml", "a.yml", "sub/c.yaml", "notes.txt"):
        (tmp_path / name).write_text(f"# {name}")
    remote.answer(
        "POST",
        "/v1/bundles",
        {
            "digest": DIGEST,
            "name": "n",
            "rules": 1,
            "warnings": [],
            "acknowledged": ["host-000"],
            "lagging": ["host-001"],
        },
        201,
    )
    done = ask("bundle", "activate", tmp_path, tmp_path / "b.yaml")
    assert done.exit_code == 0, done.output
    assert remote.last_body == {
        "activate": True,
        "sources": [
            {"name": str(tmp_path / name), "text": f"# {name}"} for name in ("a.yml", "b.yaml", "sub/c.yaml")
        ],
    }
    assert "acknowledged by host-000" in done.stdout
    assert "lagging: host-001: from two seconds on they deny until they have it" in done.stdout


def activation(**known: Any) -> dict[str, Any]:
    return {"digest": DIGEST, "acknowledged": ["host-000"], "lagging": [], **known}


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({"replaces": OTHER, "replaces_name": "bank"}, f"replaces bank {OTHER}"),
        ({"warnings": [{"file": "p", "line": 1, "column": 2, "message": "odd"}]}, "warning: p:1:2: odd"),
    ],
)
def test_an_activation_says_what_it_replaces_and_what_is_odd(
    ask: Run, remote: FakeControlPlane, known: dict[str, Any], shown: str
) -> None:
    remote.answer("POST", f"/v1/bundles/{DIGEST}/activate", activation(**known))
    assert shown in ask("bundle", "activate", DIGEST).stdout.splitlines()


@pytest.mark.parametrize("prefix", ["sha256:aba", "abab", "ab" * 32])
def test_a_bundle_may_be_named_by_how_its_digest_begins(
    ask: Run, remote: FakeControlPlane, prefix: str
) -> None:
    remote.answer("GET", "/v1/bundles", {"bundles": [{"digest": DIGEST}, {"digest": OTHER}]})
    remote.answer("POST", f"/v1/bundles/{DIGEST}/activate", activation())
    remote.answer("GET", f"/v1/bundles/{DIGEST}", {"digest": DIGEST, "sources": []})
    assert ask("bundle", "activate", prefix).exit_code == 0
    assert DIGEST in ask("bundle", "show", prefix).stdout


@pytest.mark.parametrize("words", [(), ("active",)])
def test_the_active_bundle_is_shown_by_its_name_and_by_default(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...]
) -> None:
    remote.answer(
        "GET", "/v1/bundles", {"active": DIGEST, "bundles": [{"digest": OTHER}, {"digest": DIGEST}]}
    )
    remote.answer("GET", f"/v1/bundles/{DIGEST}", {"digest": DIGEST, "sources": []})
    assert DIGEST in ask("bundle", "show", *words).stdout


@pytest.mark.parametrize(
    ("prefix", "error"), [("sha256:a", "the digests of 2 bundles"), ("cafe", "no stored bundle's digest")]
)
def test_a_beginning_that_names_no_single_bundle_is_refused(
    ask: Run, remote: FakeControlPlane, prefix: str, error: str
) -> None:
    remote.answer("GET", "/v1/bundles", {"bundles": [{"digest": DIGEST}, {"digest": OTHER}]})
    for command in ("activate", "show"):
        done = ask("bundle", command, prefix)
        assert done.exit_code == 1
        assert error in done.stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--role", "agent"), "--agent"),
        (("--role", "agent", "--agent", "bot-*"), "--agent"),
        (("--role", "agent", "--agent", "a", "--agent", "b"), "--agent"),
        (("--role", "agent", "--agent", "a", "--subject", "user:x"), "--subject"),
        (("--role", "agent", "--agent", "a", "--grant", "witness"), "--grant"),
        (("--role", "gateway"), "--agent / --subject"),
    ],
)
def test_a_key_that_could_not_be_made_is_a_usage_error_that_names_the_option(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], option: str
) -> None:
    done = ask("keys", "create", *words)
    assert done.exit_code == 2
    assert f"Invalid value for {option}: " in done.stderr
    assert remote.asked == []


def test_registering_shows_what_is_registered_afterwards(ask: Run, remote: FakeControlPlane) -> None:
    record = {"id": "bot", "owner": "ada", "labels": ["finance"], "tools": ["a", "b"], "isolation": "hosted"}
    remote.answer("POST", "/v1/agents", record, 201)
    lines = [line.split(maxsplit=1) for line in ask("agent", "register", "bot").stdout.splitlines()]
    assert lines[:4] == [
        ["registered", "bot"],
        ["owner", "ada"],
        ["labels", "finance"],
        ["tools", "2 declared"],
    ]


def test_revoking_says_since_when_the_key_is_revoked(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("DELETE", "/v1/keys/k1", {"id": "k1", "revoked_at": "2026-01-01T00:00:00Z"})
    assert ask("keys", "revoke", "k1").stdout == "k1 is revoked since 2026-01-01T00:00:00Z\n"


def test_what_is_no_key_is_one_line_that_does_not_show_it(run: Run, remote: FakeControlPlane) -> None:
    done = run("agent", "list", "--url", remote.url, "--key", "geheim…")
    assert done.exit_code == 1
    assert "does not begin with `cp_`" in done.stderr
    assert "geheim" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_each_error_of_a_refused_bundle_is_a_line_with_its_place(
    ask: Run, remote: FakeControlPlane, tmp_path: Path
) -> None:
    errors = [
        {
            "file": "p.yaml",
            "line": 3,
            "column": 5,
            "code": "c",
            "message": "unknown key `thn`",
            "hint": "did you mean `then`?",
        },
        {"file": "p.yaml", "line": 9, "column": 1, "code": "c", "message": "no `kind`", "hint": ""},
    ]
    refusal = {"error": {"code": "invalid_bundle", "message": "2 errors", "errors": errors}}
    remote.answer("POST", "/v1/bundles", refusal, 400)
    file = tmp_path / "p.yaml"
    file.touch()
    done = ask("bundle", "activate", file)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "p.yaml:3:5: unknown key `thn`; did you mean `then`?",
        "p.yaml:9:1: no `kind`",
    ]
    assert json.loads(ask("bundle", "activate", file, "--json").stderr)["error"]["errors"] == errors


def evaluation(decision: bool, **context: Any) -> dict[str, Any]:
    reasons = [{"rule": "bank/cap", "because": "too much", "controls": ["sox/1"]}]
    return {"decision": decision, "context": {"id": "d1", "reasons": reasons, **context}}


def allow(arguments: bytes) -> dict[str, Any]:
    return evaluation(
        True,
        effect="allow",
        reason_code="rule_allow",
        arguments_digest=hashlib.sha256(arguments).hexdigest(),
        expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
    )


@pytest.mark.parametrize(
    ("answer", "options", "status"),
    [
        (allow(b'{"amount":1}'), (), 0),
        (evaluation(False, effect="deny", reason_code="rule_deny"), (), 4),
        (evaluation(False, effect="escalate", reason_code="rule_escalate"), (), 4),
        (evaluation(False, effect="allow", reason_code="rule_allow", dry_run=True), ("--dry-run",), 0),
        (evaluation(False, effect="deny", reason_code="rule_deny", dry_run=True), ("--dry-run",), 4),
        (evaluation(False, effect="allow", reason_code="rule_allow"), (), 4),
    ],
)
def test_decide_ends_with_0_only_when_allowed(
    ask: Run, remote: FakeControlPlane, answer: Any, options: tuple[str, ...], status: int
) -> None:
    remote.answer("POST", "/access/v1/evaluation", answer)
    words = ("decide", "--agent", "bot", "--tool", "pay", "--args", '{"amount": 1}', *options)
    done = ask(*words)
    assert done.exit_code == status, done.output
    assert "bank/cap: too much  [sox/1]" in done.stdout
    shown = json.loads(ask(*words, "--json").stdout)
    assert shown["effect"] == answer["context"]["effect"]
    assert shown["reasons"] == answer["context"]["reasons"]
    assert remote.last_body["context"]["arguments"] == {"amount": 1}


def test_decide_shows_what_may_be_executed_instead(ask: Run, remote: FakeControlPlane) -> None:
    made = {"amount": 100}
    obligation = {"id": "o", "type": "custom", "properties": {"modify_arguments": made}}
    answer = allow(b'{"amount":100}')
    answer["context"] |= {"effect": "modify", "reason_code": "rule_modify", "obligations": [obligation]}
    remote.answer("POST", "/access/v1/evaluation", answer)
    words = ("decide", "--agent", "bot", "--tool", "pay", "--args", '{"amount": 200}')
    done = ask(*words)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "modify"
    assert 'arguments  {"amount": 100}' in done.stdout
    shown = json.loads(ask(*words, "--json").stdout)
    assert (shown["allowed"], shown["effect"], shown["modified"]) == (True, "modify", made)
    dry = {"decision": False, "context": answer["context"] | {"id": "", "dry_run": True}}
    remote.answer("POST", "/access/v1/evaluation", dry)
    tried = ask(*words, "--dry-run", "--json")
    assert tried.exit_code == 0, tried.output
    assert (json.loads(tried.stdout)["allowed"], json.loads(tried.stdout)["modified"]) == (False, made)


@pytest.mark.parametrize(
    ("effect", "line"), [("allow", "  bank/cap"), ("deny", "  bank/cap: no reason given")]
)
def test_only_who_is_stopped_is_told_that_a_rule_gives_no_reason(
    ask: Run, remote: FakeControlPlane, effect: str, line: str
) -> None:
    answer = evaluation(False, effect=effect, reason_code="rule", dry_run=True)
    answer["context"]["reasons"] = [{"rule": "bank/cap"}]
    remote.answer("POST", "/access/v1/evaluation", answer)
    done = ask("decide", "--agent", "bot", "--tool", "pay", "--dry-run")
    assert line in done.stdout.splitlines()


def test_an_escalation_says_what_to_ask_for_approval_with_and_an_approval_goes_along(
    ask: Run, remote: FakeControlPlane
) -> None:
    answer = evaluation(False, effect="escalate", reason_code="rule_escalate")
    answer["context"]["access_request"] = {"endpoint": "/v1/approvals", "binding_token": "esc_x"}
    remote.answer("POST", "/access/v1/evaluation", answer)
    words = ("decide", "--agent", "bot", "--tool", "pay", "--approval", "apr_1")
    shown = ask(*words).stdout
    assert "esc_x" in shown and "POST /v1/approvals" in shown
    assert json.loads(ask(*words, "--json").stdout)["binding_token"] == "esc_x"
    assert remote.last_body["context"]["approval"] == {"id": "apr_1"}


def test_an_escalation_that_nobody_can_lift_says_so(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer(
        "POST", "/access/v1/evaluation", evaluation(False, effect="escalate", reason_code="rule_escalate")
    )
    assert "nobody can give it" in ask("decide", "--agent", "bot", "--tool", "pay").stdout
    assert "nobody can give it" not in ask("decide", "--agent", "bot", "--tool", "pay", "--dry-run").stdout


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--subject", "user:*"),
        ("--subject", "anna"),
        ("--subject", "user:a", "--subject", "user:b"),
        ("--subject", "user:a", "--agent", "bot"),
        ("--subject", "user:a", "--grant", "witness"),
        ("--subject", "agent:bot"),
    ],
)
def test_an_approvers_key_is_one_persons(
    ask: Run, remote: FakeControlPlane, options: tuple[str, ...]
) -> None:
    assert ask("keys", "create", "--role", "approver", *options).exit_code == 2
    assert remote.asked == []


def test_arguments_may_come_from_a_file(ask: Run, remote: FakeControlPlane, tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"amount": 2}')
    ask("decide", "--agent", "bot", "--tool", "pay", "--args", f"@{tmp_path}/args.json")
    assert remote.last_body["context"]["arguments"] == {"amount": 2}


@pytest.mark.parametrize(
    "text", ["amount=1", "[1]", "@/no/such/file", "3", '{"a": 1, "a": 2}', '{"a": NaN}', "{"]
)
def test_arguments_that_the_door_would_refuse_are_a_usage_error(
    ask: Run, remote: FakeControlPlane, text: str
) -> None:
    assert ask("decide", "--agent", "bot", "--tool", "pay", "--args", text).exit_code == 2
    assert remote.asked == []


@pytest.mark.parametrize("text", ["90", "d", "-1d", "1w", "0d", "1.5h", ""])
def test_what_is_no_duration_is_a_usage_error(ask: Run, remote: FakeControlPlane, text: str) -> None:
    assert ask("keys", "create", "--role", "operator", "--expires", text).exit_code == 2
    assert remote.asked == []


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (401, {"error": {"code": "key_revoked", "message": "this key is revoked"}}, "key_revoked"),
        (503, "busy", "http_503"),
        (200, {"decision": "yes"}, "malformed_answer"),
        (200, evaluation(True, effect="allow", arguments_digest="00"), "digest_mismatch"),
    ],
)
def test_decide_fails_like_other_commands_when_there_is_no_decision(
    ask: Run, remote: FakeControlPlane, status: int, answer: Any, code: str
) -> None:
    remote.answer("POST", "/access/v1/evaluation", answer, status)
    done = ask("decide", "--agent", "a", "--tool", "t", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert remote.url in error["message"]


def test_decide_says_what_to_do_when_nobody_answers(run: Run) -> None:
    done = run("decide", "--agent", "a", "--tool", "t", "--url", "http://127.0.0.1:1", "--key", KEY)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no answer" in done.stderr
    assert "controlplane status" in done.stderr


def test_no_answer_to_a_management_call_says_what_to_do(run: Run) -> None:
    done = run("agent", "list", "--url", "http://127.0.0.1:1", "--key", KEY)
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "http://127.0.0.1:1" in done.stderr
    assert "controlplane status" in done.stderr


def test_a_refusal_as_json_carries_code_and_status(run: Run, remote: FakeControlPlane) -> None:
    done = run("agent", "list", "--url", remote.url, "--key", "cp_wrong", "--json")
    assert done.exit_code == 1
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["status"]) == ("unauthenticated", 401)


def test_text_from_the_network_cannot_steer_the_terminal(ask: Run, remote: FakeControlPlane) -> None:
    hostile = "\x1b[2J[bold]x\r\x07"
    remote.answer("GET", "/v1/agents", {"agents": [{"id": "bot", "owner": hostile}]})
    shown = ask("agent", "list").stdout
    assert "[bold]x" in shown
    assert not {"\x1b", "\r", "\x07"} & set(shown)


def test_the_operators_key_goes_nowhere_unasked(run: Run, remote: FakeControlPlane) -> None:
    done = run("agent", "list", "--url", remote.url)
    assert done.exit_code == 1
    assert "--url needs --key" in done.stderr
    assert remote.asked == []


def test_with_a_data_directory_its_operators_key_is_used(
    run: Run, remote: FakeControlPlane, tmp_path: Path
) -> None:
    settings = Settings.create_or_open(tmp_path / "cp")
    settings.operator_key.write_text(KEY + "\n")
    remote.answer("GET", "/v1/agents", {"agents": []})
    done = run("agent", "list", "--url", remote.url, "--data", settings.data)
    assert done.stdout == "no agents\n"


def test_a_data_directory_where_nothing_runs_says_how_to_start(run: Run, tmp_path: Path) -> None:
    Settings.create_or_open(tmp_path / "cp")
    done = run("agent", "list", "--data", tmp_path / "cp")
    assert done.exit_code == 1
    assert f"controlplane up --data {tmp_path / 'cp'}" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("principal", "add", "user:ada", "--role", "treasury"), "its id alone: `ada`"),
        (("principal", "add", "ada", "--role", "role:treasury"), "its name alone: `treasury`"),
        (("principal", "add", "ada", "--group", "group:board"), "its name alone: `board`"),
        (("keys", "create", "--role", "approver", "--subject", "role:treasury"), "an approver's key is one person's"),
        (("keys", "create", "--role", "approver", "--subject", "group:board"), "an approver's key is one person's"),
    ],
)  # fmt: skip
def test_what_rules_write_before_a_name_is_no_part_of_it(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], told: str
) -> None:
    done = ask(*words)
    assert done.exit_code == 2 and told in " ".join(done.stderr.split())
    assert remote.asked == []
