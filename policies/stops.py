"""Stops that rules bring about: whom a denial takes out of service, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

STOPPED: Final = "stopped"
"""Reason code of whatever meets a stop."""


class StopClause(NamedTuple):
    """What a rule that denies stops.

    Args:
        agent: the agent that acted, wherever it acts; nothing of a subject that is no agent.
        workflow: the workflow that it acted in.
        lasts_us: for how long; None = until an operator releases it.
    """

    agent: bool
    workflow: bool
    lasts_us: int | None

    def until_us(self, now_us: int) -> int | None:
        """When a stop that begins now is over; None = not by itself."""
        return None if self.lasts_us is None else now_us + self.lasts_us


class StoppedNames:
    """Who is stopped, for an engine in one process: by kind and name, until when."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], int | None] = {}

    def stop(
        self,
        clauses: Mapping[str, StopClause],
        rules: Iterable[str],
        *,
        agent: str | None,
        workflow: str,
        now_us: int,
    ) -> None:
        """What the rules that denied an action bring about.

        Args:
            clauses: of the bundle, by rule.
            rules: that were reported.
            agent: key of the acting agent; None = the subject is none.
        """
        for rule in rules:
            clause = clauses.get(rule)
            if clause is None:
                continue
            named = (
                ("agent", agent if clause.agent else None),
                ("workflow", workflow if clause.workflow else None),
            )
            for kind, name in named:
                if name is not None:
                    self._until[kind, name] = _later(
                        self._until.get((kind, name), 0), clause.until_us(now_us)
                    )

    def meets(self, *, agents: Iterable[str], workflow: str, now_us: int) -> bool:
        """Whether any of these agents, or the workflow, is stopped now. Cost: nothing while nobody is."""
        if not self._until:
            return False
        names = [("workflow", workflow), *(("agent", agent) for agent in agents)]
        return any(
            name in self._until and ((until_us := self._until[name]) is None or now_us < until_us)
            for name in names
        )


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
