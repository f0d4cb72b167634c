"""The SDK's client, with a stopwatch and a list: what was decided, how fast, what did not go through."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from controlplane_sdk import ControlPlane, ControlPlaneError, Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One decision as the client received it, what it was about, and the time from asking to knowing."""

    tool: str
    arguments: str
    decision: Decision
    duration_us: float


class MeteredControlPlane(ControlPlane):
    """A client that remembers; `failures` holds one line for every call that did not get through."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decided: list[Timed] = []
        self.outcomes = 0
        self.failures: list[str] = []

    def decide(self, **question: Any) -> Decision:
        """As `ControlPlane.decide`; a deny that the control plane did not answer is noted as a failure."""
        started_ns = time.perf_counter_ns()
        decision = super().decide(**question)
        took_us = (time.perf_counter_ns() - started_ns) / 1_000
        if decision.id:
            tool, arguments = (
                str(question.get("tool")),
                json.dumps(question.get("arguments"), ensure_ascii=False),
            )
            self.decided.append(Timed(tool=tool, arguments=arguments, decision=decision, duration_us=took_us))
        if decision.raw.get("decision") is not decision.allowed:
            self.failures.append(f"decide {question.get('tool')}: {decision.reason_code}")
        return decision

    def outcome(self, decision_id: str, *args: Any, **report: Any) -> dict[str, Any]:
        """As `ControlPlane.outcome`, but a failure is noted, not raised: the demo goes on and shows it."""
        try:
            answer = super().outcome(decision_id, *args, **report)
        except ControlPlaneError as error:
            self.failures.append(f"outcome of `{decision_id}`: {error}")
            return {}
        self.outcomes += 1
        return answer


def decided_ids(decided: Iterable[Timed]) -> set[str]:
    """The ids under which the decisions must stand in the evidence."""
    return {timed.decision.id for timed in decided}
