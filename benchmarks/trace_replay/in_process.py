"""The engine in this process: no service, no disk, the trace's own clock."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.trace_replay.backend import Agent, Answer, Refused
from benchmarks.trace_replay.trace import Call, Result
from policies.action import Action, Json, Resource, Subject
from policies.bundle import Bundle
from policies.catalog import TOOL
from policies.prepare import Preparer
from policies.verdict import decide


class InProcess:
    """Decides with one bundle; implements `Backend`."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._preparer = Preparer(bundle)
        self._agents: dict[str, Agent] = {}
        self._now_us = 0

    def begin(self, agents: Sequence[Agent], *, now_us: int) -> None:
        self._agents = {agent.id: agent for agent in agents}
        self._now_us = now_us

    def clock(self, now_us: int) -> None:
        self._now_us = max(self._now_us, now_us)

    def open_session(self, subject: str, task: str | None) -> str:
        return subject

    def add_task(self, session: str, task: str) -> None:
        pass

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
        return Refused(code="not_supported_yet", message="this engine does not delegate yet")

    def accept(self, token: str, *, agent: str) -> str | Refused:
        return Refused(code="not_supported_yet", message="this engine does not delegate yet")

    def decide(self, call: Call, session: str | None) -> Answer:
        agent = self._agents.get(call.agent)
        if session is None and (agent is None or not agent.standing):
            return Answer(effect="deny", reason_code="session_required")
        attributes: dict[str, Json] = {}
        if agent is not None and agent.tools is not None:
            attributes["tools"] = list(agent.tools)
        action = Action(
            tenant="default",
            subject=Subject(type="agent", id=call.agent, attributes=attributes),
            name="call",
            resource=Resource(type=TOOL, id=call.tool),
            arguments=call.arguments,
            now_us=self._now_us,
        )
        prepared = self._preparer.prepare(action)
        verdict = decide(
            self._bundle,
            possibly=prepared.possibly,
            certainly=prepared.certainly,
            refusal=prepared.refusal,
        )
        return Answer(
            effect=str(verdict.effect),
            reason_code=verdict.reason_code,
            rules=tuple(reason.rule for reason in verdict.reasons),
            message=prepared.detail or next((reason.because for reason in verdict.reasons), ""),
        )

    def report(self, decision: str, result: Result) -> None:
        pass
