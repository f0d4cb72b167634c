"""An action that rules rewrite and people approve: what is approved is what would be executed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import InProcessPlane, in_process_plane

from controlplane.wire.digest import arguments_digest

POLICY = """
kind: Catalog
tools:
  bank.pay:
    effects: [pay]
    boundary: external
    data: []
    args: {amount: {type: decimal, role: quantity}, note: {type: string, role: content}}
---
kind: Policy
name: desk
rules:
  - {id: all, then: allow}
  - {id: no-cards, on: {tool: bank.pay}, then: modify, modify: [{at: /note, redact: card-number}]}
  - id: large
    on: {tool: bank.pay}
    when: args.amount > 1000.0
    then: escalate
    approve: {by: user:anna}
"""
ASKED = {"amount": 5000, "note": "card 4111 1111 1111 1111"}
MADE = {"amount": 5000, "note": "card [card number]"}


class Desk:
    def __init__(self, plane: InProcessPlane) -> None:
        self.plane = plane
        plane.activate(POLICY)
        plane.register("payer")
        plane.send("POST", "/v1/principals", {"id": "anna", "roles": []})
        _, self.anna = plane.make_key(role="approver", subjects=["user:anna"])
        plane.renew_leases()

    def pay(self, arguments: dict[str, Any], **context: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.plane.ask("payer", "bank.pay", arguments=arguments, **context).json
        return found

    def task(self, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Asked for, and looked at by who is to approve it."""
        token = self.pay(ASKED)["context"]["access_request"]["binding_token"]
        answer = self.plane.send(
            "POST", "/v1/approvals", {"binding_token": token, "arguments": arguments} | more
        )
        assert answer.status == 201, answer
        found: dict[str, Any] = self.plane.send(
            "GET", f"/v1/approvals/{answer.json['id']}", key=self.anna
        ).json
        return found

    def approve(self, identity: str, **body: Any) -> dict[str, Any]:
        answer = self.plane.send("POST", f"/v1/approvals/{identity}/approve", body, key=self.anna)
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with in_process_plane(tmp_path) as plane:
        yield Desk(plane)


def made_of(answer: dict[str, Any]) -> Any:
    (obligation,) = answer["context"]["obligations"]
    return obligation["properties"]["modify_arguments"]


def test_who_asks_with_what_was_asked_is_approved_what_was_made_of_it(desk: Desk) -> None:
    escalated = desk.pay(ASKED)["context"]
    assert escalated["effect"] == "escalate" and "obligations" not in escalated
    assert escalated["arguments_digest"] == arguments_digest(MADE).hex()
    task = desk.task(ASKED)
    assert task["arguments"] == MADE
    desk.approve(task["id"])
    permitted = desk.pay(ASKED, approval={"id": task["id"]}, idempotency_key="k1")
    assert (permitted["decision"], permitted["context"]["effect"]) == (True, "modify")
    assert made_of(permitted) == MADE
    again = desk.pay(ASKED, approval={"id": task["id"]}, idempotency_key="k1")
    assert again["context"]["replayed"] is True
    assert (again["context"]["id"], made_of(again)) == (permitted["context"]["id"], MADE)
    other = desk.pay(ASKED, approval={"id": task["id"]})["context"]
    assert other["effect"] == "escalate" and "was used" in other["detail"]


def test_what_was_made_of_it_may_be_sent_as_well(desk: Desk) -> None:
    assert desk.task(MADE)["arguments"] == MADE


def test_other_arguments_than_either_are_refused(desk: Desk) -> None:
    token = desk.pay(ASKED)["context"]["access_request"]["binding_token"]
    body = {"binding_token": token, "arguments": ASKED | {"note": "card 5500 0000 0000 0004"}}
    # The same once rewritten: what would be executed is the same.
    assert desk.plane.send("POST", "/v1/approvals", body).status == 201
    body["arguments"] = ASKED | {"amount": 4000}
    token = desk.pay(ASKED)["context"]["access_request"]["binding_token"]
    refused = desk.plane.send("POST", "/v1/approvals", body | {"binding_token": token})
    assert (refused.status, refused.code) == (409, "arguments_mismatch")


def test_less_is_approved_of_what_was_made_of_it(desk: Desk) -> None:
    task = desk.task(ASKED)
    approved = desk.approve(task["id"], narrow={"/amount": 2000})
    less = approved["approved_arguments"]
    assert less == MADE | {"amount": 2000}
    permitted = desk.pay(less, approval={"id": task["id"]})
    # Nothing is left to rewrite.
    assert (permitted["decision"], permitted["context"]["effect"]) == (True, "allow")


def test_what_a_monitored_rule_would_have_modified_is_told_of_what_was_approved(desk: Desk) -> None:
    desk.plane.activate(POLICY.replace("card-number}]}", "card-number}], mode: monitor}"))
    task = desk.task(ASKED)
    desk.approve(task["id"])
    permitted = desk.pay(ASKED, approval={"id": task["id"]})["context"]
    assert (permitted["effect"], "obligations" in permitted) == ("allow", False)
    (row,) = [row for row in desk.plane.decision_rows() if row["event_id"] == permitted["id"]]
    assert json.loads(row["details"])["would"] == [{"rule": "desk/no-cards", "effect": "modify"}]
