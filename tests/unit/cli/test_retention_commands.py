"""`controlplane evidence retention` and `evidence hold`, against a control plane that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane

Run = Callable[..., Result]
KEPT: dict[str, Any] = {"keep_days": 400, "reason": "", "by": "k1", "set_at": None, "leaving": []}
RUN: dict[str, Any] = {
    "state": "done",
    "by": "k1",
    "dry_run": False,
    "started_at": "2026-01-05T09:00:00Z",
    "keep_days": 400,
    "leaving": [{"date": "2025-01-01", "rows": 1200, "size_bytes": 300_000}],
    "held": {"2025-01-02": ["hld_1"]},
    "late": ["2025-01-03"],
    "more": 0,
    "version": 17,
}
HOLD: dict[str, Any] = {
    "id": "hld_1",
    "agent": "bot",
    "session": None,
    "workflow": None,
    "tenant": "default",
    "first": None,
    "last": None,
    "reason": "case 4711",
    "by": "k1",
    "set_at": "2026-01-05T09:00:00Z",
}


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("--keep", "400d"), {"keep_days": 400, "allow_shorter": False, "reason": ""}),
        (("--keep", "9600h"), {"keep_days": 400, "allow_shorter": False, "reason": ""}),
        (("--keep", "forever"), {"keep_days": None, "allow_shorter": False, "reason": ""}),
        (
            ("--keep", "30d", "--allow-shorter", "--reason", "a test bed"),
            {"keep_days": 30, "allow_shorter": True, "reason": "a test bed"},
        ),
    ],
)
def test_set_sends_whole_days(ask: Run, remote: FakeControlPlane, words: tuple[str, ...], body: Any) -> None:
    remote.answer("POST", "/v1/evidence/retention", KEPT | {"keep_days": body["keep_days"]})
    shown = ask("evidence", "retention", "set", *words)
    assert shown.exit_code == 0, shown.output
    assert remote.asked == [("POST", "/v1/evidence/retention", body)]


@pytest.mark.parametrize("keep", ["400", "36h", "ever"])
def test_what_is_no_number_of_days_is_not_sent(ask: Run, remote: FakeControlPlane, keep: str) -> None:
    assert ask("evidence", "retention", "set", "--keep", keep).exit_code == 2
    assert remote.asked == []


def test_a_run_is_followed_to_its_end_and_says_what_left_and_what_is_held(
    ask: Run, remote: FakeControlPlane
) -> None:
    remote.answer("POST", "/v1/evidence/retention/runs", {"run": {"state": "looking"}}, 202)
    remote.answer("GET", "/v1/evidence/retention", KEPT | {"run": RUN})
    shown = ask("evidence", "retention", "run")
    assert shown.exit_code == 0, shown.output
    assert remote.asked[0] == ("POST", "/v1/evidence/retention/runs", {"dry_run": False})
    for text in ("2025-01-01", "1200", "2025-01-02 by hld_1", "2025-01-03"):
        assert text in shown.stdout


def test_a_run_that_failed_has_another_exit_status(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/evidence/retention/runs", {"run": {"state": "looking"}}, 202)
    failed = RUN | {"state": "failed", "error": "rows are not those that were signed"}
    remote.answer("GET", "/v1/evidence/retention", KEPT | {"run": failed})
    shown = ask("evidence", "retention", "run", "--dry-run")
    assert (shown.exit_code, remote.asked[0][2]) == (1, {"dry_run": True})
    assert "rows are not those that were signed" in shown.stdout


def test_show_says_how_long_and_what_the_last_run_did(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("GET", "/v1/evidence/retention", KEPT | {"run": {"state": "none"}})
    assert "400 days" in ask("evidence", "retention", "show").stdout
    remote.answer("GET", "/v1/evidence/retention", KEPT | {"keep_days": None, "run": RUN})
    shown = ask("evidence", "retention", "show").stdout
    assert "for ever" in shown and "2025-01-01" in shown


def test_holds_are_added_listed_and_released(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/evidence/holds", HOLD | {"too_late": ["2025-01-01"]}, 201)
    shown = ask("evidence", "hold", "add", "--agent", "bot", "--from", "2025-01-01", "--reason", "case 4711")
    body = {"agent": "bot", "first": "2025-01-01", "reason": "case 4711"}
    assert remote.asked[-1] == ("POST", "/v1/evidence/holds", body)
    assert "hld_1" in shown.stdout and "too late for 2025-01-01" in shown.stdout
    remote.answer("GET", "/v1/evidence/holds", {"holds": [HOLD]})
    assert "case 4711" in ask("evidence", "hold", "list").stdout
    remote.answer("POST", "/v1/evidence/holds/hld_1/release", HOLD)
    assert "released hld_1" in ask("evidence", "hold", "release", "hld_1", "--reason", "over").stdout
