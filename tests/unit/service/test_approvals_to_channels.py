"""What happens to an approval reaches a channel: real owners' outboxes, the real notifier, real HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.actors.notifications.receiver import receiver
from unit.actors.notifications.samples import SECRET
from unit.service.in_process_plane import in_process_plane

from controlplane.cli.approval_screens import needed

CATALOG_AND_POLICY = """
kind: Catalog
tools:
  ledger.pay:
    system: ledger
    effects: [pay, write]
    boundary: external
    data: []
    args: {to: {type: string, role: destination, required: true}, amount: {type: decimal, role: quantity}}
---
kind: Policy
name: spine
rules:
  - {id: everyday, on: {tool: ledger.*}, then: allow}
  - id: large
    on: {tool: ledger.pay}
    when: args.amount > 1000.0
    then: escalate
    approve: {by: [role:treasury], quorum: 2, expires: 30m}
    because: more than a thousand
"""
PAYEE = "DE89370400440532013000"
ARGUMENTS = {"to": PAYEE, "amount": 12345}


@pytest.mark.parametrize("kind", ["webhook", "slack", "teams"])
def test_each_step_is_told_without_an_argument_in_it(tmp_path: Path, kind: str) -> None:
    with in_process_plane(tmp_path) as plane, receiver() as there:
        plane.do(plane.start_notifier)
        plane.activate(CATALOG_AND_POLICY)
        plane.register("bot", owner="user:owner")
        for name in ("anna", "bert"):
            plane.send("POST", "/v1/principals", {"id": name, "roles": ["treasury"]})
        keys = [plane.make_key(role="approver", subjects=[f"user:{name}"])[1] for name in ("anna", "bert")]
        body: dict[str, Any] = {"id": "hook", "kind": kind, "url": there.url, "approvers": ["role:treasury"]}
        plane.send("POST", "/v1/channels", body | ({"secret": SECRET} if kind == "webhook" else {}))

        token = plane.ask("bot", arguments=ARGUMENTS).json["context"]["access_request"]["binding_token"]
        asked = {"binding_token": token, "arguments": ARGUMENTS, "justification": "the March invoices"}
        task = plane.send("POST", "/v1/approvals", asked).json["id"]
        on = f"/v1/approvals/{task}"
        assert needed(plane.send("GET", on, key=keys[0]).json) == ["2 of role:treasury"]
        plane.send("POST", f"{on}/comment", {"comment": "why?"}, key=keys[0])
        for key in keys:
            assert plane.send("POST", f"{on}/approve", {"comment": "fine"}, key=key).status == 200
        assert plane.ask("bot", arguments=ARGUMENTS, approval={"id": task}).permits

        plane.wait_until(lambda: len(there.received) == 5, "five notices")
        bodies = [body for _, _, body in there.received]
        text = b"".join(bodies).decode()
        assert PAYEE not in text and "12345" not in text
        assert all(task in body.decode() for body in bodies) and "the March invoices" in text
        if kind == "webhook":
            assert sorted(json.loads(body)["type"] for body in bodies) == [
                "approval_commented",
                "approval_consumed",
                "approval_granted",
                "approval_granted",
                "approval_requested",
            ]
