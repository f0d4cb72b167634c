"""/v1/approvals through the doors: who may do what, waiting, narrowing, remembering, and other owners' agents."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import Answer, InProcessPlane, in_process_plane, question

from actors.approvals import requests
from actors.placement import host_of
from controlplane.wire.digest import arguments_digest


def agents_of(host: int, stem: str) -> list[str]:
    return [f"{stem}-{n}" for n in range(40) if host_of(f"default/agent/{stem}-{n}", 2) == host]


PAYER, OTHER, *_ = agents_of(0, "payer")
HELPER, *_ = agents_of(1, "helper")  # its home is elsewhere
POLICY = """
kind: Catalog
tools:
  mail.read: {effects: [read], boundary: internal, data: [], returns: untrusted}
  bank.pay:
    effects: [pay]
    boundary: external
    data: []
    args: {to: {type: iban, role: destination}, amount: {type: decimal, role: quantity}}
---
kind: Policy
name: desk
rules:
  - {id: all, then: allow}
  - id: large
    on: {tool: bank.pay}
    when: args.amount > 1000.0
    then: escalate
    approve: {by: [role:treasury], quorum: 2, expires: 30m}
  - id: payee
    on: {tool: bank.pay}
    origin: {roles: [destination], is: [untrusted]}
    then: escalate
    approve: {by: [role:treasury], remember: value}
"""
STRANGER, ANOTHER, KNOWN = "GB29NWBK60161331926819", "FR7630006000011234567890189", "DE89370400440532013000"


class Desk:
    """A plane with approvers. `keys`: of each person and agent."""

    def __init__(self, plane: InProcessPlane) -> None:
        self.plane = plane
        plane.activate(POLICY)
        self.keys: dict[str, str] = {}
        self.amounts = itertools.count(20_000)
        for agent in (PAYER, OTHER, HELPER):
            plane.register(agent)
            _, self.keys[agent] = plane.make_key(role="agent", agents=[agent])
        for who, roles in (("anna", ["treasury"]), ("bert", ["treasury"]), ("emil", [])):
            plane.send("POST", "/v1/principals", {"id": who, "roles": roles})
            _, self.keys[who] = plane.make_key(role="approver", subjects=[f"user:{who}"])
        _, self.keys["auditor"] = plane.make_key(role="auditor")
        plane.renew_leases()

    def send(self, who: str, method: str, path: str, body: Any = None) -> Answer:
        return self.plane.send(method, path, body, key=self.keys[who])

    def pay(
        self, amount: float = 5000, to: str = KNOWN, agent: str = PAYER, **context: Any
    ) -> dict[str, Any]:
        answer = self.plane.ask(
            agent, "bank.pay", key=self.keys[agent], arguments={"to": to, "amount": amount}, **context
        )
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json
        return found

    def request(self, decision: dict[str, Any], agent: str = PAYER, **more: Any) -> Answer:
        token = decision["context"]["access_request"]["binding_token"]
        return self.send(agent, "POST", "/v1/approvals", {"binding_token": token, **more})

    def asked(self, amount: float | None = None, **more: Any) -> str:
        """The id of a new task; without an amount, for one that nobody has asked for before."""
        amount = next(self.amounts) if amount is None else amount
        body = {"arguments": {"to": KNOWN, "amount": amount}} | more
        answer = self.request(self.pay(amount), **body)
        assert answer.status == 201, answer
        return str(answer.json["id"])

    def decide(self, who: str, identity: str, what: str = "approve", **body: Any) -> Answer:
        return self.send(who, "POST", f"/v1/approvals/{identity}/{what}", body)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with in_process_plane(tmp_path_factory.mktemp("plane"), channels=True) as plane:
        yield Desk(plane)


def test_an_escalated_action_is_approved_and_permitted_once(desk: Desk) -> None:
    escalated = desk.pay()
    context = escalated["context"]
    assert escalated["decision"] is False and context["effect"] == "escalate"
    assert context["evaluation_id"] == context["id"]
    assert context["access_request"]["endpoint"] == "/v1/approvals"
    first = desk.request(escalated, justification="the March invoice")
    assert (first.status, first.json["state"]) == (201, "pending")
    again = desk.request(escalated)
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    identity = first.json["id"]
    assert desk.pay(approval={"id": identity})["context"]["detail"].startswith(
        f"approval `{identity}` is pending"
    )
    for who in ("anna", "bert"):
        assert desk.decide(who, identity, comment="checked").status == 200
    allowed = desk.pay(approval={"id": identity})
    assert allowed["decision"] is True
    assert allowed["context"]["approval"]["id"] == identity
    assert allowed["context"]["approval"]["state"] == "used"
    assert desk.pay(approval={"id": identity})["decision"] is False


def test_a_client_of_the_draft_is_served(desk: Desk) -> None:
    """As the AuthZEN Access Request and Approval Profile 1.0 (draft) has it."""
    found = desk.plane.send("GET", "/.well-known/authzen-configuration", key=None).json
    path = found["access_request_endpoint"].removeprefix(found["policy_decision_point"])
    denied = desk.pay(3333)["context"]
    submission = {
        "subject": {"type": "agent", "id": PAYER},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "bank.pay"},
        "denial": {
            "evaluation_id": denied["evaluation_id"],
            "expires_at": denied["access_request"]["expires_at"],
            "binding_token": denied["access_request"]["binding_token"],
        },
    }
    other = desk.send(PAYER, "POST", path, submission | {"resource": {"type": "tool", "id": "mail.read"}})
    assert other.status == 409
    assert other.json["type"] == "urn:openid:authzen:access-request:error:invalid_denial_binding"
    task = desk.send(PAYER, "POST", path, submission).json["task"]
    assert task["status"] == "pending"
    for who in ("anna", "bert"):
        assert desk.decide(who, task["id"]).status == 200
    done = desk.send(PAYER, "GET", task["status_endpoint"]).json
    assert (done["task"]["status"], done["result"]["mode"]) == ("approved", "reevaluate")
    assert desk.pay(3333, approval=done["result"]["approval"])["decision"] is True
    assert "result" not in desk.send(PAYER, "GET", task["status_endpoint"]).json
    unknown = desk.send(PAYER, "GET", "/v1/approvals/apr_01a20461-44aa-761c-8000-029521cbf8a7")
    assert unknown.json["type"] == "urn:openid:authzen:access-request:error:unknown_task"


def test_what_is_said_of_the_resource_is_part_of_what_is_approved_and_of_what_a_key_is_bound_to(
    desk: Desk,
) -> None:
    amount = next(desk.amounts)

    def pay(properties: dict[str, Any], **context: Any) -> Answer:
        body = question(PAYER, "bank.pay", arguments={"to": KNOWN, "amount": amount}, **context)
        body["resource"]["properties"] = properties
        return desk.send(PAYER, "POST", "/access/v1/evaluation", body)

    identity = desk.request(pay({"account": "petty cash"}).json).json["id"]
    for who in ("anna", "bert"):
        assert desk.decide(who, identity).status == 200
    for properties in ({"account": "main"}, {}):
        other = pay(properties, approval={"id": identity}).json
        assert other["decision"] is False
        assert "is for other properties of the resource" in other["context"]["detail"]
    key = f"properties-{amount}"
    approved = {"account": "petty cash"}
    assert pay(approved, approval={"id": identity}, idempotency_key=key).json["decision"] is True
    assert pay(approved, idempotency_key=key).json["context"]["replayed"] is True
    assert pay({"account": "main"}, idempotency_key=key).status == 409


def test_errors_are_problem_details(desk: Desk) -> None:
    answer = desk.send("anna", "GET", "/v1/approvals/apr_nothing")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    shown = answer.json
    assert (shown["status"], shown["title"]) == (404, "unknown_approval")
    assert shown["detail"] == shown["error"]["message"]
    refused = desk.decide("auditor", desk.asked(), "approve")
    assert refused.status == 403 and refused.headers["content-type"] == "application/problem+json"
    assert desk.send("anna", "GET", "/v1/keys").headers["content-type"] == "application/json"


def test_only_people_with_an_approvers_key_approve(desk: Desk) -> None:
    identity = desk.asked()
    assert desk.plane.send("POST", f"/v1/approvals/{identity}/approve", {}).status == 403
    assert desk.decide(PAYER, identity).status == 403
    assert desk.decide("emil", identity).status == 404
    for given in (
        {"role": "approver"},
        {"role": "approver", "subjects": ["user:*"]},
        {"role": "approver", "subjects": ["user:a", "user:b"]},
        {"role": "approver", "subjects": ["agent:bot"]},
        {"role": "approver", "subjects": ["role:treasury"]},
        {"role": "approver", "subjects": ["group:board"]},
        {"role": "approver", "subjects": ["user:a"], "agents": ["bot"]},
        {"role": "approver", "subjects": ["user:a"], "grants": ["witness"]},
    ):
        assert desk.plane.send("POST", "/v1/keys", given).status == 400, given


def test_what_is_not_the_callers_does_not_exist_for_them(desk: Desk) -> None:
    escalated = desk.pay()
    assert desk.request(escalated, agent=OTHER).status == 404
    identity = desk.asked()
    assert desk.send(OTHER, "GET", f"/v1/approvals/{identity}").status == 404
    assert desk.decide(OTHER, identity, "cancel").status == 404
    assert desk.decide(OTHER, identity, "comment", comment="hello").status == 404
    assert desk.send("emil", "GET", f"/v1/approvals/{identity}").status == 404
    listed = desk.send(OTHER, "GET", "/v1/approvals?state=all").json["approvals"]
    assert listed == []


def test_approvers_see_arguments_and_readers_their_masked_form(desk: Desk) -> None:
    identity = desk.asked(7000)
    seen = desk.send("anna", "GET", f"/v1/approvals/{identity}").json
    assert seen["arguments"] == {"to": KNOWN, "amount": 7000} and seen["may_decide"] is True
    for who in ("auditor", PAYER):
        shown = desk.send(who, "GET", f"/v1/approvals/{identity}").json
        assert "arguments" not in shown
        assert shown["masked_arguments"] == {"to": f"string({len(KNOWN)})", "amount": "number"}


def test_arguments_that_were_not_decided_are_refused(desk: Desk) -> None:
    answer = desk.request(desk.pay(), arguments={"to": KNOWN, "amount": 5})
    assert (answer.status, answer.json["error"]["code"]) == (409, "arguments_mismatch")
    large = desk.request(desk.pay(), arguments={"to": "x" * 70_000})
    assert large.status == 413


def test_an_approver_narrows_and_the_agent_acts_on_less(desk: Desk) -> None:
    identity = desk.asked(9000)
    answer = desk.decide("anna", identity, narrow={"/amount": 8000})
    assert answer.status == 200 and answer.json["approved_arguments"]["amount"] == 8000
    assert desk.decide("bert", identity, narrow={"/amount": 8500}).status == 400
    assert desk.decide("bert", identity).json["state"] == "approved"
    assert desk.pay(9000, approval={"id": identity})["decision"] is False
    own = desk.send(PAYER, "GET", f"/v1/approvals/{identity}").json
    assert own["approved_arguments"] == {"to": KNOWN, "amount": 8000}
    assert desk.pay(8000, approval={"id": identity})["decision"] is True


def test_nobody_approves_other_arguments_than_those_that_they_have_looked_at(desk: Desk) -> None:
    identity = desk.asked()
    look = lambda: desk.send("bert", "GET", f"/v1/approvals/{identity}").json  # noqa: E731
    seen = look()
    assert seen["arguments_digest"] == arguments_digest(seen["arguments"]).hex()
    assert desk.decide("anna", identity, narrow={"/amount": 8000}).status == 200
    late = desk.decide("bert", identity, arguments_digest=seen["arguments_digest"])
    assert (late.status, late.json["error"]["code"]) == (409, "narrowed_meanwhile")
    assert desk.decide("bert", identity, arguments_digest=look()["arguments_digest"]).status == 200
    unseen = desk.request(desk.pay(next(desk.amounts))).json["id"]
    assert "arguments_digest" not in desk.send("bert", "GET", f"/v1/approvals/{unseen}").json


def test_what_was_asked_for_without_arguments_cannot_be_narrowed(desk: Desk) -> None:
    identity = desk.request(desk.pay(6100)).json["id"]
    answer = desk.decide("anna", identity, narrow={"/amount": 1})
    assert (answer.status, answer.json["error"]["code"]) == (409, "no_arguments")


def test_whoever_waits_hears_of_a_change(desk: Desk) -> None:
    identity = desk.asked()
    waiting = desk.plane.begin("GET", f"/v1/approvals/{identity}?wait_s=20", key=desk.keys[PAYER])
    began_s = time.monotonic()
    assert desk.decide("anna", identity, "deny", comment="no such invoice").status == 200
    answer = waiting.result(15)
    assert answer.json["state"] == "denied" and answer.json["ended_comment"] == "no such invoice"
    assert time.monotonic() - began_s < 15
    at_once = desk.send(PAYER, "GET", f"/v1/approvals/{identity}?wait_s=20")
    assert at_once.json["state"] == "denied"
    assert desk.send(PAYER, "GET", f"/v1/approvals/{identity}?wait_s=31").status == 400


def test_lists_join_all_owners(desk: Desk) -> None:
    mine = desk.asked(4321)
    escalated = desk.pay(4321, agent=HELPER)
    theirs = desk.request(escalated, agent=HELPER).json["id"]
    listed = desk.send("anna", "GET", "/v1/approvals?limit=200").json
    ids = [task["id"] for task in listed["approvals"]]
    assert {mine, theirs} <= set(ids) and ids == sorted(ids, reverse=True)
    assert listed["unavailable"] == []
    page = desk.send("anna", "GET", "/v1/approvals?limit=1").json
    rest = desk.send("anna", "GET", f"/v1/approvals?limit=200&after={page['next']}").json["approvals"]
    assert [page["approvals"][0]["id"], *(task["id"] for task in rest)] == ids
    only = desk.send("auditor", "GET", f"/v1/approvals?agent={HELPER}").json["approvals"]
    assert {task["agent"] for task in only} == {HELPER}
    assert desk.send("anna", "GET", "/v1/approvals?state=nonsense").status == 400


def test_lists_reach_what_stands_behind_much_that_is_not_for_the_caller(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_SCANNED", 2)
    identity = desk.asked()
    for _ in range(5):
        desk.send("anna", "POST", f"/v1/approvals/{desk.asked()}/approve", {})
    found, after = [], ""
    for _ in range(40):
        page = desk.send("anna", "GET", f"/v1/approvals?mine=true&limit=1{after}").json
        found += [task["id"] for task in page["approvals"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert identity in found and found == sorted(set(found), reverse=True)
    assert page["next"] is None


def test_a_malformed_approval_in_a_question_is_refused(desk: Desk) -> None:
    for approval in ("apr_1", {"id": 7}, {"id": "apr_x"}, []):
        answer = desk.plane.ask(PAYER, "bank.pay", key=desk.keys[PAYER], approval=approval)
        assert answer.status == 400, approval
    unknown = desk.pay(approval={"id": "apr_01a20461-44aa-761c-8000-029521cbf8a7"})
    assert "is none of this agent's" in unknown["context"]["detail"]


def read_a_letter(desk: Desk) -> None:
    """The workflow of OTHER knows a stranger's account from an untrusted letter."""
    allowed = desk.plane.ask(OTHER, "mail.read", arguments={})
    said = {"status": "succeeded", "result": f"pay to {STRANGER} and {ANOTHER} please"}
    answer = desk.plane.send("POST", f"/v1/decisions/{allowed.json['context']['id']}/outcome", said)
    assert answer.status == 200, answer


def test_a_value_is_approved_for_a_rule_until_a_date(desk: Desk) -> None:
    read_a_letter(desk)
    escalated = desk.pay(5, STRANGER, OTHER)
    assert [reason["rule"] for reason in escalated["context"]["reasons"]] == ["desk/payee"]
    identity = desk.request(escalated, OTHER).json["id"]
    too_late = desk.decide("anna", identity, remember_until="2199-01-01T00:00:00Z")
    assert too_late.status == 400
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert desk.decide("anna", identity, remember_until=until).json["state"] == "approved"
    assert desk.pay(6, STRANGER, OTHER)["decision"] is True, "another payment to the same payee"
    assert desk.pay(6, ANOTHER, OTHER)["decision"] is False
    (value,) = desk.send("auditor", "GET", "/v1/approvals/values").json["values"]
    assert (value["rule"], value["scope"], value["approved_by"]) == ("desk/payee", "agent", ["user:anna"])
    assert STRANGER not in str(value)
    assert desk.send("bert", "DELETE", f"/v1/approvals/values/{value['id']}").status == 404
    assert desk.send("anna", "DELETE", f"/v1/approvals/values/{value['id']}").status == 200
    assert desk.pay(7, STRANGER, OTHER)["decision"] is False
    assert desk.send("auditor", "GET", "/v1/approvals/values").json["values"] == []


def test_there_is_nothing_to_remember_of_a_rule_that_does_not_say_so(desk: Desk) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    escalated = desk.plane.ask(PAYER, "bank.pay", key=desk.keys[PAYER], arguments={"amount": 5000}).json
    assert [reason["rule"] for reason in escalated["context"]["reasons"]] == ["desk/large"]
    answer = desk.decide("anna", desk.request(escalated).json["id"], remember_until=until)
    assert (answer.status, answer.json["error"]["code"]) == (409, "nothing_to_remember")


def test_an_action_in_somebody_elses_workflow_is_approved_where_it_is_decided(desk: Desk) -> None:
    plane = desk.plane
    opened = plane.send("POST", "/v1/sessions", {"agent": PAYER, "task": "pay"}).json["session"]
    token = plane.send("POST", "/v1/delegations", {"session": opened, "to": HELPER}).json["token"]
    child = plane.send("POST", "/v1/sessions", {"agent": HELPER, "parent": token}).json["session"]
    escalated = desk.pay(agent=HELPER, session=child)
    assert escalated["context"]["effect"] == "escalate", escalated
    identity = desk.request(escalated, agent=HELPER).json["id"]
    for who in ("anna", "bert"):
        assert desk.decide(who, identity).status == 200
    assert desk.pay(agent=HELPER, session=child, approval={"id": identity})["decision"] is True
    assert desk.pay(agent=HELPER, session=child, approval={"id": identity})["decision"] is False


def test_the_owner_of_an_agent_whose_home_is_elsewhere_may_not_approve(desk: Desk) -> None:
    plane = desk.plane
    plane.send("POST", "/v1/agents", {"id": HELPER, "owner": "user:anna"})
    try:
        opened = plane.send("POST", "/v1/sessions", {"agent": PAYER, "task": "pay"}).json["session"]
        token = plane.send("POST", "/v1/delegations", {"session": opened, "to": HELPER}).json["token"]
        child = plane.send("POST", "/v1/sessions", {"agent": HELPER, "parent": token}).json["session"]
        identity = desk.request(desk.pay(agent=HELPER, session=child), agent=HELPER).json["id"]
        refused = desk.decide("anna", identity)
        assert (refused.status, refused.json["error"]["code"]) == (403, "may_not_approve")
    finally:
        plane.send("POST", "/v1/agents", {"id": HELPER, "owner": "user:nobody"})


def test_the_owner_of_an_agent_that_has_another_act_for_it_may_not_approve(desk: Desk) -> None:
    plane = desk.plane
    plane.send("POST", "/v1/agents", {"id": PAYER, "owner": "user:anna"})
    try:
        opened = plane.send("POST", "/v1/sessions", {"agent": PAYER, "task": "pay"}).json["session"]
        token = plane.send("POST", "/v1/delegations", {"session": opened, "to": HELPER}).json["token"]
        child = plane.send("POST", "/v1/sessions", {"agent": HELPER, "parent": token}).json["session"]
        identity = desk.request(desk.pay(agent=HELPER, session=child), agent=HELPER).json["id"]
        refused = desk.decide("anna", identity)
        assert (refused.status, refused.json["error"]["code"]) == (403, "may_not_approve")
    finally:
        plane.send("POST", "/v1/agents", {"id": PAYER, "owner": "user:nobody"})


def test_an_approver_on_whose_behalf_it_is_may_not_approve(desk: Desk) -> None:
    body = {"agent": PAYER, "task": "pay", "principal": "user:bert"}
    session = desk.plane.send("POST", "/v1/sessions", body).json["session"]
    identity = desk.request(desk.pay(session=session)).json["id"]
    assert desk.decide("bert", identity).json["error"]["code"] == "may_not_approve"


def test_both_sides_may_comment(desk: Desk) -> None:
    identity = desk.asked()
    assert desk.decide(PAYER, identity, "comment", comment="it is urgent").status == 200
    shown = desk.decide("anna", identity, "comment", comment="which invoice?").json
    assert [one["text"] for one in shown["comments"]] == ["it is urgent", "which invoice?"]
    assert shown["comments"][1]["by"] == "user:anna"


def test_a_restarted_owner_goes_on(tmp_path: Path) -> None:
    with in_process_plane(tmp_path) as plane:
        desk = Desk(plane)
        identity = desk.asked(5000)
        assert desk.decide("anna", identity).status == 200
        plane.restart_host(0)
        assert desk.decide("bert", identity).json["state"] == "approved"
        plane.restart_host(0)
        assert desk.pay(approval={"id": identity})["decision"] is True
        assert desk.pay(approval={"id": identity})["decision"] is False


def test_racing_approvers_and_racing_uses_permit_once(desk: Desk) -> None:
    async def round_(number: int) -> None:
        arguments = {"amount": 2000 + number}
        body = question(PAYER, "bank.pay", arguments=arguments)
        asked = await desk.plane.exchange("POST", "/access/v1/evaluation", body, key=desk.keys[PAYER])
        token = asked.json["context"]["access_request"]["binding_token"]
        made = await asyncio.gather(
            *(
                desk.plane.exchange("POST", "/v1/approvals", {"binding_token": token}, key=desk.keys[PAYER])
                for _ in range(2)
            )
        )
        assert sorted(answer.status for answer in made) == [200, 201]
        (identity,) = {answer.json["id"] for answer in made}
        body = question(PAYER, "bank.pay", arguments=arguments, approval={"id": identity})

        async def approve(who: str) -> None:
            path = f"/v1/approvals/{identity}/approve"
            answers = await asyncio.gather(
                *(desk.plane.exchange("POST", path, {}, key=desk.keys[who]) for _ in range(2))
            )
            assert [answer.status for answer in answers].count(200) == 1

        async def use() -> int:
            answers = await asyncio.gather(
                *(
                    desk.plane.exchange("POST", "/access/v1/evaluation", body, key=desk.keys[PAYER])
                    for _ in range(3)
                )
            )
            return sum(answer.permits for answer in answers)

        early, *_ = await asyncio.gather(use(), approve("anna"), approve("bert"))
        assert early + await use() == 1

    async def rounds() -> None:
        for number in range(150):
            await round_(number)

    desk.plane.run(rounds())
