"""What a replay came to: how many answers would change, from what to what, by which rules, and what stays open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from policies.bundle import Bundle
from policies.past.retention import HISTORY_US
from policies.prepare import MISSING_ARGUMENT, UNCATALOGUED_RESOURCE, UNLISTED_ACTION, UNLISTED_ARGUMENT
from policies.replay.knowledge import Knowledge
from policies.replay.recorded import RecordedAction, RecordedOutcome
from policies.replay.replay import Judged, Replay
from policies.replay.told import NOTHING, Telling
from policies.rewriting import REWRITE_REFUSED, REWRITE_UNSTABLE

MOST_SAMPLES: Final = 5

_OF_BUNDLES: Final = frozenset(
    (
        "rule_allow", "rule_deny", "rule_escalate", "rule_modify", "default_allow", "default_deny",
        UNCATALOGUED_RESOURCE, UNLISTED_ACTION, UNLISTED_ARGUMENT, MISSING_ARGUMENT, REWRITE_REFUSED, REWRITE_UNSTABLE,
    )
)  # fmt: skip
"""Reason codes of answers that another bundle could change."""


@dataclass(slots=True)
class Tally:
    """How often, and the ids of the first few decisions."""

    count: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, decision: str) -> None:
        self.count += 1
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Answers that would change alike.

    Args:
        rule: of the `new` bundle that would decide now, or of the `recorded` one that decided then; None = all
            together.
    """

    was: str
    would_be: str
    count: int
    samples: tuple[str, ...]
    rule: str | None = None
    of: Literal["new", "recorded", "all"] = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A rule that hidden values keep from being decided."""

    rule: str
    count: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """What would have changed.

    Args:
        before: actions told for their past alone, which are not judged.
        decisions: judged; unchanged + changed + undecided. other_reasons: of the unchanged, those that other rules
            would decide.
        not_judged: reason code → answers that no bundle changes, such as those to sessions that had ended.
        doubts: why answers are undecided; `(arguments)` = whether the catalog takes them.
        told: decisions whose own bundle was at hand, so that what it found about hidden values could be used.
    """

    before: int
    decisions: int
    unchanged: int
    changed: int
    undecided: int
    other_reasons: int
    not_judged: Mapping[str, int]
    shifts: tuple[Shift, ...]
    rules: tuple[Shift, ...]
    doubts: tuple[Doubt, ...]
    told: int


class Simulation:
    """Tells a record, in order, to a bundle.

    Args:
        recorded: bundles that decided, by digest: what they found is used where it says something about this one.
        since_us: what is before belongs to the past, and is not judged.
    Cost: that of `Replay` for each action.
    """

    def __init__(self, bundle: Bundle, recorded: Mapping[str, Bundle], *, since_us: int) -> None:
        knowledge = Knowledge(bundle)
        self._replay = Replay(bundle, knowledge)
        self._tellings = {digest: Telling(old, bundle, knowledge) for digest, old in recorded.items()}
        self._since_us = since_us
        self._before = self._unchanged = self._other = self._undecided = self._told = 0
        self._not_judged: dict[str, int] = {}
        self._shifts: dict[tuple[str, str], Tally] = {}
        self._rules: dict[tuple[Literal["new", "recorded"], str, str, str], Tally] = {}
        self._doubts: dict[str, Tally] = {}

    def tell(self, event: RecordedAction | RecordedOutcome) -> None:
        """The next event of the record."""
        if isinstance(event, RecordedOutcome):
            self._replay.report(event)
            return
        if event.reason_code not in _OF_BUNDLES:
            if event.time_us >= self._since_us:
                self._not_judged[event.reason_code] = self._not_judged.get(event.reason_code, 0) + 1
            return
        telling = self._tellings.get(event.bundle)
        judged = self._replay.judge(event, NOTHING if telling is None else telling.told(event))
        if event.time_us < self._since_us:
            self._before += 1
            return
        self._told += telling is not None
        self._count(event, judged)

    def report(self) -> SimulationReport:
        changed = sum(tally.count for tally in self._shifts.values())
        shifts = [
            Shift(was=was, would_be=now, count=tally.count, samples=tuple(tally.samples))
            for (was, now), tally in self._shifts.items()
        ]
        rules = [
            Shift(was=was, would_be=now, rule=rule, of=of, count=tally.count, samples=tuple(tally.samples))
            for (of, rule, was, now), tally in self._rules.items()
        ]
        doubts = [
            Doubt(rule=rule, count=tally.count, samples=tuple(tally.samples))
            for rule, tally in self._doubts.items()
        ]
        return SimulationReport(
            before=self._before,
            decisions=self._unchanged + changed + self._undecided,
            unchanged=self._unchanged,
            changed=changed,
            undecided=self._undecided,
            other_reasons=self._other,
            not_judged=dict(sorted(self._not_judged.items())),
            shifts=tuple(sorted(shifts, key=lambda one: (-one.count, one.was, one.would_be))),
            rules=tuple(sorted(rules, key=lambda one: (-one.count, str(one.rule), one.was, one.of))),
            doubts=tuple(sorted(doubts, key=lambda one: (-one.count, one.rule))),
            told=self._told,
        )

    def _count(self, action: RecordedAction, judged: Judged) -> None:
        effect = judged.effect
        if effect is None:
            self._undecided += 1
            for rule in judged.maybe or ("(arguments)",):
                self._doubts.setdefault(rule, Tally()).add(action.id)
            return
        was, now = action.by_rules, str(effect)
        if was == now:
            self._unchanged += 1
            # With what was approved, the rules that allow it are reported as well.
            same = (
                set(judged.rules) <= set(action.rules)
                if action.approved
                else set(judged.rules) == set(action.rules)
            )
            self._other += not judged.maybe and not same
            return
        self._shifts.setdefault((was, now), Tally()).add(action.id)
        for of, rule in _deciding(action, judged):
            self._rules.setdefault((of, rule, was, now), Tally()).add(action.id)


def _deciding(action: RecordedAction, judged: Judged) -> Iterator[tuple[Literal["new", "recorded"], str]]:
    """Who decides now, and who decided then; a default and a refusal stand in brackets."""
    fallback = f"({judged.refusal or 'default'})"
    for rule in judged.rules or (fallback,):
        yield "new", rule
    for rule in action.rules or (f"({action.reason_code})",):
        yield "recorded", rule


def reach_us(bundle: Bundle) -> int:
    """How far back the rules of a bundle look, as far as anything is kept."""
    program = bundle.program
    reaches = [one.reach_us for one in program.monitors] + [one.window.per_us for one in program.limits]
    return max((HISTORY_US if one is None else min(one, HISTORY_US) for one in reaches), default=0)
