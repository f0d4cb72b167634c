"""The client asks once per action, repeats safely, and takes whatever is not a clean 200 for a deny."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from controlplane_sdk import ControlPlane, ControlPlaneError
from controlplane_sdk.decision import arguments_digest

NOW = datetime(2026, 1, 11, 9, 30, tzinfo=UTC)
Answering = Callable[[httpx.Request], httpx.Response]


class Service:
    """A service made of answers given in turn (the last one for ever), which remembers what it was asked."""

    def __init__(self, *answers: Answering | httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self, **options: Any) -> ControlPlane:
        transport = httpx.MockTransport(self)
        return ControlPlane("http://cp.example/", "cp_key", transport=transport, now=lambda: NOW, **options)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def allow(request: httpx.Request) -> httpx.Response:
    context = {
        "id": "0198",
        "effect": "allow",
        "reason_code": "rule_allow",
        "arguments_digest": arguments_digest(json.loads(request.content)["context"]["arguments"]),
        "expires_at": "2026-01-11T09:30:30Z",
    }
    return httpx.Response(200, json={"decision": True, "context": context})


def test_the_question_is_authzen_with_ours_inside_context() -> None:
    service = Service(allow)
    decision = service.client(timeout_s=2.5).decide(
        agent="treasury-bot",
        tool="payments.transfer",
        arguments={"to": "DE89", "amounts": (1, 2.5)},
        session="ses_1",
        idempotency_key="k-1",
        properties={"owner": "x"},
        context={"channel": "mail", "arguments": "not these"},
        tool_call_id="call_7",
    )
    assert decision.allowed
    [request] = service.requests
    assert (request.method, str(request.url)) == ("POST", "http://cp.example/access/v1/evaluation")
    assert request.headers["Authorization"] == "Bearer cp_key"
    assert request.headers["X-Deadline-Ms"] == "2500"
    assert request.headers["X-Request-ID"]
    assert service.bodies == [
        {
            "subject": {"type": "agent", "id": "treasury-bot"},
            "action": {"name": "call"},
            "resource": {"type": "tool", "id": "payments.transfer", "properties": {"owner": "x"}},
            "context": {
                "channel": "mail",
                "session": "ses_1",
                "idempotency_key": "k-1",
                "tool_call_id": "call_7",
                "arguments": {"to": "DE89", "amounts": [1, 2.5]},
            },
        }
    ]


def test_a_modification_is_for_who_says_that_it_is_carried_out() -> None:
    made = {"amount": 100}

    def modify(request: httpx.Request) -> httpx.Response:
        body = allow(request).json()
        obligation = {"id": "o", "type": "custom", "properties": {"modify_arguments": made}}
        body["context"] |= {
            "effect": "modify",
            "arguments_digest": arguments_digest(made),
            "obligations": [obligation],
        }
        return httpx.Response(200, json=body)

    client = Service(modify).client()
    refused = client.decide(agent="a", tool="t", arguments={"amount": 200})
    assert not refused
    assert refused.reason_code == "obligation_not_supported"
    taken = client.decide(agent="a", tool="t", arguments={"amount": 200}, modifies=True)
    assert taken
    assert taken.arguments == made


def test_every_question_has_an_idempotency_key_of_its_own() -> None:
    service = Service(allow)
    client = service.client()
    for _ in range(2):
        assert client.decide(agent="a", tool="t")
    first, second = (body["context"]["idempotency_key"] for body in service.bodies)
    assert first != second


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.WriteError("broken pipe"),
        httpx.RemoteProtocolError("server disconnected"),
    ],
)
def test_a_dropped_connection_is_tried_once_more_with_the_same_key(failure: Exception) -> None:
    service = Service(failure, allow)
    assert service.client().decide(agent="a", tool="t")
    first, second = (body["context"]["idempotency_key"] for body in service.bodies)
    assert first == second

    dead = Service(failure)
    decision = dead.client().decide(agent="a", tool="t")
    assert (decision.allowed, decision.effect, decision.reason_code) == (False, "deny", "unreachable")
    assert len(dead.requests) == 2


@pytest.mark.parametrize(
    "failure", [httpx.ReadTimeout("slow"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("")]
)
def test_a_time_out_denies_at_once(failure: Exception) -> None:
    service = Service(failure)
    decision = service.client().decide(agent="a", tool="t")
    assert (decision.allowed, decision.reason_code) == (False, "unreachable")
    assert len(service.requests) == 1


PERMIT = {"decision": True, "context": {"id": "1", "effect": "allow"}}
NOT_OK = [
    (
        httpx.Response(503, json={"error": {"code": "unavailable", "message": "no lease"}}),
        "http_503",
        "no lease",
    ),
    (
        httpx.Response(409, json={"error": {"code": "conflict", "message": "other digest"}}),
        "http_409",
        "other digest",
    ),
    (httpx.Response(403, text="<html>proxy</html>"), "http_403", "status 403"),
    (httpx.Response(401, json="unauthorized"), "http_401", "status 401"),
    (httpx.Response(404, text="Path '/access/v1/evaluation' not found."), "http_404", "status 404"),
    (httpx.Response(500, text="Internal Server Error"), "http_500", "status 500"),
    (httpx.Response(201, json=PERMIT), "http_201", "status 201"),
    (
        httpx.Response(302, json=PERMIT, headers={"Location": "http://cp.example/else"}),
        "http_302",
        "status 302",
    ),
    (httpx.Response(200, text="OK"), "malformed_answer", "no authzen decision"),
    (httpx.Response(200, content=b"[" * 100_000), "malformed_answer", "no authzen decision"),
    (httpx.Response(200, content=b""), "malformed_answer", "no authzen decision"),
    (httpx.Response(200, json=PERMIT), "digest_mismatch", "not `"),
]


@pytest.mark.parametrize(("response", "reason_code", "message"), NOT_OK)
def test_whatever_is_not_a_clean_200_is_a_deny(
    response: httpx.Response, reason_code: str, message: str
) -> None:
    service = Service(response)
    decision = service.client().decide(agent="a", tool="t")
    assert not decision
    assert (decision.effect, decision.reason_code) == ("deny", reason_code)
    assert message in decision.message
    assert len(service.requests) == 1


@pytest.mark.parametrize("value", [float("nan"), 2**53, "\ud800", object(), {1: 2}, {1, 2}])
def test_arguments_without_an_exact_json_form_are_denied_unasked(value: object) -> None:
    service = Service(allow)
    decision = service.client().decide(agent="a", tool="t", arguments={"x": value})
    assert (decision.allowed, decision.reason_code) == (False, "invalid_arguments")
    assert service.requests == []


def test_a_result_that_is_no_json_is_told_and_nothing_is_sent() -> None:
    service = Service(httpx.Response(200, json={}))
    for result in (object(), {1, 2}, float("nan")):
        with pytest.raises(ValueError):
            service.client().outcome("0198", "succeeded", result=result)
    assert service.requests == []


@pytest.mark.parametrize("scope", [[], "read", 7])
def test_a_scope_that_is_none_is_sent_as_it_is_to_be_refused(scope: Any) -> None:
    service = Service(httpx.Response(201, json={"session": "ses_1"}))
    service.client().open_session("treasury-bot", scope=scope)
    service.client().add_task("ses_1", "more", scope=scope)
    assert [body["scope"] for body in service.bodies] == [scope, scope]


def test_an_outcome_is_reported_with_the_digest_of_what_was_executed() -> None:
    service = Service(httpx.Response(200, json={"recorded": True}))
    client = service.client()
    client.outcome("0198", "succeeded", result={"id": 7}, labels=["x"], executed_arguments={"a": 1})
    client.outcome("0/1", "not_executed", complete=False)
    assert [str(request.url.raw_path, "ascii") for request in service.requests] == [
        "/v1/decisions/0198/outcome",
        "/v1/decisions/0%2F1/outcome",
    ]
    assert service.bodies == [
        {
            "status": "succeeded",
            "complete": True,
            "result": {"id": 7},
            "labels": ["x"],
            "executed_digest": arguments_digest({"a": 1}),
        },
        {"status": "not_executed", "complete": False},
    ]


def test_sessions_are_opened_continued_and_ended() -> None:
    service = Service(httpx.Response(201, json={"session": "ses_1"}), httpx.Response(200, json={}))
    client = service.client()
    assert client.open_session("treasury-bot", "pay the invoices") == "ses_1"
    client.add_task("ses_1", "and the rent")
    client.end_session("ses_1")
    client.decision("0198")
    assert [(request.method, request.url.path) for request in service.requests] == [
        ("POST", "/v1/sessions"),
        ("POST", "/v1/sessions/ses_1/task"),
        ("POST", "/v1/sessions/ses_1/end"),
        ("GET", "/v1/decisions/0198"),
    ]
    assert json.loads(service.requests[0].content) == {
        "agent": "treasury-bot",
        "subject_type": "agent",
        "task": "pay the invoices",
    }


ERRORS = [
    (
        httpx.Response(
            400, json={"error": {"code": "invalid_bundle", "message": "no", "errors": [{"line": 3}]}}
        ),
        (400, "invalid_bundle", "no", {"errors": [{"line": 3}]}),
    ),
    (httpx.Response(502, text="bad gateway"), (502, "http_502", "the service answered with status 502", {})),
    (httpx.Response(200, text="OK"), (200, "malformed_answer", "the answer is no json object", {})),
    (httpx.ReadError("reset"), (0, "unreachable", "no answer: ReadError: reset", {})),
]


@pytest.mark.parametrize(("answer", "expected"), ERRORS)
def test_every_other_call_raises_what_went_wrong(
    answer: httpx.Response | Exception, expected: tuple[int, str, str, dict[str, Any]]
) -> None:
    service = Service(answer)
    with pytest.raises(ControlPlaneError) as caught:
        service.client().request("POST", "/v1/bundles", {"sources": []})
    error = caught.value
    assert (error.status, error.code, error.message, error.details) == expected
    assert len(service.requests) == 1, "a POST that may have arrived is not sent again"


def test_a_call_that_never_left_is_tried_once_more() -> None:
    service = Service(httpx.ConnectError("refused"), httpx.Response(200, json={"agents": []}))
    assert service.client().request("GET", "/v1/agents") == {"agents": []}


def test_a_session_answer_without_a_session_is_an_error() -> None:
    with pytest.raises(ControlPlaneError, match="names no session"):
        Service(httpx.Response(201, json={})).client().open_session("a")


def test_a_session_delegates_and_the_other_agent_opens_its_own_with_the_token() -> None:
    service = Service(
        httpx.Response(201, json={"session": "ses_1"}),
        httpx.Response(201, json={"token": "dlg_1", "to": "helper"}),
        httpx.Response(201, json={"session": "ses_2"}),
        httpx.Response(201, json={"to": "helper"}),
    )
    client = service.client()
    session = client.open_session("treasury-bot", principal="user:ada")
    token = client.delegate(
        session, "helper", tools=("mail.*",), depth=1, expires_in_s=60, principal="user:ada"
    )
    assert client.open_session("helper", parent=token) == "ses_2"
    with pytest.raises(ControlPlaneError, match="names no token"):
        client.delegate(session, "helper")
    assert [json.loads(request.content) for request in service.requests] == [
        {"agent": "treasury-bot", "subject_type": "agent", "principal": "user:ada"},
        {
            "session": "ses_1",
            "to": "helper",
            "depth": 1,
            "expires_in_s": 60,
            "tools": ["mail.*"],
            "principal": "user:ada",
        },
        {"agent": "helper", "subject_type": "agent", "parent": "dlg_1"},
        {"session": "ses_1", "to": "helper", "depth": 0, "expires_in_s": 3600},
    ]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("", "an empty text"),
        ("sk-123", "does not begin with `cp_`"),
        ("cp_", "nothing after"),
        ("cp_…", "the character '\\u2026' at position 3"),
        ("cp_abc\n", "the character '\\n' at position 6"),
    ],
)
def test_what_cannot_be_a_key_is_refused_before_anything_is_asked(key: str, found: str) -> None:
    with pytest.raises(ValueError, match=r"`controlplane keys create` prints it") as caught:
        ControlPlane("http://cp.example/", key)
    assert found in str(caught.value)


def escalated(request: httpx.Request) -> httpx.Response:
    access = {"endpoint": "/v1/approvals", "expires_at": "2026-01-11T10:00:00Z", "binding_token": "esc_x"}
    context = {"id": "0198", "effect": "escalate", "reason_code": "rule_escalate", "access_request": access}
    return httpx.Response(200, json={"decision": False, "context": context})


def test_people_are_asked_about_an_escalation_and_waited_for() -> None:
    task = httpx.Response(201, json={"id": "apr_1", "state": "pending"})
    approved = httpx.Response(200, json={"id": "apr_1", "state": "approved"})
    service = Service(escalated, task, approved, allow)
    client = service.client()
    arguments = {"to": "DE89", "amount": 5000}
    decision = client.decide(agent="bot", tool="pay", arguments=arguments)
    assert not decision and decision.binding_token == "esc_x"
    assert client.request_approval(decision, arguments=arguments, justification="invoice")["id"] == "apr_1"
    assert client.approval("apr_1", wait_s=30)["state"] == "approved"
    assert client.decide(agent="bot", tool="pay", arguments=arguments, approval="apr_1")
    _, asked, waited, again = service.requests
    body = {"binding_token": "esc_x", "justification": "invoice", "arguments": arguments}
    assert (str(asked.url), json.loads(asked.content)) == ("http://cp.example/v1/approvals", body)
    assert str(waited.url) == "http://cp.example/v1/approvals/apr_1?wait_s=30"
    assert waited.extensions["timeout"]["read"] == 40
    assert json.loads(again.content)["context"]["approval"] == {"id": "apr_1"}


def test_what_nobody_can_approve_is_not_asked_for() -> None:
    service = Service(allow)
    decision = service.client().decide(agent="bot", tool="pay")
    with pytest.raises(ValueError, match=r"none that people can approve$"):
        service.client().request_approval(decision)
    with pytest.raises(ValueError, match="can approve: rule `a/b` names nobody"):
        nobody = replace(decision, allowed=False, effect="escalate", message="rule `a/b` names nobody")
        service.client().request_approval(nobody)
    assert len(service.requests) == 1


def test_a_task_in_the_place_of_its_id_is_told() -> None:
    service = Service(allow)
    with pytest.raises(TypeError, match="an id is a text, such as `task\\['id'\\]`; found dict"):
        service.client().approval({"id": "apr_1"})  # type: ignore[arg-type]
    assert service.requests == []
