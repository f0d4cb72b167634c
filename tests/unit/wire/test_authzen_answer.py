"""Answers: only a real allow permits, the shape is that of the standard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.errors import InputError, UnavailableError
from controlplane.wire.authzen import ItemError
from controlplane.wire.authzen_answer import answer, batch_answer, error_answer, metadata, rfc3339

SCHEMA = Path(__file__).parents[4] / "shared" / "vectors" / "authzen" / "evaluation-response.schema.json"


def answered(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "decision_id": "0198c0de-0000-7000-8000-000000000000",
        "effect": "allow",
        "reason_code": "rule_allow",
        "arguments_digest": bytes(32),
        "bundle": "sha256:00",
        "session": "ses_1",
        "reasons": (("treasury/everyday", "it is allowed", ("sox/1",)),),
        "expires_at_us": 1_768_123_800_250_000,
        **changes,
    }
    parsed: dict[str, Any] = json.loads(answer(**values))
    return parsed


def test_an_allow_carries_what_it_is_bound_to_and_when_it_ends() -> None:
    assert answered() == {
        "decision": True,
        "context": {
            "id": "0198c0de-0000-7000-8000-000000000000",
            "effect": "allow",
            "reason_code": "rule_allow",
            "bundle": "sha256:00",
            "arguments_digest": "00" * 32,
            "expires_at": "2026-01-11T09:30:00.250000Z",
            "reasons": [{"rule": "treasury/everyday", "because": "it is allowed", "controls": ["sox/1"]}],
            "session": "ses_1",
        },
    }


@pytest.mark.parametrize(
    ("effect", "dry_run", "decision"),
    [
        ("allow", False, True),
        ("modify", False, True),
        ("deny", False, False),
        ("escalate", False, False),
        ("something new", False, False),
        ("allow", True, False),
    ],
)
def test_only_a_permit_that_is_no_dry_run_is_true_and_expires(
    effect: str, dry_run: bool, decision: bool
) -> None:
    given = answered(effect=effect, dry_run=dry_run)
    assert given["decision"] is decision
    assert ("expires_at" in given["context"]) is decision
    assert given["context"]["effect"] == effect
    assert given["context"].get("dry_run", False) is dry_run


def test_what_is_to_be_executed_instead_is_an_obligation() -> None:
    assert "obligations" not in answered()["context"]
    made = answered(effect="modify", modified={"amount": 100})
    assert made["decision"] is True
    assert made["context"]["obligations"] == [
        {
            "id": "modify_arguments",
            "type": "custom",
            "properties": {"modify_arguments": {"amount": 100}},
        }
    ]


def test_a_replay_and_a_detail_are_said_only_when_there_are_any() -> None:
    assert "replayed" not in answered()["context"]
    assert answered(replayed=True)["context"]["replayed"] is True
    assert "detail" not in answered()["context"]
    assert answered(detail="no such tool")["context"]["detail"] == "no such tool"


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (
            ItemError(status=400, code="invalid_request", message="m"),
            500,
            {"status": 400, "code": "invalid_request"},
        ),
        (InputError("m"), 400, {"status": 400, "code": "invalid_request"}),
        (UnavailableError("m"), 503, {"status": 503, "code": "unavailable"}),
    ],
)
def test_an_item_error_is_a_deny_that_says_why(error: Any, status: int, shown: dict[str, Any]) -> None:
    assert json.loads(error_answer(error, status=status)) == {
        "decision": False,
        "context": {"error": {**shown, "message": "m"}},
    }


def test_a_batch_answer_holds_the_answers_in_order() -> None:
    assert json.loads(batch_answer([b'{"decision":true}', b'{"decision":false}'])) == {
        "evaluations": [{"decision": True}, {"decision": False}]
    }
    assert json.loads(batch_answer([])) == {"evaluations": []}


def test_the_metadata_names_only_endpoints_that_exist() -> None:
    assert metadata("https://pdp.example/") == {
        "policy_decision_point": "https://pdp.example",
        "access_evaluation_endpoint": "https://pdp.example/access/v1/evaluation",
        "access_evaluations_endpoint": "https://pdp.example/access/v1/evaluations",
        "access_request_endpoint": "https://pdp.example/v1/approvals",
    }


@pytest.mark.parametrize(
    ("time_us", "text"),
    [(0, "1970-01-01T00:00:00.000000Z"), (1_768_123_800_000_001, "2026-01-11T09:30:00.000001Z")],
)
def test_times_are_rfc_3339_to_the_microsecond(time_us: int, text: str) -> None:
    assert rfc3339(time_us) == text


def test_our_answers_fit_the_standards_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    if not SCHEMA.exists():
        pytest.skip(f"the AuthZEN schema is not there: {SCHEMA.name}")
    schema = json.loads(SCHEMA.read_text())
    for given in (answered(), answered(effect="deny"), json.loads(error_answer(InputError("m")))):
        jsonschema.validate(given, schema)


def test_an_escalation_that_can_be_lifted_says_where_to_ask_as_the_draft_has_it() -> None:
    context = answered(effect="escalate", access=("esc_x", 1_768_123_800_000_000))["context"]
    assert context["evaluation_id"] == context["id"]
    assert context["access_request"] == {
        "endpoint": "/v1/approvals",
        "expires_at": "2026-01-11T09:30:00.000000Z",
        "binding_token": "esc_x",
    }
    permitted = answered(approval=("apr_1", "used", 1_768_123_800_000_000))["context"]
    assert permitted["approval"] == {
        "id": "apr_1",
        "state": "used",
        "approved_until": "2026-01-11T09:30:00.000000Z",
    }
    assert "access_request" not in permitted
