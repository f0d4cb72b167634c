"""`controlplane evidence reveal` and `erase`, against a control plane that remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable

from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane

Run = Callable[..., Result]
DECISION = "01a20461-44aa-761c-8000-029521cbf8a7"
ERASED = {
    "erased": True,
    "gone": True,
    "subject_digest": "ab" * 32,
    "effective_within_s": 60,
    "not_reached": ["backups"],
}


def test_reveal_shows_values_and_what_is_unreadable(ask: Run, remote: FakeControlPlane) -> None:
    answer = {
        "decision": DECISION,
        "arguments": {"/email": "anna@mail.example"},
        "unreadable": [{"pointer": "/name", "because": "its key was destroyed"}],
    }
    remote.answer("POST", f"/v1/evidence/{DECISION}/reveal", answer)
    shown = ask("evidence", "reveal", DECISION, "--reason", "complaint 4711")
    assert shown.exit_code == 0, shown.output
    assert remote.last_body == {"reason": "complaint 4711"}
    assert "anna@mail.example" in shown.stdout and "its key was destroyed" in shown.stdout
    shown = ask("evidence", "reveal", DECISION, "--reason", "r", "--json")
    assert json.loads(shown.stdout) == answer


def test_reveal_wants_a_reason(ask: Run, remote: FakeControlPlane) -> None:
    assert ask("evidence", "reveal", DECISION).exit_code == 2
    assert ask("evidence", "reveal", DECISION, "--reason", " ").exit_code == 2
    assert remote.asked == []


def test_erase_says_what_it_did_and_what_it_does_not_reach(ask: Run, remote: FakeControlPlane) -> None:
    remote.answer("POST", "/v1/evidence/erasures", ERASED)
    shown = ask("evidence", "erase", "--subject", "customer:123", "--yes")
    assert shown.exit_code == 0, shown.output
    assert remote.last_body == {"subject": "customer:123", "reason": "erasure_request"}
    assert "within 60 s" in shown.stdout and "not reached" in shown.stdout and "backups" in shown.stdout
    remote.answer("POST", "/v1/evidence/erasures", ERASED | {"erased": False})
    assert "has no key" in ask("evidence", "erase", "--subject", "customer:123", "--yes").stdout
    remote.answer("POST", "/v1/evidence/erasures", ERASED | {"gone": False})
    assert "write-ahead log" in ask("evidence", "erase", "--subject", "customer:123", "--yes").stdout


def test_erase_asks_before_it_destroys(ask: Run, remote: FakeControlPlane) -> None:
    shown = ask("evidence", "erase", "--subject", "customer:123")
    assert shown.exit_code != 0 and remote.asked == []
