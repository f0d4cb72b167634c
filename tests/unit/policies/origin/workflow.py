"""One workflow in a test: what its user asks, its tools tell and its agents do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.catalog import ArgumentType
from policies.origin import Fact, Judged, Origins, TokenHasher, told_by_result, told_by_task, units_of, worst

HASHER = TokenHasher(b"a key of every replica")


class Workflow:
    def __init__(self, task: str = "") -> None:
        self.origins = Origins()
        self._last = 0
        if task:
            self.task(task)

    def task(self, text: str) -> None:
        self.origins.task(told_by_task(text, HASHER))

    def read(
        self,
        result: Any,
        returns: str | Mapping[str, str] = "untrusted",
        *,
        by: Mapping[str, Any] | None = None,
        complete: bool = True,
        trusting: bool = True,
        escaped: bool = False,
    ) -> int:
        """A permitted call, its arguments and its result; its number."""
        self._last += 1
        units = units_of(by or {}, None, HASHER)
        looked_up = self.origins.asked_by(units)
        self.origins.uttered(units)
        told = told_by_result(
            result,
            {"default": returns} if isinstance(returns, str) else returns,
            default="untrusted",
            hasher=HASHER,
            complete=complete,
            escaped=escaped,
        )
        self.origins.result(told, source=self._last, looked_up=looked_up, trusting=trusting)
        return self._last

    def say(self, **arguments: Any) -> None:
        """A permitted call without a result."""
        self.origins.uttered(units_of(arguments, None, HASHER))

    def judged(self, role: str | None = "destination", **arguments: Any) -> Judged:
        """The worst of what the arguments of a call hold."""
        types = {name: ArgumentType(role=role) for name in arguments}
        found = [self.origins.judge(unit) for unit in units_of(arguments, types, HASHER)]
        return max(found, key=lambda one: (one.over_bound, one.fact.badness))

    def fact(self, value: Any, role: str = "destination") -> Fact:
        types = {"to": ArgumentType(role=role)}
        return worst(self.origins.judge(unit).fact for unit in units_of({"to": value}, types, HASHER))
