"""What clients were told, in their own words: the side of the story that the evidence table is compared with."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer to one attempt, or the lack of one.

    Attributes:
        call: what the attempt was for; travels as `tool_call_id`, so that the table's rows can be told apart. All
            attempts under one idempotency key share it.
        key: the idempotency key, if there was one.
        status: of HTTP; 0 = no answer.
        reason: `reason_code` of a decision, or why there is none.
        sent_s, ended_s: monotonic clock.
    """

    agent: str
    call: str
    key: str | None
    may: bool  # whether the policy allows these arguments
    deadline_s: float
    sent_s: float
    ended_s: float
    status: int
    id: str = ""
    effect: str = ""
    reason: str = ""
    bundle: str = ""
    replayed: bool = False

    @property
    def permitted(self) -> bool:
        return self.effect == "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One attempt to report an outcome; fields as in `Told`."""

    agent: str
    deadline_s: float
    sent_s: float
    ended_s: float
    status: int


@dataclass(slots=True)
class Record:
    """Everything that clients were told. Thread-safe."""

    answers: list[Told] = field(default_factory=list)
    reports: list[Reported] = field(default_factory=list)
    outcomes: dict[str, bool] = field(default_factory=dict)  # decision id → acknowledged (or only sent)
    allowed_s: dict[str, float] = field(default_factory=dict)  # agent → when its newest allow was asked for
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, told: Told) -> None:
        with self._lock:
            self.answers.append(told)
            if told.permitted:
                self.allowed_s[told.agent] = max(told.sent_s, self.allowed_s.get(told.agent, 0.0))

    def add_report(self, reported: Reported) -> None:
        with self._lock:
            self.reports.append(reported)

    def outcome(self, decision: str, *, acknowledged: bool) -> None:
        with self._lock:
            self.outcomes[decision] = acknowledged or self.outcomes.get(decision, False)

    def since(self, position: int) -> list[Told]:
        with self._lock:
            return self.answers[position:]

    def decisions(self) -> dict[str, Told]:
        """By id; a replay is the decision that it repeats."""
        found: dict[str, Told] = {}
        for told in self.since(0):
            if told.id:
                found.setdefault(told.id, told)
        return found

    def by_key(self) -> dict[str, list[Told]]:
        found: dict[str, list[Told]] = defaultdict(list)
        for told in self.since(0):
            if told.key is not None and told.id:
                found[told.key].append(told)
        return found

    def failures(self, position: int = 0) -> Counter[str]:
        """Why attempts got no decision, counted."""
        return Counter(f"{told.status} {told.reason}" for told in self.since(position) if not told.id)
