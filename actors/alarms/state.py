"""Which alarms are on: each begins once and ends once, however often what it is about comes and goes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

EVIDENCE_LAG: Final = "evidence_lag"
EVIDENCE_GAP: Final = "evidence_gap"
LANDING_FAILED: Final = "evidence_landing_failed"
DISK_LOW: Final = "evidence_disk_low"
CODES: Final = (EVIDENCE_LAG, EVIDENCE_GAP, LANDING_FAILED, DISK_LOW)

ENDS_AFTER_S: Final = 30.0
"""How long what an alarm is about must be over: what comes and goes is one alarm."""
FAILING_S: Final = 5.0
"""How long landing must fail, attempt after attempt: a single conflict is none."""
_HOLDS_S: Final = {LANDING_FAILED: FAILING_S}

MOST_ON: Final = 100
"""Further ones begin once others have ended."""


class Condition(NamedTuple):
    """What an alarm is about: a code of `CODES`, and whose or where (a log, a disk; empty: the whole)."""

    code: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One that is on. `says`: what was found, in words. `since_us`: when it began, microseconds since the epoch."""

    code: str
    about: str
    says: str
    since_us: int

    @property
    def condition(self) -> Condition:
        return Condition(self.code, self.about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one observation changed."""

    begun: tuple[Alarm, ...]
    ended: tuple[Alarm, ...]


class Alarms:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._on: dict[Condition, Alarm] = {}
        self._true_since_s: dict[Condition, float] = {}
        self._last_true_s: dict[Condition, float] = {}

    def restore(self, alarms: Iterable[Alarm], *, now_s: float) -> None:
        """Take over what an earlier process had begun; it ends here if it is not seen again."""
        for alarm in alarms:
            begun = self._on.get(alarm.condition, alarm)
            self._on[alarm.condition] = replace(begun, since_us=alarm.since_us)
            self._last_true_s.setdefault(alarm.condition, now_s)

    def observe(self, found: Mapping[Condition, str], *, now_s: float, now_us: int) -> Changes:
        """Take in what is the case now.

        Args:
            found: what is the case, and in which words.
            now_s: monotonic clock. now_us: wall clock, microseconds since the epoch.
        """
        for condition in self._true_since_s.keys() - found.keys():
            del self._true_since_s[condition]
        begun = []
        for condition, says in found.items():
            since_s = self._true_since_s.setdefault(condition, now_s)
            self._last_true_s[condition] = now_s
            if (known := self._on.get(condition)) is not None:
                self._on[condition] = replace(known, says=says)
            elif len(self._on) < MOST_ON and now_s - since_s >= _HOLDS_S.get(condition.code, 0.0):
                self._on[condition] = alarm = Alarm(
                    code=condition.code, about=condition.about, says=says, since_us=now_us
                )
                begun.append(alarm)
        over = [one for one in self._on if now_s - self._last_true_s[one] >= ENDS_AFTER_S]
        ended = [self._on.pop(condition) for condition in over]
        self._last_true_s = {
            one: at_s for one, at_s in self._last_true_s.items() if one in self._on or one in found
        }
        return Changes(begun=tuple(begun), ended=tuple(ended))

    def on(self) -> list[Alarm]:
        """Those that are on, the oldest first."""
        return sorted(self._on.values(), key=lambda alarm: (alarm.since_us, alarm.condition))
