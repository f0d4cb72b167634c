"""Replay one trace: each step decided in its place, what was permitted reported, and on after whatever was stopped.

An agent that is stopped goes on with its next step, as if it had taken no notice: the worst that it can do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from benchmarks.trace_replay.backend import Agent, Answer, Backend, Refused
from benchmarks.trace_replay.trace import Call, Delegation, Seen, Step

EPOCH_US = 1_767_600_000_000_000
"""When every trace begins on its own clock: 2026-01-05T08:00:00Z."""
STEP_US = 1_000_000
"""Between two steps of a trace that has no times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    step: Step
    answer: Answer


def replay(seen: Seen, backend: Backend) -> list[Answered]:
    """Tell a backend one trace, from an empty past.

    Raises: NotDecided.
    """
    return list(_Replay(seen, backend).steps())


class _Replay:
    """One trace on its way.

    Whoever begins the workflow has a session of its own: the user, where the user delegates, else the trace's agent.
    Every other session is opened with a token.
    """

    def __init__(self, seen: Seen, backend: Backend) -> None:
        self._seen = seen
        self._backend = backend
        first = next((step for step in seen.steps if isinstance(step, Delegation)), None)
        by_user = first is not None and not first.by.startswith("agent:")
        self._begun_by = first.by if first is not None and by_user else f"agent:{seen.agent}"
        self._root: str | None = None
        self._turn = 0
        self._tokens: dict[int, str] = {}
        self._sessions: dict[int, str] = {}

    def steps(self) -> Iterator[Answered]:
        backend = self._backend
        backend.begin(self._agents(), now_us=EPOCH_US)
        for number, step in enumerate(self._seen.steps):
            after_us = number * STEP_US if step.at_s is None else round(step.at_s * 1_000_000)
            backend.clock(EPOCH_US + after_us)
            match step:
                case Call():
                    yield Answered(step=step, answer=self._call(step))
                case Delegation():
                    yield Answered(step=step, answer=self._delegation(step))
                case _:
                    assert_never(step)

    def _agents(self) -> list[Agent]:
        """One agent acts for its user at once; of several each acts on what was delegated to it, and not otherwise."""
        tools_of = self._seen.agents
        if not self._seen.several:
            return [Agent(id=self._seen.agent, tools=tools_of.get(self._seen.agent))]
        named = {step.agent if isinstance(step, Call) else step.to for step in self._seen.steps}
        names = sorted({self._seen.agent, *named, *tools_of})
        return [Agent(id=name, tools=tools_of.get(name), standing=False) for name in names]

    def _call(self, call: Call) -> Answer:
        session = self._session(f"agent:{call.agent}", call.envelope)
        self._say_turns_until(call.turn)
        answer = self._backend.decide(call, session)
        if not answer.stopped:
            self._backend.report(answer.decision, call.result)
        return answer

    def _delegation(self, step: Delegation) -> Answer:
        """Decided twice: when a token is asked for, and when it is used."""
        made = step.number if step.again is None else step.again
        if step.again is None:
            token = self._delegated(step)
            if isinstance(token, Refused):
                return _denied(token)
            self._tokens[made] = token
        elif made not in self._tokens:
            return _denied(Refused(code="no_token", message="what is presented again was never given"))
        session = self._backend.accept(self._tokens[made], agent=step.to)
        if isinstance(session, Refused):
            return _denied(session)
        self._sessions[made] = session
        return Answer(effect="allow", reason_code="delegated")

    def _delegated(self, step: Delegation) -> str | Refused:
        session = self._session(step.by, step.envelope)
        if session is None:
            return Refused(code="no_session", message=f"`{step.by}` has no session to delegate from")
        return self._backend.delegate(
            session,
            by=step.by,
            to=step.to,
            tools=step.tools,
            depth=step.depth,
            expires_in_s=step.expires_in_s,
            principal=step.principal,
        )

    def _session(self, subject: str, envelope: int | None) -> str | None:
        if envelope is not None:
            return self._sessions.get(envelope)
        if subject != self._begun_by:
            return None
        if self._root is None:
            turns = self._seen.turns
            self._root = self._backend.open_session(subject, turns[0] if turns else None, self._seen.scope)
            if self._begun_by != f"agent:{self._seen.agent}":
                self._say_turns_until(len(turns) - 1)
        return self._root

    def _say_turns_until(self, turn: int) -> None:
        while self._root is not None and self._turn < min(turn, len(self._seen.turns) - 1):
            self._turn += 1
            self._backend.add_task(self._root, self._seen.turns[self._turn])


def _denied(refused: Refused) -> Answer:
    return Answer(effect="deny", reason_code=refused.code, message=refused.message)
