"""The enforcement point of the example: nothing runs that was not allowed, and what ran is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from controlplane_sdk import ControlPlane, ControlPlaneError
from controlplane_sdk.decision import arguments_digest

functions_runtime = pytest.importorskip("agentdojo.functions_runtime", reason="needs the extra `demo`")

from examples.banking.governed import GovernedRuntime  # noqa: E402


class FakeControlPlane:
    """Answers over httpx's mock transport: denies the named tools, allows the rest, remembers what it was told."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.outcomes: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path.endswith("/outcome"):
            self.outcomes.append(body)
            return httpx.Response(200, json={})
        tool, arguments = body["resource"]["id"], body["context"]["arguments"]
        self.asked.append((tool, arguments))
        context: dict[str, Any] = {"id": f"decision-{len(self.asked)}", "session": body["context"]["session"]}
        if tool in self.denied:
            reasons = [{"rule": "bank/no", "because": "not for assistants", "controls": []}]
            context |= {"effect": "deny", "reason_code": "rule_deny", "reasons": reasons}
            return httpx.Response(200, json={"decision": False, "context": context})
        expires_at = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        digest = arguments_digest(arguments)
        context |= {"effect": "allow", "arguments_digest": digest, "expires_at": expires_at}
        return httpx.Response(200, json={"decision": True, "context": context})


class Tools:
    """Two tools that remember what they were called with."""

    def __init__(self) -> None:
        self.executed: list[Any] = []

    def functions(self) -> list[Any]:
        def pay(amount: float, note: str | None = None) -> str:
            """Pay.

            :param amount: how much
            :param note: what for
            """
            self.executed.append(amount)
            if amount > 100:
                raise ValueError("not enough money")
            return f"paid {amount}"

        def look() -> float:
            """Look."""
            self.executed.append("look")
            return 7.0

        return [functions_runtime.make_function(tool) for tool in (pay, look)]


def governed(tools: Tools, answer: Callable[[httpx.Request], httpx.Response]) -> GovernedRuntime:
    client = ControlPlane("http://control.plane", "cp_key", transport=httpx.MockTransport(answer))
    return GovernedRuntime(tools.functions(), control_plane=client, agent="assistant-01", session="ses_1")


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def test_an_allowed_call_is_executed_and_its_outcome_reported() -> None:
    tools, plane = Tools(), FakeControlPlane()
    assert governed(tools, plane).run_function(None, "pay", {"amount": 5}) == ("paid 5.0", None)
    assert tools.executed == [5.0]
    assert plane.outcomes == [
        {
            "status": "succeeded",
            "complete": True,
            "result": "paid 5.0",
            "executed_digest": arguments_digest({"amount": 5.0}),
        }
    ]


def test_what_rules_rewrote_is_executed_and_reported_instead_of_what_was_asked() -> None:
    tools, made = Tools(), {"amount": 100.0}
    plane = FakeControlPlane()

    def modifying(request: httpx.Request) -> httpx.Response:
        answer = plane(request)
        if request.url.path.endswith("/outcome"):
            return answer
        body = answer.json()
        obligation = {"id": "o", "type": "custom", "properties": {"modify_arguments": made}}
        body["context"] |= {
            "effect": "modify",
            "arguments_digest": arguments_digest(made),
            "obligations": [obligation],
        }
        return httpx.Response(200, json=body)

    assert governed(tools, modifying).run_function(None, "pay", {"amount": 5000}) == ("paid 100.0", None)
    assert tools.executed == [100.0]
    assert plane.outcomes[0]["executed_digest"] == arguments_digest(made)


def test_a_denied_call_is_not_executed_and_says_why() -> None:
    tools, plane = Tools(), FakeControlPlane("pay")
    result, error = governed(tools, plane).run_function(None, "pay", {"amount": 5})
    assert (result, error) == ("", "PermissionError: denied: not for assistants")
    assert tools.executed == []
    assert plane.outcomes == []


def test_a_denied_call_raises_where_the_caller_wants_errors_raised() -> None:
    tools = Tools()
    with pytest.raises(PermissionError, match="not for assistants"):
        governed(tools, FakeControlPlane("pay")).run_function(None, "pay", {"amount": 5}, raise_on_error=True)
    assert tools.executed == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(unreachable, id="no connection"),
        pytest.param(lambda _: httpx.Response(503, json={"error": {"code": "overloaded"}}), id="503"),
        pytest.param(lambda _: httpx.Response(200, text="<html>"), id="not an answer"),
        pytest.param(lambda _: httpx.Response(200, json={"decision": True}), id="an allow without an id"),
    ],
)
def test_whatever_is_not_a_clean_allow_is_not_executed(
    answer: Callable[[httpx.Request], httpx.Response],
) -> None:
    tools = Tools()
    result, error = governed(tools, answer).run_function(None, "pay", {"amount": 5})
    assert result == ""
    assert error is not None and error.startswith("PermissionError: denied")
    assert tools.executed == []


def test_the_decision_is_about_the_arguments_that_are_executed() -> None:
    tools, plane = Tools(), FakeControlPlane()
    governed(tools, plane).run_function(None, "pay", {"amount": "5", "note": None})
    assert plane.asked == [("pay", {"amount": 5.0})]
    assert tools.executed == [5.0]


def test_a_tool_that_fails_is_reported_as_failed() -> None:
    tools, plane = Tools(), FakeControlPlane()
    result, error = governed(tools, plane).run_function(None, "pay", {"amount": 500})
    assert (result, error) == ("", "ValueError: not enough money")
    assert [outcome["status"] for outcome in plane.outcomes] == ["failed"]


def test_a_call_that_the_tool_could_not_read_is_neither_asked_for_nor_executed() -> None:
    tools, plane = Tools(), FakeControlPlane()
    _, error = governed(tools, plane).run_function(None, "pay", {"amount": "much"})
    assert error is not None and error.startswith("ValidationError")
    assert (plane.asked, tools.executed) == ([], [])


def test_a_call_inside_an_argument_is_governed_on_its_own() -> None:
    tools, plane = Tools(), FakeControlPlane("look")
    inner = functions_runtime.FunctionCall(function="look", args={})
    _, error = governed(tools, plane).run_function(None, "pay", {"amount": inner})
    assert error == "PermissionError: denied: not for assistants"
    assert [tool for tool, _ in plane.asked] == ["look"]
    assert tools.executed == []


def test_a_tool_that_does_not_exist_is_asked_for_all_the_same() -> None:
    plane = FakeControlPlane("close_account")
    _, error = governed(Tools(), plane).run_function(None, "close_account", {"now": True})
    assert error == "PermissionError: denied: not for assistants"
    assert plane.asked == [("close_account", {"now": True})]


def test_an_outcome_that_does_not_arrive_is_an_error() -> None:
    plane = FakeControlPlane()

    def loses_outcomes(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if request.url.path.endswith("/outcome") else plane(request)

    with pytest.raises(ControlPlaneError, match="http_503"):
        governed(Tools(), loses_outcomes).run_function(None, "pay", {"amount": 5})
