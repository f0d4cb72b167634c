"""The HTTP client of an enforcement point.

`decide` never raises for trouble between here and the service: no answer, a strange answer and any status
but 200 are denies. Everything else (`outcome`, sessions, management) raises ControlPlaneError, because a
report that did not arrive must not look as if it had.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from controlplane_sdk.decision import Decision, arguments_digest, denied, read_answer
from controlplane_sdk.errors import ControlPlaneError, as_object, failure_of

__all__ = ["ControlPlane", "ControlPlaneError"]

MAX_DEADLINE_S = 30
_KEY = re.compile(r"cp_[A-Za-z0-9_-]+")


class ControlPlane:
    """A connection to one control plane; thread-safe, keeps its connections open, a context manager.

    Args:
        url: where the control plane listens, e.g. `http://127.0.0.1:8470`.
        key: an API key (`cp_…`); what it may ask and do depends on its role.
        timeout_s: how long to wait for an answer; the service denies what it could only answer later.
        transport: another way to carry requests than the network, for tests.
        now: the clock that allows expire by.

    Raises: ValueError: `key` cannot be a key.

    Proxies and other settings from the environment are not used: what decides must not depend on them.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 10,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _KEY.fullmatch(key):
            # The text itself is not shown: it may be most of a secret.
            raise ValueError(
                "`key` must be an api key as `controlplane keys create` prints it: `cp_` and then ascii letters, "
                f"digits, `-` and `_`; found {_mistake(key)}"
            )
        self._now = now
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
            headers={
                "Authorization": f"Bearer {key}",
                "Accept": "application/json",
                "X-Deadline-Ms": str(int(min(timeout_s, MAX_DEADLINE_S) * 1000)),
            },
        )

    def close(self) -> None:
        """Close the connections; the object is of no use afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decide(
        self,
        *,
        agent: str,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        session: str | None = None,
        action: str = "call",
        idempotency_key: str | None = None,
        subject_type: str = "agent",
        resource_type: str = "tool",
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        modifies: bool = False,
        tool_call_id: str | None = None,
        trace_id: str | None = None,
        span_id: str | None = None,
        approval: str | None = None,
    ) -> Decision:
        """Ask whether an agent may do this now. Ask before each single execution, with the very arguments.

        Args:
            agent, tool: ids of the subject (`subject_type`) and the resource (`resource_type`).
            arguments: what the tool will be called with, as JSON values. An allow is for these only.
            session: from `open_session`; None = the agent's standing session.
            idempotency_key: the same key with the same arguments gets the same decision again. Left out,
                every call has its own, which makes the one retry after a dropped connection safe.
            properties: what the caller knows of the resource; never overrides the catalog.
            context: anything else that rules may look at.
            dry_run: only ask what would be answered: leaves no trace, never allows (see `effect`).
            modifies: whether the caller executes `decision.arguments`, which rules may have rewritten, instead of
                `arguments`. Without it, a decision that rewrites them is a deny.
            tool_call_id, trace_id, span_id: to find the decision again in traces.
            approval: id of an approval (`request_approval`) that is to lift an escalation of this very action.
        Returns: a Decision; every failure is one that denies.
        """
        ours = {
            "session": session,
            "idempotency_key": idempotency_key or str(uuid.uuid4()),
            "dry_run": dry_run or None,
            "tool_call_id": tool_call_id,
            "trace_id": trace_id,
            "span_id": span_id,
            "approval": None if approval is None else {"id": approval},
        }
        resource: dict[str, Any] = {"type": resource_type, "id": tool}
        if properties:
            resource["properties"] = dict(properties)
        question = {
            "subject": {"type": subject_type, "id": agent},
            "action": {"name": action},
            "resource": resource,
            "context": {
                **(context or {}),
                **{name: value for name, value in ours.items() if value is not None},
                "arguments": dict(arguments or {}),
            },
        }
        try:
            digest = arguments_digest(question["context"]["arguments"])
            body = _encode(question)
        except (ValueError, TypeError, RecursionError) as error:
            return denied("invalid_arguments", f"the question has no exact json form: {error}")
        try:
            response = self._send_again_if_dropped("/access/v1/evaluation", body)
        except httpx.HTTPError as error:
            return denied("unreachable", f"no answer: {_describe(error)}", arguments_digest=digest)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            failure = failure_of(response.status_code, answer)
            return denied(
                f"http_{failure.status}", str(failure), arguments_digest=digest, raw=as_object(answer)
            )
        asked = question["context"]["arguments"]
        return read_answer(answer, asked=asked, asked_digest=digest, now=self._now(), modifies=modifies)

    def outcome(
        self,
        decision_id: str,
        status: Literal["succeeded", "failed", "not_executed"],
        *,
        result: Any = None,
        complete: bool = True,
        labels: Iterable[str] = (),
        executed_arguments: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Report what became of an allowed action; once per decision.

        Args:
            result: what the tool returned, as JSON values; later rules may ask where values came from.
            complete: False if `result` was cut.
            executed_arguments: what was really executed; a difference from what was allowed is a finding.
        Raises: ControlPlaneError: not recorded; status 409: an outcome was reported before.
            ValueError: `result` or `executed_arguments` has no exact JSON form; nothing was sent.
        """
        report: dict[str, Any] = {"status": status, "complete": complete}
        if result is not None:
            report["result"] = result
        if labels := list(labels):
            report["labels"] = labels
        if executed_arguments is not None:
            report["executed_digest"] = arguments_digest(executed_arguments)
        return self.request("POST", f"/v1/decisions/{_segment(decision_id)}/outcome", report)

    def decision(self, decision_id: str) -> dict[str, Any]:
        """A past decision as it was answered, with its outcome if one was reported."""
        return self.request("GET", f"/v1/decisions/{_segment(decision_id)}")

    def request_approval(
        self,
        decision: Decision,
        *,
        arguments: Mapping[str, Any] | None = None,
        justification: str = "",
    ) -> dict[str, Any]:
        """Ask people to approve an escalated action. Returns the task; asked again, the same one.

        Args:
            decision: one with a `binding_token`.
            arguments: those that were asked about, for approvers to see; without them they see no values.
            justification: why, in words; at most 2 000 characters.
        Raises: ControlPlaneError. ValueError: nobody can approve this decision; nothing was sent.
        """
        if not decision.binding_token:
            why = f": {decision.message}" if decision.message else ""
            raise ValueError(
                f"decision `{decision.id}` ({decision.effect}) is none that people can approve{why}"
            )
        body: dict[str, Any] = {"binding_token": decision.binding_token, "justification": justification}
        if arguments is not None:
            body["arguments"] = dict(arguments)
        return self.request("POST", "/v1/approvals", body)

    def approval(self, approval_id: str, *, wait_s: int = 0) -> dict[str, Any]:
        """A request for approval as it stands: `state` is `pending`, `partial`, `approved`, `denied`, `expired` or
        `cancelled`; one that was narrowed is for its `approved_arguments`.

        Args: wait_s: how long to wait, up to 30 s, for one that still waits to change.
        Raises: ControlPlaneError.
        """
        path = f"/v1/approvals/{_segment(approval_id)}"
        return self.request("GET", f"{path}?wait_s={wait_s}" if wait_s else path, wait_s=wait_s)

    def open_session(
        self,
        agent: str,
        task: str | None = None,
        *,
        subject_type: str = "agent",
        parent: str | None = None,
        principal: str | None = None,
        scope: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run of an agent. Returns the session's id.

        Args:
            task: what its user asked for: values in it are theirs, and its words tell what is asked for.
            scope: what the session is for, instead of the words: any of `effects`, `tools`, `objects`, `counts`.
            parent: a token from `delegate`: the session joins the workflow of the one that delegated, may do what that
                lets it do, and ends with it. A token opens one session.
            principal: on whose behalf, `type:id`, e.g. `user:ada`; inherited where there is a parent.
        """
        optional = {
            "task": task,
            "parent": parent,
            "principal": principal,
            "scope": _scope(scope),
        }
        body = {"agent": agent, "subject_type": subject_type} | {
            name: value for name, value in optional.items() if value is not None
        }
        return self._text(self.request("POST", "/v1/sessions", body), "session")

    def delegate(
        self,
        session: str,
        to: str,
        *,
        tools: Iterable[str] | None = None,
        depth: int = 0,
        expires_in_s: int = 3600,
        principal: str | None = None,
    ) -> str:
        """Let another agent do part of a session's work. Returns a token, to hand to it; `open_session` takes it once.

        Args:
            session: the one that delegates; the key speaks for its agent.
            to: id of the agent that may use the token, and no other.
            tools: names and globs (`*` stops at a dot, `**` does not); None = whatever the session itself may.
            depth: how many further levels the other may delegate to.
            expires_in_s: from then on neither the token nor what was opened with it is good for anything.
            principal: only to make sure: refused if it is not the session's own, which is inherited anyway.
        """
        body: dict[str, Any] = {"session": session, "to": to, "depth": depth, "expires_in_s": expires_in_s}
        if tools is not None:
            body["tools"] = list(tools)
        if principal is not None:
            body["principal"] = principal
        return self._text(self.request("POST", "/v1/delegations", body), "token")

    def add_task(self, session: str, task: str, *, scope: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Add the user's next turn to a session. Args: scope: what it adds to the session's own."""
        body: dict[str, Any] = {"task": task} | ({} if scope is None else {"scope": _scope(scope)})
        return self.request("POST", f"/v1/sessions/{_segment(session)}/task", body)

    def end_session(self, session: str) -> dict[str, Any]:
        """End a session: nothing is allowed in it from then on."""
        return self.request("POST", f"/v1/sessions/{_segment(session)}/end")

    def request(self, method: str, path: str, json: Any = None, *, wait_s: float = 0) -> dict[str, Any]:
        """Any call of the management API, e.g. `request("GET", "/v1/agents")`.

        Args: wait_s: how much longer than usual the answer may take.
        Raises: ControlPlaneError: no answer, or a status other than 2xx. ValueError: `json` is no JSON.
        """
        body = None if json is None else _encode(json)
        try:
            # Sent again only if the connection was never made: a second `POST` is not always harmless.
            try:
                response = self._send(method, path, body, wait_s)
            except httpx.ConnectError:
                response = self._send(method, path, body, wait_s)
        except httpx.HTTPError as error:
            raise ControlPlaneError(0, "unreachable", f"no answer: {_describe(error)}") from error
        try:
            answer = response.json() if response.content else {}
        except (ValueError, RecursionError):
            answer = None
        if not response.is_success:
            raise failure_of(response.status_code, answer)
        if not isinstance(answer, dict):
            raise ControlPlaneError(response.status_code, "malformed_answer", "the answer is no json object")
        return answer

    @staticmethod
    def _text(answer: Mapping[str, Any], name: str) -> str:
        value = answer.get(name)
        if not isinstance(value, str):
            raise ControlPlaneError(201, "malformed_answer", f"the answer names no {name}")
        return value

    def _send_again_if_dropped(self, path: str, body: bytes) -> httpx.Response:
        """POST; once more with the same idempotency key if the connection failed or broke."""
        try:
            return self._send("POST", path, body)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: bytes | None, wait_s: float = 0) -> httpx.Response:
        headers = {"X-Request-ID": str(uuid.uuid4())}
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout_s = self._timeout_s + wait_s
        return self._http.request(method, path, content=body, headers=headers, timeout=timeout_s)


def _mistake(key: str) -> str:
    if not key:
        return "an empty text"
    if not key.startswith("cp_"):
        return "a text that does not begin with `cp_`"
    if key == "cp_":
        return "nothing after `cp_`"
    odd = next(char for char in key if not _KEY.fullmatch(f"cp_{char}"))
    return f"the character {odd!a} at position {key.index(odd)}"


def _encode(value: Any) -> bytes:
    """Raises: ValueError: it has no exact JSON form."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no json: {error}") from None


def _scope(scope: object) -> object:
    """A scope as JSON. What is no mapping goes as it is, to be refused: `dict([])` would be a scope without limits."""
    return dict(scope) if isinstance(scope, Mapping) else scope


def _segment(identifier: str) -> str:
    if not isinstance(identifier, str):
        raise TypeError(f"an id is a text, such as `task['id']`; found {type(identifier).__name__}")
    return quote(identifier, safe="")


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
