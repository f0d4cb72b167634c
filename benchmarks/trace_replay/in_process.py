"""The engine in this process: no service, no disk, the trace's own clock.

What a door adds to the engine is repeated here, small as it is: an agent's registration, and tokens that are used once,
by the agent that they were made for, in the principal's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.trace_replay.backend import Agent, Answer, Refused
from benchmarks.trace_replay.trace import Call, Result
from policies.action import Json, Resource, Subject
from policies.asked.scope import read_scope
from policies.bundle import Bundle
from policies.catalog import TOOL
from policies.delegation import Grant, Refusal
from policies.engine import Engine, EngineDecision
from policies.engine_session import EngineSession

_EXPIRES_IN_S = 3600


@dataclass(slots=True, kw_only=True)
class _Session:
    subject: str
    principal: str
    session: EngineSession


@dataclass(slots=True, kw_only=True)
class _Token:
    parent: _Session
    to: str
    grant: Grant
    used: bool = False


class InProcess:
    """Decides with one bundle; implements `Backend`."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine = Engine(bundle)
        self._agents: dict[str, Agent] = {}
        self._sessions: dict[str, _Session] = {}
        self._tokens: dict[str, _Token] = {}
        self._decisions: dict[str, tuple[EngineDecision, Resource]] = {}
        self._made = 0
        self._now_us = 0

    def begin(self, agents: Sequence[Agent], *, now_us: int) -> None:
        self._engine.forget()
        self._agents = {agent.id: agent for agent in agents}
        self._sessions, self._tokens, self._decisions = {}, {}, {}
        self._now_us = now_us

    def clock(self, now_us: int) -> None:
        self._now_us = max(self._now_us, now_us)

    def open_session(self, subject: str, task: str | None, scope: Mapping[str, Json] | None = None) -> str:
        name = f"session {len(self._sessions)}"
        opened = self._engine.open_session(
            name, self._subject(subject), task=task, scope=None if scope is None else read_scope(scope)
        )
        self._sessions[name] = _Session(subject=subject, principal=subject, session=opened)
        return name

    def add_task(self, session: str, task: str) -> None:
        self._engine.add_task(self._sessions[session].session, task)

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
        parent = self._sessions[session]
        if parent.subject != by:
            return Refused(code="unknown_session", message=f"it is not a session of `{by}`")
        if principal is not None and principal != parent.principal:
            return Refused(
                code="principal_mismatch", message=f"the session is on behalf of `{parent.principal}`"
            )
        lasts_us = round((_EXPIRES_IN_S if expires_in_s is None else expires_in_s) * 1_000_000)
        asked = Grant(
            tools=None if tools is None else tuple(tools),
            expires_us=self._now_us + lasts_us,
            depth=depth or 0,
        )
        grant = self._engine.delegate(parent.session, asked, now_us=self._now_us)
        if isinstance(grant, Refusal):
            return Refused(code=grant.code, message=grant.message)
        name = f"token {len(self._tokens)}"
        self._tokens[name] = _Token(parent=parent, to=to, grant=grant)
        return name

    def accept(self, token: str, *, agent: str) -> str | Refused:
        found = self._tokens[token]
        if found.to != agent:
            return Refused(code="foreign_delegation", message=f"it is for `{found.to}`")
        if found.used:
            return Refused(code="delegation_used", message="a delegation opens one session")
        if found.grant.expires_us <= self._now_us:
            return Refused(code="delegation_expired")
        found.used = True
        name, subject = f"session {len(self._sessions)}", f"agent:{agent}"
        opened = self._engine.open_session(
            name, self._subject(subject), parent=found.parent.session, grant=found.grant
        )
        self._sessions[name] = _Session(subject=subject, principal=found.parent.principal, session=opened)
        return name

    def decide(self, call: Call, session: str | None) -> Answer:
        subject = f"agent:{call.agent}"
        found = self._standing(call.agent) if session is None else self._sessions[session]
        if found is None:
            return Answer(effect="deny", reason_code="session_required")
        if found.subject != subject:
            return Answer(effect="deny", reason_code="unknown_session")
        decision = self._engine.decide(
            found.session,
            resource=Resource(type=TOOL, id=call.tool),
            arguments=call.arguments,
            context={},
            now_us=self._now_us,
        )
        self._made += 1
        name = f"decision {self._made}"
        self._decisions[name] = (decision, Resource(type=TOOL, id=call.tool))
        verdict = decision.verdict
        return Answer(
            effect=str(verdict.effect),
            reason_code=verdict.reason_code,
            rules=tuple(reason.rule for reason in verdict.reasons),
            message=decision.prepared.detail or next((reason.because for reason in verdict.reasons), ""),
            decision=name,
        )

    def report(self, decision: str, result: Result) -> None:
        status = "failed" if result.failed else "succeeded"
        decided, resource = self._decisions.pop(decision)
        self._engine.report(
            decided,
            status,
            witnessed=True,
            resource=resource,
            result=result.value,
            complete=result.complete,
        )

    def _standing(self, agent: str) -> _Session | None:
        """The session in which an agent acts that names none; None = it may not."""
        registered = self._agents.get(agent)
        if registered is None or not registered.standing:
            return None
        name, subject = f"standing session of {agent}", f"agent:{agent}"
        if name not in self._sessions:
            opened = self._engine.open_session(name, self._subject(subject))
            self._sessions[name] = _Session(subject=subject, principal=subject, session=opened)
        return self._sessions[name]

    def _subject(self, subject: str) -> Subject:
        kind, _, name = subject.partition(":")
        registered = self._agents.get(name) if kind == "agent" else None
        attributes: dict[str, Json] = {}
        if registered is not None and registered.tools is not None:
            attributes["tools"] = list(registered.tools)
        return Subject(type=kind, id=name, attributes=attributes)
