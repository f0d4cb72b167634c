"""Arguments that rules rewrite, through the real doors: the obligation, the evidence, replays, batches, two hosts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import Answer, InProcessPlane, bundle_body, in_process_plane, question

from actors.placement import host_of
from controlplane.errors import UnavailableError
from controlplane.service.decisions import DecisionDoor
from controlplane.service.lanes import Lane
from controlplane.wire.digest import arguments_digest, keyed_digest


def agents_of(host: int, stem: str) -> list[str]:
    return [f"{stem}-{n}" for n in range(40) if host_of(f"default/agent/{stem}-{n}", 2) == host]


CLERK, READER, *_ = agents_of(0, "clerk")
HELPER, *_ = agents_of(1, "helper")  # its home is elsewhere
CARD = "4111 1111 1111 1111"
CATALOG = """
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal, args: {id: {type: integer}}}
  mail.send:
    effects: [send]
    data: []
    boundary: external
    args: {to: {type: list, role: destination}, body: {type: string, role: content}}
  pay.send:
    effects: [pay]
    data: []
    boundary: external
    args: {amount: {type: decimal, role: quantity}, note: {type: string}}
---
"""
POLICY = (
    CATALOG
    + """
kind: Policy
name: p
define:
  reads: {on: {data: pii}}
  pays: {on: {tool: pay.send}}
rules:
  - {id: all, then: allow, because: it may}
  - id: no-cards
    on: {tool: mail.send}
    then: modify
    modify: [{at: /body, redact: card-number}]
    because: card numbers do not leave
    controls: [pci/3-4]
  - id: known-only
    on: {tool: mail.send}
    past: once reads
    then: modify
    modify: [{at: /to, allow-list: [a@x.example]}]
  - id: cap
    on: {tool: pay.send}
    then: modify
    modify: [{at: /amount, clamp: {max: 100}}]
  - id: note-after-pay
    on: {tool: pay.send}
    past: pays and once done(pays)
    scope: agent
    then: modify
    modify: [{at: /note, set: again}]
  - {id: not-so-much, on: {tool: pay.send}, limit: {sum: args.amount, scope: agent, above: 250}, then: deny}
"""
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path_factory.mktemp("plane"), channels=True) as plane:
        prepare(plane)
        yield plane


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[InProcessPlane]:
    """A plane whose policies a test changes."""
    with in_process_plane(tmp_path) as plane:
        prepare(plane)
        yield plane


def prepare(plane: InProcessPlane, policy: str = POLICY) -> None:
    plane.activate(policy)
    for agent in (CLERK, READER, HELPER):
        plane.register(agent)


def opened(plane: InProcessPlane, agent: str = CLERK, **more: Any) -> str:
    answer = plane.send("POST", "/v1/sessions", {"agent": agent, "task": "x"} | more)
    assert answer.status == 201, answer
    return str(answer.json["session"])


def child(plane: InProcessPlane, session: str, to: str = HELPER) -> str:
    answer = plane.send("POST", "/v1/delegations", {"session": session, "to": to})
    body = {"agent": to, "parent": answer.json["token"]}
    return str(plane.send("POST", "/v1/sessions", body).json["session"])


def call(
    plane: InProcessPlane,
    session: str,
    tool: str,
    arguments: dict[str, Any],
    agent: str = CLERK,
    **context: Any,
) -> Answer:
    return plane.ask(agent, tool, session=session, arguments=arguments, **context)


def mail(
    plane: InProcessPlane,
    session: str,
    body: str,
    to: tuple[str, ...] = ("a@x.example", "b@y.example"),
    **more: Any,
) -> Answer:
    return call(plane, session, "mail.send", {"to": list(to), "body": body}, **more)


def obliged(answer: Answer) -> dict[str, Any] | None:
    """The arguments that are to be executed instead; None where there is no obligation."""
    match answer.json["context"].get("obligations"):
        case None:
            return None
        case [{"id": "modify_arguments", "type": "custom", "properties": {"modify_arguments": dict(made)}}]:
            return dict(made)
        case other:
            raise AssertionError(other)


def said(answer: Answer) -> tuple[str, str, list[str]]:
    context = answer.json["context"]
    return context["effect"], context["reason_code"], [reason["rule"] for reason in context["reasons"]]


def row_of(plane: InProcessPlane, answer: Answer) -> dict[str, Any]:
    (row,) = [row for row in plane.decision_rows() if row["event_id"] == answer.json["context"]["id"]]
    return row


def report(plane: InProcessPlane, answer: Answer, executed: dict[str, Any]) -> list[str]:
    path = f"/v1/decisions/{answer.json['context']['id']}/outcome"
    body = {"status": "succeeded", "executed_digest": arguments_digest(executed).hex()}
    reported = plane.send("POST", path, body)
    assert reported.status == 200, reported
    return list(reported.json["findings"])


def test_a_modification_is_an_obligation_with_the_whole_arguments(shared: InProcessPlane) -> None:
    answer = mail(shared, opened(shared), f"pay {CARD}")
    made = {"to": ["a@x.example", "b@y.example"], "body": "pay [card number]"}
    assert answer.permits
    assert said(answer) == ("modify", "rule_modify", ["p/no-cards", "p/all"])
    assert obliged(answer) == made
    context = answer.json["context"]
    assert context["arguments_digest"] == arguments_digest(made).hex()
    assert "expires_at" in context
    assert context["reasons"][0]["controls"] == ["pci/3-4"]


def test_what_needs_no_change_is_a_plain_allow(shared: InProcessPlane) -> None:
    answer = mail(shared, opened(shared), "hello")
    assert said(answer) == ("allow", "rule_allow", ["p/all"])
    assert obliged(answer) is None


def test_evidence_has_both_digests_and_what_was_changed_and_no_value(shared: InProcessPlane) -> None:
    answer = mail(shared, opened(shared), f"pay {CARD}")
    row = row_of(shared, answer)
    original = arguments_digest({"to": ["a@x.example", "b@y.example"], "body": f"pay {CARD}"})
    made = arguments_digest({"to": ["a@x.example", "b@y.example"], "body": "pay [card number]"})
    assert row["decision"] == row["enforced_action"] == "modify"
    assert row["rule_ids"] == ["p/no-cards", "p/all"]
    assert row["arguments_digest"] == keyed_digest(b"d" * 32, made)
    assert json.loads(row["arguments"]) == {"to": ["string(11)"] * 2, "body": "string(17)"}
    assert json.loads(row["details"])["modified"] == {
        "rules": ["p/no-cards"],
        "original_digest": keyed_digest(b"d" * 32, original).hex(),
        "changes": [{"at": "/body", "operation": "redact card-number", "count": 1}],
    }
    assert "4111" not in json.dumps(row, default=str)


def test_the_executed_digest_is_that_of_the_rewritten_arguments(shared: InProcessPlane) -> None:
    session = opened(shared)
    first = mail(shared, session, f"pay {CARD}")
    assert report(shared, first, obliged(first) or {}) == []
    second = mail(shared, session, f"pay {CARD}")
    asked = {"to": ["a@x.example", "b@y.example"], "body": f"pay {CARD}"}
    assert report(shared, second, asked) == ["executed_digest_mismatch"]
    for _ in range(200):  # the owner stops at once, and tells the control store in its own time
        if stops := shared.send("GET", "/v1/stops").json["stops"]:
            break
        time.sleep(0.05)
    (stop,) = stops
    assert stop["target"] == {"type": "agent", "id": CLERK}
    assert shared.send("POST", f"/v1/stops/{stop['id']}/release", {"reason": "it was us"}).status == 200


def test_the_same_key_gets_the_same_decision_with_the_same_obligation(shared: InProcessPlane) -> None:
    session = opened(shared)
    first = mail(shared, session, f"pay {CARD}", idempotency_key="k-1")
    again = mail(shared, session, f"pay {CARD}", idempotency_key="k-1")
    assert again.json["context"]["replayed"] is True
    context = dict(again.json["context"])
    del context["replayed"]
    assert context == first.json["context"]
    assert mail(shared, session, "pay [card number]", idempotency_key="k-1").code == "idempotency_conflict"
    assert mail(shared, session, f"pay  {CARD}", idempotency_key="k-1").code == "idempotency_conflict"


def test_a_replay_survives_other_policies(fresh: InProcessPlane) -> None:
    session = opened(fresh)
    modified = mail(fresh, session, f"pay {CARD}", idempotency_key="k-1")
    plain = mail(fresh, session, "hello", idempotency_key="k-2")
    fresh.activate(POLICY.replace("redact: card-number", "set: nothing"))
    again = mail(fresh, session, f"pay {CARD}", idempotency_key="k-1")
    assert again.json["context"]["id"] == modified.json["context"]["id"]
    assert obliged(again) == obliged(modified)
    unmodified = mail(fresh, session, "hello", idempotency_key="k-2")
    assert unmodified.json["context"]["id"] == plain.json["context"]["id"]
    assert obliged(unmodified) is None
    assert unmodified.json["context"]["arguments_digest"] == plain.json["context"]["arguments_digest"]
    assert obliged(mail(fresh, session, "hello")) == {"to": ["a@x.example", "b@y.example"], "body": "nothing"}


def test_what_cannot_be_made_again_is_denied(fresh: InProcessPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(fresh)
    assert mail(fresh, session, f"pay {CARD}", idempotency_key="k-1").permits
    # As if a later version wrote something else in its place.
    monkeypatch.setattr("policies.modification.redaction.label", lambda kind: f"<{kind}>")
    again = mail(fresh, session, f"pay {CARD}", idempotency_key="k-1")
    assert not again.permits
    assert said(again) == ("deny", "rewrite_unrepeatable", [])
    assert obliged(again) is None


def test_a_rule_over_the_past_rewrites_once_the_past_says_so(shared: InProcessPlane) -> None:
    session = opened(shared)
    to = ("a@x.example", "b@y.example")
    assert said(mail(shared, session, "hello", to))[0] == "allow"
    assert call(shared, session, "crm.read", {"id": 7}).permits
    answer = mail(shared, session, f"{CARD}!", to, idempotency_key="k-7")
    assert said(answer) == ("modify", "rule_modify", ["p/known-only", "p/no-cards", "p/all"])
    assert obliged(answer) == {"to": ["a@x.example"], "body": "[card number]!"}
    assert report(shared, answer, obliged(answer) or {}) == []
    assert len([row for row in shared.decision_rows() if row["session_id"] == session]) == 3


def test_what_cannot_be_applied_is_denied_with_the_rule_and_the_place(shared: InProcessPlane) -> None:
    answer = call(shared, opened(shared), "pay.send", {"amount": "lots"})
    assert said(answer) == ("deny", "rewrite_refused", [])
    assert answer.json["context"]["detail"] == "`p/cap` cannot clamp `/amount`: it is not a number"
    assert row_of(shared, answer)["reason_code"] == "rewrite_refused"


def test_a_dry_run_says_what_would_be_modified_and_permits_nothing(shared: InProcessPlane) -> None:
    session = opened(shared)
    call(shared, session, "crm.read", {"id": 7})
    answer = mail(shared, session, CARD, dry_run=True)
    assert answer.json["decision"] is False
    assert answer.json["context"]["effect"] == "modify"
    assert obliged(answer) == {"to": ["a@x.example"], "body": "[card number]"}
    assert answer.json["context"]["id"] == ""
    assert "expires_at" not in answer.json["context"]


def test_a_decision_that_is_looked_up_says_how_it_was_rewritten(shared: InProcessPlane) -> None:
    answer = mail(shared, opened(shared), CARD)
    shown = shared.send("GET", f"/v1/decisions/{answer.json['context']['id']}").json
    assert shown["effect"] == "modify" and shown["decision"] is True
    assert shown["modify"] == [{"at": "/body", "redact": ["card-number"]}]
    assert shown["arguments_digest"] == answer.json["context"]["arguments_digest"]


def batch(
    plane: InProcessPlane, semantic: str, *items: dict[str, Any], agent: str = CLERK
) -> list[tuple[str, Any]]:
    body = {"evaluations": list(items), "options": {"evaluations_semantic": semantic}}
    answer = plane.send("POST", "/access/v1/evaluations", body)
    assert answer.status == 200, answer
    return [
        (one["context"].get("effect"), (one["context"].get("obligations") or [None])[0])
        for one in answer.json["evaluations"]
    ]


def made_of(obligation: Any) -> Any:
    return None if obligation is None else obligation["properties"]["modify_arguments"]


def test_items_of_a_batch_are_decided_in_order_though_one_is_rewritten_first(shared: InProcessPlane) -> None:
    session = opened(shared)
    to = ["a@x.example", "b@y.example"]
    mails = [
        question(CLERK, "mail.send", session=session, arguments={"to": to, "body": f"{n} {CARD}"})
        for n in range(6)
    ]
    read = question(CLERK, "crm.read", session=session, arguments={"id": 7})
    answers = batch(shared, "execute_all", *mails[:2], read, *mails[2:])
    assert [effect for effect, _ in answers] == [
        "modify",
        "modify",
        "allow",
        "modify",
        "modify",
        "modify",
        "modify",
    ]
    assert [made_of(one) for _, one in answers] == [
        {"to": to, "body": "0 [card number]"},
        {"to": to, "body": "1 [card number]"},
        None,
        *({"to": ["a@x.example"], "body": f"{n} [card number]"} for n in range(2, 6)),
    ]


def test_a_short_circuit_stops_after_a_modification_as_after_an_allow(shared: InProcessPlane) -> None:
    session = opened(shared)
    call(shared, session, "crm.read", {"id": 7})
    one = question(
        CLERK, "mail.send", session=session, arguments={"to": ["a@x.example", "b@y.example"], "body": CARD}
    )
    assert [effect for effect, _ in batch(shared, "permit_on_first_permit", one, one)] == ["modify"]
    assert [effect for effect, _ in batch(shared, "deny_on_first_deny", one, one)] == ["modify", "modify"]


@pytest.mark.parametrize("mails", [1, 2, 3, 4, 9, 40])
def test_a_long_batch_stops_where_it_should(shared: InProcessPlane, mails: int) -> None:
    session = opened(shared)
    call(shared, session, "crm.read", {"id": 7})
    one = question(
        CLERK, "mail.send", session=session, arguments={"to": ["a@x.example", "b@y.example"], "body": CARD}
    )
    no = question(CLERK, "pay.send", session=session, arguments={"amount": "lots"})
    read = question(CLERK, "crm.read", session=session, arguments={"id": 7})
    answers = batch(shared, "deny_on_first_deny", *[one] * mails, no, read, one)
    assert [effect for effect, _ in answers] == ["modify"] * mails + ["deny"]
    answers = batch(shared, "permit_on_first_permit", *[no] * mails, one, read, one)
    assert [effect for effect, _ in answers] == ["deny"] * mails + ["modify"]
    answers = batch(shared, "execute_all", *[one, no, read] * mails)
    assert [effect for effect, _ in answers] == ["modify", "deny", "allow"] * mails


@pytest.mark.parametrize("semantic", ["execute_all", "deny_on_first_deny"])
def test_what_was_decided_before_an_owner_went_silent_stands(
    fresh: InProcessPlane, monkeypatch: pytest.MonkeyPatch, semantic: str
) -> None:
    session = opened(fresh)
    call(fresh, session, "crm.read", {"id": 7})
    one = question(
        CLERK, "mail.send", session=session, arguments={"to": ["a@x.example", "b@y.example"], "body": CARD}
    )
    read = question(CLERK, "crm.read", session=session, arguments={"id": 7})
    send, sent = Lane.send, []

    async def silent_in_the_third_round(self: Lane, *arguments: Any, **more: Any) -> Any:
        sent.append(arguments)
        if len(sent) == 3:
            raise UnavailableError("silent", code="owner_timeout")
        return await send(self, *arguments, **more)

    monkeypatch.setattr(Lane, "send", silent_in_the_third_round)
    body = {"evaluations": [read, one, one, read], "options": {"evaluations_semantic": semantic}}
    answers = fresh.send("POST", "/access/v1/evaluations", body).json["evaluations"]
    said = [one["context"].get("effect") or one["context"]["error"]["code"] for one in answers]
    assert (
        said == ["allow", "modify", "owner_timeout", "owner_timeout"][: 4 if semantic == "execute_all" else 3]
    )
    assert [one["decision"] for one in answers][:2] == [True, True]


def test_a_delegated_batch_is_decided_in_order(fresh: InProcessPlane) -> None:
    session = opened(fresh)
    delegated = child(fresh, session)
    call(fresh, session, "crm.read", {"id": 7})
    one = question(
        HELPER, "mail.send", session=delegated, arguments={"to": ["a@x.example", "b@y.example"], "body": CARD}
    )
    pay = question(HELPER, "pay.send", session=delegated, arguments={"amount": 5_000, "note": "again"})
    answers = batch(fresh, "execute_all", one, pay, one, pay, pay, one)
    assert [effect for effect, _ in answers] == ["modify", "modify", "modify", "modify", "deny", "modify"]


def test_a_delegated_action_is_rewritten_wherever_its_agent_lives(fresh: InProcessPlane) -> None:
    session = opened(fresh)
    delegated = child(fresh, session)
    call(fresh, session, "crm.read", {"id": 7})
    answer = mail(fresh, delegated, CARD, ("a@x.example", "b@y.example"), agent=HELPER)
    assert obliged(answer) == {"to": ["a@x.example"], "body": "[card number]"}
    assert row_of(fresh, answer)["agent_id"] == HELPER


def test_a_past_at_home_decides_on_a_rewriting_elsewhere_and_counts_what_was_rewritten(
    fresh: InProcessPlane,
) -> None:
    delegated = child(fresh, opened(fresh))
    first = call(fresh, delegated, "pay.send", {"amount": 5_000, "note": "x"}, HELPER)
    assert obliged(first) == {"amount": 100, "note": "x"}
    report(fresh, first, obliged(first) or {})
    second = call(fresh, delegated, "pay.send", {"amount": "150.50", "note": "x"}, HELPER)
    assert said(second) == ("modify", "rule_modify", ["p/cap", "p/note-after-pay", "p/all"])
    assert obliged(second) == {"amount": "100", "note": "again"}
    third = call(fresh, delegated, "pay.send", {"amount": 5_000, "note": "again"}, HELPER)
    assert said(third) == ("deny", "rule_deny", ["p/not-so-much", "p/cap"])
    # At home, where the agent acts for itself, 200 are spent as well.
    own = opened(fresh, HELPER)
    assert said(call(fresh, own, "pay.send", {"amount": 51, "note": "again"}, HELPER))[1] == "rule_deny"
    assert said(call(fresh, own, "pay.send", {"amount": 50, "note": "again"}, HELPER))[1] == "rule_allow"


NEWER = POLICY.replace(
    "  - {id: all,",
    "  - {id: aaa, on: {tool: pay.send}, then: modify, modify: [{at: /note, set: x}]}\n  - {id: all,",
).replace("redact: card-number", "mask: {}")


@pytest.mark.parametrize(
    ("path", "body", "made"),
    [
        ("/v1/bundles", bundle_body(NEWER, activate=True), "*" * len(CARD)),
        ("/v1/agents", {"id": CLERK, "labels": ["new"]}, "[card number]"),
    ],
    ids=["other policies", "another record"],
)
def test_what_changes_while_an_action_is_rewritten_has_it_prepared_anew(
    fresh: InProcessPlane, monkeypatch: pytest.MonkeyPatch, path: str, body: Any, made: str
) -> None:
    session = opened(fresh)
    call(fresh, session, "crm.read", {"id": 7})
    decide, changed = DecisionDoor._decide, []

    async def after_a_change(self: DecisionDoor, *arguments: Any, **more: Any) -> Any:
        if not changed:
            changed.append(more["rules"])
            assert (await fresh.exchange("POST", path, body)).status == 201
        return await decide(self, *arguments, **more)

    monkeypatch.setattr(DecisionDoor, "_decide", after_a_change)
    answer = mail(fresh, session, CARD, ("a@x.example", "b@y.example"))
    assert changed and changed[0], "the owner did not ask for a rewriting"
    assert said(answer) == ("modify", "rule_modify", ["p/known-only", "p/no-cards", "p/all"])
    assert obliged(answer) == {"to": ["a@x.example"], "body": made}


def test_a_shadow_says_what_it_would_modify_of_what_was_asked(fresh: InProcessPlane) -> None:
    shadow = bundle_body(POLICY.replace("{id: all,", "{id: each,"), shadow=True)
    assert fresh.send("POST", "/v1/bundles", shadow).status == 201
    session = opened(fresh)

    def shadowed() -> dict[str, Any] | None:
        answer = mail(fresh, session, CARD)
        found: dict[str, Any] | None = json.loads(row_of(fresh, answer)["details"]).get("shadow")
        return found

    found = shadowed()
    for _ in range(100):
        if found is not None:
            break
        found = shadowed()
    assert found is not None
    assert (found["decision"], found["rules"]) == ("modify", ["p/no-cards", "p/each"])


def test_a_monitored_modification_is_recorded_and_changes_nothing(fresh: InProcessPlane) -> None:
    fresh.activate(POLICY.replace("redact: card-number}]", "redact: card-number}]\n    mode: monitor"))
    answer = mail(fresh, opened(fresh), CARD)
    assert said(answer) == ("allow", "rule_allow", ["p/all"])
    assert obliged(answer) is None
    details = json.loads(row_of(fresh, answer)["details"])
    assert details["would"] == [{"rule": "p/no-cards", "effect": "modify"}]
