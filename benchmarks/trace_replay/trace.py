"""A trace in two halves: what an engine may see of it, and what only the judge may know.

INVARIANT (hidden labels): whatever replays a trace is given `Seen` and nothing else. It has no room for a kind, a
label, a goal, or the name of a trace or task, so that no backend can come to know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from policies.action import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call returned.

    Attributes:
        value: JSON where the text was JSON, else the text; None = the file has none.
        complete: False where the file cut it, or has none.
    """

    value: Json = None
    complete: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An agent calls a tool.

    Attributes:
        number: which step of the file it is, from 0.
        turn: how many of the user's turns had been said by then, less one.
        at_s: since the trace began; None = the trace has no times.
        envelope: number of the delegation that it acts under; None = it names none.
    """

    number: int
    agent: str
    tool: str
    arguments: Mapping[str, Json]
    result: Result
    turn: int = 0
    at_s: float | None = None
    envelope: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """Somebody hands work to an agent.

    Attributes:
        by: subject, `type:id`.
        tools: what the child may call; None = it is not said.
        depth: how many further levels the child may delegate to, of what the user granted.
        principal: on whose behalf, `type:id`.
        envelope: number of the delegation that `by` acts under; None = it begins the workflow.
        again: number of an earlier delegation whose envelope is presented once more; None = it is a new one.
    """

    number: int
    by: str
    to: str
    tools: tuple[str, ...] | None = None
    depth: int | None = None
    expires_in_s: float | None = None
    principal: str | None = None
    at_s: float | None = None
    envelope: int | None = None
    again: int | None = None


Step: TypeAlias = Call | Delegation


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an engine may see.

    Attributes:
        agent: who acts where nothing is delegated.
        turns: what the user asked for, turn by turn; empty = it is not known.
        agents: what each agent is registered to call; empty = they are registered by name alone.
        scope: what the workflow is for, as somebody declared it who saw the prompt; None = nobody did.
    """

    agent: str
    turns: tuple[str, ...]
    steps: tuple[Step, ...]
    agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scope: Mapping[str, Json] | None = None

    @property
    def timed(self) -> bool:
        return any(step.at_s is not None for step in self.steps)

    @property
    def several(self) -> bool:
        """Whether several agents act."""
        return len(self.agents) > 1 or any(isinstance(step, Delegation) for step in self.steps)

    @property
    def cut(self) -> bool:
        """Whether the file holds some result in part only."""
        return any(
            isinstance(step, Call) and step.result.value is not None and not step.result.complete
            for step in self.steps
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What only the judge may know.

    Attributes:
        attack_steps: numbers of the steps that are part of the attack; None = any may be.
        skipped: numbers of the steps that the customer did.
    """

    trace_id: str
    kind: str
    variant: str
    attack_steps: frozenset[int] | None = None
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    seen: Seen
    labels: Labels
