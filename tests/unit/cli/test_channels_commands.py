"""`controlplane channels` against a control plane that remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane

from actors.notifications.signature import read_secret

Run = Callable[..., Result]
HOOK = {"id": "hook", "kind": "webhook", "url": "https://hooks.example/…", "set_at": "2026-11-24T12:00:00Z"}
DELIVERY = {
    "id": "msg_1", "channel": "hook", "event": "approval_requested", "approval": "apr_1", "state": "dead",
    "attempts": 11, "status": 500, "error": "answered 500",
    "created_at": "2026-11-23T12:00:00Z", "changed_at": "2026-11-24T12:00:00Z",
    "next_at": None,
}  # fmt: skip


def test_a_webhook_gets_a_new_secret_that_stands_alone_on_stdout(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/channels", HOOK, 201)
    done = ask("channels", "add", "hook", "--kind", "webhook", "--to-url", "https://hooks.example/a")
    assert done.exit_code == 0, done.output
    secret = done.stdout.strip()
    assert len(read_secret(secret)) == 32
    assert remote.last_body == {
        "id": "hook",
        "kind": "webhook",
        "url": "https://hooks.example/a",
        "secret": secret,
    }
    as_json = ask(
        "channels", "add", "hook", "--kind", "webhook", "--to-url", "https://hooks.example/a", "--json"
    )
    assert read_secret(json.loads(as_json.stdout)["secret"]) != read_secret(secret)


def test_secrets_and_urls_come_from_files(ask: Run, remote: FakeControlPlane, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass word\n")
    (tmp_path / "url").write_text("https://hooks.slack.example/T0/x\n")
    remote.answer("POST", "/v1/channels", HOOK, 201)
    ask(
        "channels",
        "add",
        "chat",
        "--kind",
        "slack",
        "--to-url",
        f"@{tmp_path / 'url'}",
        "--approver",
        "role:treasury",
    )
    assert remote.last_body == {
        "id": "chat", "kind": "slack", "url": "https://hooks.slack.example/T0/x", "approvers": ["role:treasury"],
    }  # fmt: skip
    done = ask(
        "channels", "add", "desk", "--kind", "smtp", "--host", "mail.example", "--sender", "cp@bank.example",
        "--recipient", "a@bank.example", "--recipient", "b@bank.example", "--username", "cp", "--port", "465",
        "--tls", "implicit", "--secret-file", tmp_path / "secret", "--event", "approval_requested",
    )  # fmt: skip
    assert remote.last_body == {
        "id": "desk", "kind": "smtp", "host": "mail.example", "sender": "cp@bank.example", "port": 465,
        "recipients": ["a@bank.example", "b@bank.example"], "username": "cp", "tls": "implicit",
        "secret": "pass word", "events": ["approval_requested"],
    }  # fmt: skip
    assert "pass word" not in done.output


@pytest.mark.parametrize(
    ("words", "method", "path", "answer", "shown"),
    [
        (("remove", "hook"), "DELETE", "/v1/channels/hook", HOOK, "removed hook"),
        (
            ("retry", "msg_1"),
            "POST",
            "/v1/channels/dead-letters/msg_1/retry",
            DELIVERY,
            "msg_1 is tried again",
        ),
        (
            ("deliveries", "hook", "--limit", "5"),
            "GET",
            "/v1/channels/hook/deliveries?limit=5",
            {"deliveries": [DELIVERY]},
            "answered 500",
        ),
        (
            ("dead-letters",),
            "GET",
            "/v1/channels/dead-letters?limit=100",
            {"deliveries": []},
            "no dead letters",
        ),
        (
            ("dead-letters", "--channel", "hook"),
            "GET",
            "/v1/channels/dead-letters?limit=100&channel=hook",
            {"deliveries": [DELIVERY]},
            "msg_1",
        ),
        (
            ("list",),
            "GET",
            "/v1/channels",
            {"channels": [HOOK | {"deliveries": {"dead": 3}}], "notifier": "ready"},
            "https://hooks.example/…",
        ),
        (
            ("list",),
            "GET",
            "/v1/channels",
            {"channels": [HOOK], "notifier": "it is gone"},
            "away: it is gone",
        ),
    ],
)
def test_a_command_asks_and_shows(
    ask: Run,
    remote: FakeControlPlane,
    words: tuple[str, ...],
    method: str,
    path: str,
    answer: Any,
    shown: str,
) -> None:
    remote.answer(method, path, answer)
    done = ask("channels", *words)
    assert done.exit_code == 0, done.output
    assert remote.asked == [(method, path, None)]
    assert shown in done.stdout
    assert json.loads(ask("channels", *words, "--json").stdout) == answer


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"delivered": True, "status": 204, "error": ""}, 0),
        ({"delivered": False, "status": None, "error": "ConnectError"}, 1),
    ],
)
def test_a_trial_says_by_its_exit_status_whether_it_was_taken(
    ask: Run, remote: FakeControlPlane, answer: dict[str, Any], status: int
) -> None:
    remote.answer("POST", "/v1/channels/hook/test", answer)
    done = ask("channels", "test", "hook")
    assert done.exit_code == status
    assert answer["error"] in done.stdout
