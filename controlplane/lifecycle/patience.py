"""When to start the service or the cluster again: a decision over what the decision endpoint says of itself. Pure."""

from __future__ import annotations

from enum import StrEnum

from controlplane.lifecycle.readiness import Answer, Readiness

PATIENCE_S = 20.0
"""How long something may be wrong before we step in: Ray itself restarts actors in about two."""
STARTER_RUNS = 2
"""How often the service is started again before the cluster is."""
LONGEST_PATIENCE_S = 600.0


class Step(StrEnum):
    """What to do now."""

    WAIT = "wait"
    START_SERVICE = "start the service"
    """Run the starter: it creates actors that are gone and ends those that hang, so that Ray starts them anew."""
    START_CLUSTER = "start the cluster"


class Patience:
    """Remembers since when not all is well, and what was tried.

    A host that does not answer harms nobody but its own agents, and a silent evidence writer nobody at once: neither
    ever costs the others their cluster. The starter is run for them again and again, less and less often.

    Args:
        now_s: monotonic clock; all is taken to be well then.
    """

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._tried = 0
        self._tried_for_parts = 0

    def step(self, answer: Answer, now_s: float) -> Step:
        """What to do about an answer."""
        deciding = answer.readiness is Readiness.READY
        if deciding and not answer.silent:
            self._since_s, self._tried, self._tried_for_parts = now_s, 0, 0
            return Step.WAIT
        patience_s = PATIENCE_S
        if deciding:
            patience_s = min(PATIENCE_S * 2**self._tried_for_parts, LONGEST_PATIENCE_S)
        if now_s - self._since_s <= patience_s:
            return Step.WAIT
        if deciding:
            self._tried_for_parts += 1
            return Step.START_SERVICE
        self._tried += 1
        return Step.START_SERVICE if self._tried <= STARTER_RUNS else Step.START_CLUSTER

    def tried(self, now_s: float) -> None:
        """What was to be done has been done: patience begins anew."""
        self._since_s = now_s
