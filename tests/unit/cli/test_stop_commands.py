"""`controlplane stop`, `stops` and `release`, against a control plane that remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane

Run = Callable[..., Result]
STOP: dict[str, Any] = {
    "id": "stp_1",
    "state": "live",
    "target": {"type": "agent", "id": "bot"},
    "reason": "pays twice",
    "by": "k1",
    "created_at": "2026-01-05T09:00:00Z",
    "expires_at": None,
    "decision": None,
    "over_at": None,
}
SET = STOP | {"acknowledged": ["host-000"], "lagging": [], "known": True}


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (
            ("agent", "bot", "--reason", "r"),
            {"target": {"type": "agent", "id": "bot"}, "reason": "r"},
        ),
        (
            ("tool", "mail.*", "--reason", "r", "--for", "1h"),
            {"target": {"type": "tool", "id": "mail.*"}, "reason": "r", "expires_in_s": 3600},
        ),
        (("fleet", "--reason", "r"), {"target": {"type": "fleet"}, "reason": "r"}),
    ],
)
def test_stop_sends_what_is_to_be_stopped(
    ask: Run, remote: FakeControlPlane, words: tuple[str, ...], body: Any
) -> None:
    remote.answer("POST", "/v1/stops", SET, 201)
    shown = ask("stop", *words)
    assert shown.exit_code == 0, shown.output
    assert remote.asked == [("POST", "/v1/stops", body)]
    assert "stp_1" in shown.stdout


def test_it_names_those_that_lag_and_an_agent_that_nobody_registered(
    ask: Run, remote: FakeControlPlane
) -> None:
    remote.answer("POST", "/v1/stops", SET | {"lagging": ["host-001"], "known": False}, 201)
    shown = ask("stop", "agent", "bot", "--reason", "r")
    assert "lagging: host-001" in shown.stdout and "no agent `bot` is registered" in shown.stdout
    owner = SET | {"target": {"type": "owner", "id": "tresury"}, "known": False}
    remote.answer("POST", "/v1/stops", owner, 201)
    shown = ask("stop", "owner", "tresury", "--reason", "r")
    assert "no agent is registered with the owner `tresury`" in shown.stdout


@pytest.mark.parametrize(("agents", "sessions", "told"), [(0, 0, True), (0, 1, False), (1, 0, False)])
def test_a_stop_that_meets_nobody_says_so(
    ask: Run, remote: FakeControlPlane, agents: int, sessions: int, told: bool
) -> None:
    met = {"target": {"type": "tool", "id": "pay.trasnfer"}, "agents": agents, "sessions": sessions}
    remote.answer("POST", "/v1/stops", SET | met | {"known": None, "unreachable": []}, 201)
    shown = ask("stop", "tool", "pay.trasnfer", "--reason", "r")
    assert shown.exit_code == 0 and "stopped tool pay.trasnfer: stp_1" in shown.stdout
    assert [body.get("dry_run") for _, _, body in remote.asked] == [None, True]
    assert ("is tool pay.trasnfer spelled as it is meant?" in " ".join(shown.stdout.split())) is told


def test_a_release_of_what_is_no_stop_asks_nobody(ask: Run, remote: FakeControlPlane) -> None:
    shown = ask("release", "bot", "--reason", "r")
    assert shown.exit_code == 2 and "`controlplane stops` lists them" in shown.stderr and remote.asked == []


def test_a_dry_run_needs_no_reason_and_prints_how_many(ask: Run, remote: FakeControlPlane) -> None:
    counted = {
        "dry_run": True,
        "target": {"type": "fleet"},
        "agents": 7,
        "sessions": 9,
        "unreachable": ["host-001"],
    }
    remote.answer("POST", "/v1/stops", counted)
    shown = ask("stop", "fleet", "--dry-run")
    assert remote.last_body["dry_run"] is True
    assert "7 agents and 9 live sessions" in shown.stdout and "host-001" in shown.stdout
    assert json.loads(ask("stop", "fleet", "--dry-run", "--json").stdout) == counted


@pytest.mark.parametrize(
    "words",
    [("fleet", "bot", "--reason", "r"), ("agent", "--reason", "r"), ("agent", "bot"), ("agent", "bot", "--reason", " "),
     ("planet", "x", "--reason", "r"), ("agent", "bot", "--reason", "r", "--for", "soon")],
)  # fmt: skip
def test_wrong_use_asks_nobody(ask: Run, remote: FakeControlPlane, words: tuple[str, ...]) -> None:
    shown = ask("stop", *words)
    assert shown.exit_code == 2 and remote.asked == []


def test_stops_lists_them_and_with_all_those_that_are_over(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("GET", "/v1/stops", {"stops": [STOP], "more": True})
    shown = ask("stops")
    assert "stp_1" in shown.stdout and "agent bot" in shown.stdout and "and more" in shown.stdout
    remote.answer("GET", "/v1/stops?over=true", {"stops": [], "more": False})
    assert "nothing is stopped" in ask("stops", "--all").stdout


@pytest.mark.parametrize(
    ("state", "text"),
    [("released", "released"), ("release_requested", "another operator's key"), ("expired", "expired")],
)
def test_release_says_what_it_came_to(ask: Run, remote: FakeControlPlane, state: str, text: str) -> None:
    remote.answer("POST", "/v1/stops/stp_1/release", SET | {"state": state})
    shown = ask("release", "stp_1", "--reason", "mended")
    assert remote.last_body == {"reason": "mended"}
    assert shown.exit_code == 0 and text in shown.stdout


def test_a_release_that_is_refused_says_why(ask: Run, remote: FakeControlPlane) -> None:
    error = {"error": {"code": "second_operator_needed", "message": "another operator's key confirms it"}}
    remote.answer("POST", "/v1/stops/stp_1/release", error, 409)
    shown = ask("release", "stp_1", "--reason", "mended", "--json")
    assert shown.exit_code == 1
    assert json.loads(shown.stderr)["error"]["code"] == "second_operator_needed"
