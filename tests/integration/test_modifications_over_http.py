"""Arguments that rules rewrite, over HTTP between real processes: obligation, evidence, outcome, replay, two hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from integration.plane import CATALOG_AND_POLICY, TODO, Running, controlplane

from actors.ids import agent_key, ordinal_of_decision
from actors.placement import host_of
from controlplane.settings import Secrets
from controlplane.wire.digest import arguments_digest, keyed_digest
from controlplane_sdk import ControlPlane, Decision

pytestmark = pytest.mark.ray

CARD = "4111-1111-1111-1111"
ASKED = {"to": ["desk@x.example", "b@y.example"], "body": f"the card is {CARD}"}
REDACTED = {"to": ["desk@x.example", "b@y.example"], "body": "the card is [card number]"}
TO_THE_DESK = {"to": ["desk@x.example"], "body": "the card is [card number]"}
POLICY = """
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal, args: {id: {type: integer}}}
  mail.send:
    effects: [send]
    data: []
    boundary: external
    args: {to: {type: list, role: destination}, body: {type: string, role: content}}
---
kind: Policy
name: mail
define:
  reads: {on: {data: pii}}
rules:
  - {id: desk, on: {tool: [mail.send, crm.read]}, then: allow}
  - id: no-cards
    on: {tool: mail.send}
    then: modify
    modify: [{at: /body, redact: card-number}]
    because: card numbers do not leave
  - id: to-the-desk
    on: {tool: mail.send}
    past: once reads
    then: modify
    modify: [{at: /to, allow-list: [desk@x.example]}]
"""


@pytest.fixture(scope="module")
def modifying(running: Running) -> Iterator[Running]:
    """Policies that rewrite mails; afterwards those of before."""
    client = running.client(timeout_s=60)
    before = client.request("GET", "/v1/bundles")["active"]
    sources = [
        {"name": "spine.yaml", "text": CATALOG_AND_POLICY},
        {"name": TODO.name, "text": TODO.read_text()},
        {"name": "mail.yaml", "text": POLICY},
    ]
    assert client.request("POST", "/v1/bundles", {"sources": sources, "activate": True})["lagging"] == []
    yield running
    assert client.request("POST", f"/v1/bundles/{before}/activate")["lagging"] == []


def agent_of(running: Running, host: int, stem: str) -> tuple[str, ControlPlane]:
    """A registered agent whose home is this host, and a client with its key."""
    names = (f"{stem}-{n}" for n in range(100))
    name = next(one for one in names if host_of(agent_key("default", "agent", one), 2) == host)
    operator = running.client()
    operator.request("POST", "/v1/agents", {"id": name})
    key = operator.request("POST", "/v1/keys", {"role": "agent", "agents": [name]})["key"]
    return name, running.client(key)


def mail(client: ControlPlane, agent: str, **more: Any) -> Decision:
    return client.decide(agent=agent, tool="mail.send", arguments=ASKED, modifies=True, **more)


def row_of(running: Running, decision: Decision) -> dict[str, Any]:
    running.wait_until_landed()
    (row,) = running.table_rows(f"SELECT * FROM evidence WHERE event_id = '{decision.id}'")
    return row


def keyed(running: Running, arguments: dict[str, Any]) -> bytes:
    return keyed_digest(Secrets.read(running.settings.secrets).digest_key, arguments_digest(arguments))


def test_a_mail_with_a_card_number_goes_without_it(modifying: Running) -> None:
    agent, client = agent_of(modifying, 0, "mailer")
    decision = mail(client, agent, idempotency_key="mail-1")
    assert decision.allowed
    assert (decision.effect, decision.arguments) == ("modify", REDACTED)
    row = row_of(modifying, decision)
    assert row["decision"] == "modify"
    assert row["arguments_digest"] == keyed(modifying, REDACTED)
    assert json.loads(row["details"])["modified"] == {
        "rules": ["mail/no-cards"],
        "original_digest": keyed(modifying, ASKED).hex(),
        "changes": [{"at": "/body", "operation": "redact card-number", "count": 1}],
    }
    again = mail(client, agent, idempotency_key="mail-1")
    assert again.replayed and again.id == decision.id
    assert again.arguments == REDACTED
    assert client.outcome(decision.id, "succeeded", executed_arguments=REDACTED)["findings"] == []
    spent = mail(client, agent, idempotency_key="mail-1")
    assert spent.reason_code == "idempotency_key_spent"


def test_who_executes_what_was_asked_is_found_out(modifying: Running) -> None:
    agent, client = agent_of(modifying, 1, "mailer")
    decision = mail(client, agent)
    outcome = client.outcome(decision.id, "succeeded", executed_arguments=ASKED)
    assert outcome["findings"] == ["executed_digest_mismatch"]


def test_a_client_that_carries_out_no_obligation_denies(modifying: Running) -> None:
    agent, client = agent_of(modifying, 0, "mailer")
    decision = client.decide(agent=agent, tool="mail.send", arguments=ASKED)
    assert not decision
    assert decision.reason_code == "obligation_not_supported"


def test_a_delegated_agent_of_another_host_is_rewritten_by_the_workflows_past(modifying: Running) -> None:
    planner, planning = agent_of(modifying, 0, "planner")
    helper, helping = agent_of(modifying, 1, "helper")
    root = modifying.client().open_session(planner, "write to the desk")
    child = helping.open_session(helper, parent=planning.delegate(root, helper))
    assert mail(helping, helper, session=child).arguments == REDACTED
    assert planning.decide(agent=planner, tool="crm.read", arguments={"id": 7}, session=root).allowed
    decision = mail(helping, helper, session=child)
    assert [reason.rule for reason in decision.reasons] == ["mail/no-cards", "mail/to-the-desk", "mail/desk"]
    assert decision.arguments == TO_THE_DESK
    assert ordinal_of_decision(decision.id) == 0
    row = row_of(modifying, decision)
    assert (row["agent_id"], row["parent_agent_id"]) == (helper, planner)
    assert row["arguments_digest"] == keyed(modifying, TO_THE_DESK)
    assert helping.outcome(decision.id, "succeeded", executed_arguments=TO_THE_DESK)["findings"] == []


def test_the_items_of_a_batch_come_back_in_order(modifying: Running) -> None:
    agent, _ = agent_of(modifying, 1, "batcher")
    context = {"arguments": ASKED}
    item = {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "mail.send"},
        "context": context,
    }
    read = item | {"resource": {"type": "tool", "id": "crm.read"}, "context": {"arguments": {"id": 7}}}
    with modifying.http() as http:
        answer: httpx.Response = http.post(
            "/access/v1/evaluations", json={"evaluations": [item, read, item, item]}
        )
    found = [
        (one["context"]["effect"], (one["context"].get("obligations") or [{}])[0].get("properties"))
        for one in answer.json()["evaluations"]
    ]
    assert found == [
        ("modify", {"modify_arguments": REDACTED}),
        ("allow", None),
        ("modify", {"modify_arguments": TO_THE_DESK}),
        ("modify", {"modify_arguments": TO_THE_DESK}),
    ]


def test_the_command_shows_what_may_be_executed(modifying: Running) -> None:
    agent, _ = agent_of(modifying, 0, "commander")
    asked = ["decide", "--agent", agent, "--tool", "mail.send", "--args", json.dumps(ASKED), "--json"]
    data = modifying.settings.data
    decided = json.loads(controlplane(*asked, data=data).stdout)
    assert (decided["allowed"], decided["effect"], decided["modified"]) == (True, "modify", REDACTED)
    tried = json.loads(controlplane(*asked, "--dry-run", data=data).stdout)
    assert (tried["allowed"], tried["effect"], tried["modified"]) == (False, "modify", REDACTED)
