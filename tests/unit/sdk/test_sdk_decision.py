"""Only a clean allow for exactly the asked arguments lets an action through."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane_sdk.decision import Reason, arguments_digest, read_answer

NOW = datetime(2026, 1, 11, 9, 30, tzinfo=UTC)
ASKED = {"amount": 12000}
DIGEST = arguments_digest(ASKED)
MADE = {"amount": 100}
REMOVED = object()


def answer(decision: object = True, **changes: Any) -> dict[str, Any]:
    context = {
        "id": "0198c0de",
        "effect": "allow",
        "reason_code": "rule_allow",
        "arguments_digest": DIGEST,
        "expires_at": "2026-01-11T09:30:30.000000Z",
        "reasons": [{"rule": "treasury/everyday", "because": "it may", "controls": ["sox/1"]}],
        "session": "ses_1",
        **changes,
    }
    return {
        "decision": decision,
        "context": {key: value for key, value in context.items() if value is not REMOVED},
    }


def test_a_clean_allow_is_true_and_says_everything() -> None:
    decision = read_answer(answer(), asked=ASKED, asked_digest=DIGEST, now=NOW)
    assert decision
    assert (decision.allowed, decision.effect, decision.reason_code) == (True, "allow", "rule_allow")
    assert (decision.id, decision.session, decision.replayed) == ("0198c0de", "ses_1", False)
    assert decision.reasons == (Reason(rule="treasury/everyday", because="it may", controls=("sox/1",)),)
    assert decision.arguments_digest == DIGEST
    assert decision.expires_at == datetime(2026, 1, 11, 9, 30, 30, tzinfo=UTC)
    assert decision.raw == answer()


def test_a_replay_is_marked() -> None:
    decision = read_answer(answer(replayed=True), asked=ASKED, asked_digest=DIGEST, now=NOW)
    assert decision.allowed
    assert decision.replayed


def obliged(*obligations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return answer(
        **{
            "effect": "modify",
            "reason_code": "rule_modify",
            "arguments_digest": arguments_digest(MADE),
            "obligations": list(obligations or (obligation(MADE),)),
            **changes,
        }
    )


def obligation(made: object, **more: Any) -> dict[str, Any]:
    return {"id": "o", "type": "custom", "properties": {"modify_arguments": made, **more}}


def test_a_modification_is_true_with_what_may_be_executed_for_who_executes_that() -> None:
    decision = read_answer(obliged(), asked=ASKED, asked_digest=DIGEST, now=NOW, modifies=True)
    assert decision
    assert (decision.effect, decision.arguments) == ("modify", MADE)
    assert decision.arguments_digest == arguments_digest(MADE)
    assert read_answer(answer(), asked=ASKED, asked_digest=DIGEST, now=NOW, modifies=True).arguments == ASKED


def test_a_dry_run_says_what_would_be_modified() -> None:
    given = obliged(dry_run=True, id="", expires_at=REMOVED) | {"decision": False}
    decision = read_answer(given, asked=ASKED, asked_digest=DIGEST, now=NOW, modifies=True)
    assert not decision
    assert (decision.arguments, decision.modified) == (None, MADE)


NOT_CARRIED_OUT = {
    "another type": (obliged(obligation(MADE) | {"type": "step-up"}), "obligation_not_supported"),
    "another one beside it": (
        obliged(obligation(MADE), {"type": "notification"}),
        "obligation_not_supported",
    ),
    "none": (obliged(obligations=[]), "obligation_not_supported"),
    "another property": (obliged(obligation(MADE, notify="x")), "obligation_not_supported"),
    "no object": (obliged(obligation([1])), "obligation_not_supported"),
    "another digest": (obliged(arguments_digest=DIGEST), "digest_mismatch"),
    "other arguments": (obliged(obligation({"amount": 101})), "digest_mismatch"),
    "an effect of allow": (obliged(effect="allow"), "malformed_answer"),
    "a number without a json form": (obliged(obligation({"amount": float("nan")})), "malformed_answer"),
    "an end": (obliged(expires_at="2026-01-11T09:30:00Z"), "expired"),
    "a permitting dry run": (obliged(dry_run=True), "malformed_answer"),
}


@pytest.mark.parametrize(("given", "reason_code"), NOT_CARRIED_OUT.values(), ids=NOT_CARRIED_OUT)
def test_what_is_not_carried_out_denies(given: object, reason_code: str) -> None:
    decision = read_answer(given, asked=ASKED, asked_digest=DIGEST, now=NOW, modifies=True)
    assert not decision
    assert (decision.effect, decision.reason_code, decision.arguments) == ("deny", reason_code, None)


REFUSED = {
    "a deny": (answer(False, effect="deny", reason_code="rule_deny"), "deny", "rule_deny"),
    "an escalation": (
        answer(False, effect="escalate", reason_code="rule_escalate"),
        "escalate",
        "rule_escalate",
    ),
    "a dry run": (answer(False, effect="allow", dry_run=True), "allow", "rule_allow"),
    "a plain authzen deny": ({"decision": False}, "deny", "denied"),
    "a plain authzen permit": ({"decision": True}, "deny", "malformed_answer"),
    "a permit whose effect is deny": (answer(effect="deny"), "deny", "malformed_answer"),
    "a permit with an effect of tomorrow": (answer(effect="permit"), "deny", "malformed_answer"),
    "a permitting dry run": (answer(dry_run=True), "deny", "malformed_answer"),
    "a permit without id": (answer(id=REMOVED), "deny", "malformed_answer"),
    "another digest": (answer(arguments_digest="00" * 32), "deny", "digest_mismatch"),
    "no digest": (answer(arguments_digest=REMOVED), "deny", "digest_mismatch"),
    "an allow that ended": (answer(expires_at="2026-01-11T09:30:00Z"), "deny", "expired"),
    "an end in another zone": (answer(expires_at="2026-01-11T10:29:59+01:00"), "deny", "expired"),
    "an allow without end": (answer(expires_at=REMOVED), "deny", "expired"),
    "an end that is no time": (answer(expires_at="soon"), "deny", "expired"),
    "an end without zone": (answer(expires_at="2026-01-11T09:30:30"), "deny", "expired"),
    "an unknown obligation": (answer(obligations=[{"type": "x"}]), "deny", "obligation_not_supported"),
    "an obligation that is no list": (answer(obligations="x"), "deny", "obligation_not_supported"),
    "a modification": (answer(effect="modify"), "deny", "obligation_not_supported"),
    "a modification for who executes what was asked": (obliged(), "deny", "obligation_not_supported"),
    "a decision that is no boolean": (answer("true"), "deny", "malformed_answer"),
    "a decision of one": (answer(1), "deny", "malformed_answer"),
    "no decision": ({}, "deny", "malformed_answer"),
    "a list": ([answer()], "deny", "malformed_answer"),
    "nothing": (None, "deny", "malformed_answer"),
    "a context that is no object": ({"decision": True, "context": [1]}, "deny", "malformed_answer"),
}


@pytest.mark.parametrize(("given", "effect", "reason_code"), REFUSED.values(), ids=REFUSED)
def test_everything_else_denies(given: object, effect: str, reason_code: str) -> None:
    decision = read_answer(given, asked=ASKED, asked_digest=DIGEST, now=NOW)
    assert not decision
    assert (decision.allowed, decision.effect, decision.reason_code) == (False, effect, reason_code)


def test_the_digest_is_that_of_the_rfc_8785_form() -> None:
    assert arguments_digest({"b": 1.0, "a": "é"}) == arguments_digest({"a": "é", "b": 1})
    assert arguments_digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
