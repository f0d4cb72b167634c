"""What a trace is replayed against: the service over HTTP, or the engine in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.trace_replay.trace import Call, Result
from policies.action import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """How an agent is registered before a trace begins.

    Attributes:
        tools: what it may call for itself; the attribute `tools` that rules can read. None = nothing is said.
        standing: whether it may act without a session, in nobody's name.
    """

    id: str
    tools: tuple[str, ...] | None = None
    standing: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was decided about one step.

    Attributes:
        effect: `allow`, `deny`, `modify` or `escalate`.
        decision: to report the result under; empty where there is nothing to report on.
        rules: names of those that led to it.
    """

    effect: str
    reason_code: str = ""
    rules: tuple[str, ...] = ()
    message: str = ""
    decision: str = ""

    @property
    def stopped(self) -> bool:
        return self.effect in ("deny", "escalate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A delegation or a session that was not given."""

    code: str
    message: str = ""


class NotDecided(Exception):
    """There was no decision: no answer, or an error. Counts as nothing; the replay ends."""


class Backend(Protocol):
    """Anything that decides. Every method may raise NotDecided.

    None of them takes a label, or the name of a trace, task or step: see `trace`.
    """

    def begin(self, agents: Sequence[Agent], *, now_us: int) -> None:
        """A new trace, of these agents. What happened in earlier traces is no past of its sessions."""

    def clock(self, now_us: int) -> None:
        """What time it is from now on; a service that has a clock of its own keeps it."""

    def open_session(self, subject: str, task: str | None, scope: Mapping[str, Json] | None = None) -> str:
        """A session that begins a workflow, for a subject (`type:id`), and what is declared of it; returns its name."""

    def add_task(self, session: str, task: str) -> None:
        """The user's next turn."""

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
        """Ask for a delegation token in the name of a session of `by` (`type:id`)."""

    def accept(self, token: str, *, agent: str) -> str | Refused:
        """Open a session with a delegation token."""

    def decide(self, call: Call, session: str | None) -> Answer:
        """May this be called? `session` None = the agent names none."""

    def report(self, decision: str, result: Result) -> None:
        """What a permitted call returned."""
