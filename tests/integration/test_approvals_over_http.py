"""The whole story of an escalation, over real HTTP with real processes: asked for, half approved, the owner killed,
approved, used once; and everything that is not what was approved."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from integration.faults.victims import Victim, strike, wait_found
from integration.plane import CATALOG_AND_POLICY, TODO, Running, wait_until

from actors.placement import host_of
from controlplane_sdk import ControlPlane, ControlPlaneError, Decision

pytestmark = pytest.mark.ray

RULES = (
    CATALOG_AND_POLICY
    + """
  - id: large
    on: {tool: ledger.pay}
    when: args.amount > 500.0 && args.amount <= 1000.0
    then: escalate
    approve: {by: [role:treasury], quorum: 2, expires: 10m}
    because: two of the treasury look at it
    controls: [eu-ai-act/14-4]
  - id: brief
    on: {tool: ledger.pay}
    when: args.amount > 400.0 && args.amount <= 500.0
    then: escalate
    approve: {by: [role:treasury], expires: 3s}
"""
)
CHANGED = RULES.replace("two of the treasury look at it", "two of the treasury, still")


class Story:
    """An agent, its owner and two approvers, each with a key of their own."""

    def __init__(self, running: Running, agent: str, key: str) -> None:
        self.running = running
        self.agent = agent
        self.key = key
        self.operator = running.client(timeout_s=60)
        self.people: dict[str, ControlPlane] = {}
        for who in ("anna", "bert"):
            self.operator.request("POST", "/v1/principals", {"id": who, "roles": ["treasury"]})
            made = self.operator.request(
                "POST", "/v1/keys", {"role": "approver", "subjects": [f"user:{who}"]}
            )
            self.people[who] = running.client(made["key"])

    def use(self, rules: str) -> None:
        sources = [{"name": "spine.yaml", "text": rules}, {"name": TODO.name, "text": TODO.read_text()}]
        activated = self.operator.request("POST", "/v1/bundles", {"sources": sources, "activate": True})
        assert activated["lagging"] == []

    def pay(self, amount: float, approval: str | None = None, **more: Any) -> Decision:
        return self.running.client(self.key).decide(
            agent=self.agent,
            tool="ledger.pay",
            arguments={"to": "DE89", "amount": amount},
            approval=approval,
            **more,
        )

    def ask(self, decision: Decision, amount: float) -> str:
        arguments = {"to": "DE89", "amount": amount}
        task = self.running.client(self.key).request_approval(
            decision, arguments=arguments, justification=f"invoice over {amount}"
        )
        return str(task["id"])

    def approve(self, who: str, identity: str, **body: Any) -> dict[str, Any]:
        path = f"/v1/approvals/{identity}/approve"
        return self.people[who].request("POST", path, {"comment": f"{who} has checked it"} | body)

    def approved(self, amount: float) -> str:
        identity = self.ask(self.pay(amount), amount)
        self.approve("anna", identity)
        assert self.approve("bert", identity)["state"] == "approved"
        return identity

    def rows(self, identity: str) -> list[dict[str, Any]]:
        self.running.wait_until_landed()
        return self.running.table_rows(
            f"SELECT * FROM evidence WHERE approval_id = '{identity}' ORDER BY log_id, seq"
        )


@pytest.fixture
def story(running: Running, bot: tuple[str, str]) -> Iterator[Story]:
    """With rules that escalate; afterwards the others find the policies that they know."""
    before = running.client().request("GET", "/v1/bundles")["active"]
    told = Story(running, *bot)
    told.use(RULES)
    yield told
    assert told.operator.request("POST", f"/v1/bundles/{before}/activate")["lagging"] == []


def test_the_whole_story(story: Story, running: Running) -> None:
    # Asked, escalated, requested; one of two approves.
    escalated = story.pay(700, idempotency_key="invoice-1")
    assert (escalated.effect, escalated.allowed) == ("escalate", False) and escalated.binding_token
    identity = story.ask(escalated, 700)
    assert story.approve("anna", identity)["state"] == "pending"
    assert "is pending" in story.pay(700, identity).message

    # The owner is killed; what was approved is not lost, and does not count twice.
    victim = Victim(f"host-{host_of(f'default/agent/{story.agent}', 2):03d}")
    (process,) = wait_found(running.settings, victim, timeout_s=30)
    strike(process, signal.SIGKILL)
    wait_found(running.settings, victim, other_than=frozenset([process.pid]), timeout_s=60)
    wait_until(lambda: story.pay(1).allowed, timeout_s=60, what="the owner to decide again")
    with pytest.raises(ControlPlaneError) as twice:
        story.approve("anna", identity)
    assert (twice.value.status, twice.value.code) == (403, "may_not_approve")
    assert story.approve("bert", identity)["state"] == "approved"

    # Exactly this, exactly once.
    other = story.pay(701, identity)
    assert other.effect == "escalate" and "is for other arguments" in other.message
    allowed = story.pay(700, identity, idempotency_key="invoice-1")
    assert allowed.allowed and allowed.raw["context"]["approval"]["id"] == identity
    repeated = story.pay(700, identity, idempotency_key="invoice-1")
    assert repeated.id == allowed.id and repeated.replayed
    replay = story.pay(700, identity)
    assert replay.effect == "escalate" and f"was used by decision `{allowed.id}`" in replay.message

    # Each step is in the evidence, with who and why.
    rows = story.rows(identity)
    assert [(row["event_type"], row["approval_state"]) for row in rows] == [
        ("approval_requested", "pending"),
        ("approval_granted", "pending"),
        ("approval_granted", "approved"),
        ("decision", "used"),
        ("approval_consumed", "used"),
    ]
    details = [json.loads(row["details"]) for row in rows]
    assert [row["approver_id"] for row in rows] == [None, "user:anna", "user:bert", None, None]
    assert details[0]["justification"] == "invoice over 700"
    assert [one["comment"] for one in details[1:3]] == ["anna has checked it", "bert has checked it"]
    assert [one["actor"] for one in details[1:3]] == ["user:anna", "user:bert"]
    assert details[3]["approval"]["rules"] == {"spine/large": ["user:anna", "user:bert"]}
    assert (rows[3]["event_id"], rows[3]["decision"]) == (allowed.id, "allow")
    assert details[4]["permitted"] == allowed.id
    assert {row["arguments_digest"] for row in rows} == {rows[0]["arguments_digest"]}
    assert all("DE89" not in json.dumps(row, default=str) for row in rows)


def test_a_changed_rule_voids_the_approval(story: Story) -> None:
    identity = story.approved(800)
    story.use(CHANGED)
    again = story.pay(800, identity)
    assert again.effect == "escalate" and "has changed since it was approved" in again.message
    assert "approval_consumed" not in [row["event_type"] for row in story.rows(identity)]


def test_an_expired_approval_is_refused_and_its_end_is_in_the_evidence(story: Story) -> None:
    identity = story.ask(story.pay(450), 450)
    assert story.approve("anna", identity)["state"] == "approved"
    client = story.running.client(story.key)
    wait_until(
        lambda: client.approval(identity)["state"] == "expired", timeout_s=30, what="the approval to expire"
    )
    late = story.pay(450, identity)
    assert late.effect == "escalate" and "has expired" in late.message
    ended = story.rows(identity)[-1]
    assert (ended["event_type"], ended["approval_state"]) == ("approval_expired", "expired")
    assert json.loads(ended["details"])["actor"] == "time"


def test_the_agent_hears_of_a_denial_while_it_waits(story: Story) -> None:
    identity = story.ask(story.pay(900), 900)
    path = f"/v1/approvals/{identity}/deny"
    story.people["bert"].request("POST", path, {"comment": "no such invoice"})
    heard = story.running.client(story.key).approval(identity, wait_s=20)
    assert (heard["state"], heard["ended_by"], heard["ended_comment"]) == (
        "denied",
        "user:bert",
        "no such invoice",
    )
    assert story.pay(900, identity).effect == "escalate"
