"""The real service, over HTTP, as a gateway in front of the agents uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from benchmarks.trace_replay.backend import Agent, Answer, NotDecided, Refused
from benchmarks.trace_replay.trace import Call, Result
from controlplane_sdk import ControlPlane, ControlPlaneError
from policies.action import Json

_REFUSALS = (403, 404, 409)
"""Statuses with which a delegation or a session is refused for what was asked; any other is trouble."""
_UNDECIDED = frozenset(
    (
        "unknown_agent", "unknown_subject", "no_active_bundle", "bundle_lagging", "lease_expired", "clock_uncertain",
        "deadline_passed", "key_revoked", "key_expired",
    )
)  # fmt: skip
"""Denials that say nothing about the action: to count them as stopped would flatter the policies."""


class OverHttp:
    """Decides by asking a control plane; implements `Backend`.

    Args:
        operator: registers agents.
        gateway: its key speaks for every agent and user, with the grants `workflows` and `witness`.
    """

    def __init__(self, operator: ControlPlane, gateway: ControlPlane) -> None:
        self._operator = operator
        self._gateway = gateway
        self._registered: dict[str, Agent] = {}

    def begin(self, agents: Sequence[Agent], *, now_us: int) -> None:
        for agent in agents:
            if self._registered.get(agent.id) == agent:
                continue
            attributes = {} if agent.tools is None else {"tools": list(agent.tools)}
            record = {"id": agent.id, "standing": agent.standing, "attributes": attributes}
            _sent(self._operator, "/v1/agents", record)
            self._registered[agent.id] = agent

    def clock(self, now_us: int) -> None:
        """The service's time is its own."""

    def open_session(self, subject: str, task: str | None, scope: Mapping[str, Json] | None = None) -> str:
        kind, _, name = subject.partition(":")
        if kind != "agent":
            _sent(self._operator, "/v1/principals", {"id": name, "type": kind})
        body: dict[str, Any] = {"agent": name, "subject_type": kind}
        body |= {} if task is None else {"task": task}
        body |= {} if scope is None else {"scope": dict(scope)}
        return str(_sent(self._gateway, "/v1/sessions", body)["session"])

    def add_task(self, session: str, task: str) -> None:
        _sent(self._gateway, f"/v1/sessions/{quote(session, safe='')}/task", {"task": task})

    def delegate(
        self,
        session: str,
        *,
        by: str,
        to: str,
        tools: Sequence[str] | None,
        depth: int | None,
        expires_in_s: float | None,
        principal: str | None,
    ) -> str | Refused:
        asked = {
            "session": session,
            "to": to,
            "tools": None if tools is None else list(tools),
            "depth": depth,
            "expires_in_s": None if expires_in_s is None else int(expires_in_s),
            "principal": principal,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        return _granted(self._gateway, "/v1/delegations", body, "token")

    def accept(self, token: str, *, agent: str) -> str | Refused:
        return _granted(self._gateway, "/v1/sessions", {"agent": agent, "parent": token}, "session")

    def decide(self, call: Call, session: str | None) -> Answer:
        context: dict[str, Any] = {"arguments": dict(call.arguments)}
        if session is not None:
            context["session"] = session
        question = {
            "subject": {"type": "agent", "id": call.agent},
            "action": {"name": "call"},
            "resource": {"type": "tool", "id": call.tool},
            "context": context,
        }
        answer = _sent(self._gateway, "/access/v1/evaluation", question)
        said = answer["context"]
        if said.get("reason_code") in _UNDECIDED:
            raise NotDecided(f"{call.tool}: {said['reason_code']}: {said.get('detail', '')}")
        reasons = said.get("reasons") or []
        return Answer(
            effect=said["effect"],
            reason_code=said.get("reason_code", ""),
            rules=tuple(reason["rule"] for reason in reasons),
            message=said.get("detail") or next((reason["because"] for reason in reasons), ""),
            decision=said["id"],
        )

    def report(self, decision: str, result: Result) -> None:
        report: dict[str, Any] = {
            "status": "failed" if result.failed else "succeeded",
            "complete": result.complete,
        }
        if result.value is not None:
            report["result"] = result.value
        _sent(self._gateway, f"/v1/decisions/{decision}/outcome", report)


def _sent(client: ControlPlane, path: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return client.request("POST", path, body)
    except (ControlPlaneError, ValueError) as error:
        raise NotDecided(f"POST {path}: {error}") from error


def _granted(client: ControlPlane, path: str, body: dict[str, Any], what: str) -> str | Refused:
    try:
        return str(client.request("POST", path, body)[what])
    except ControlPlaneError as error:
        if error.status in _REFUSALS:
            return Refused(code=error.code, message=error.message)
        raise NotDecided(f"POST {path}: {error}") from error
