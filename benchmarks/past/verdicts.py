"""What deciding with twenty rules over the past costs in process, against the length of the past."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.past import rules
from benchmarks.past.deciding import STEP_US, Decider, Pasts, copied
from policies.action import Action

PLAIN = "without them"
MOST_US = 30.0
MOST_RATIO = 1.3
_CALLS = 300


def measure(*, lengths: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """The median cost of one decision, in µs, by kind of rules and length of the past.

    Lengths take turns within each round, so that all meet the same moods of the machine. What is decided must be the
    same whatever the length. Pasts are copied for each decision, outside of what is measured: one event stays one.
    Cost: 15 µs for each event of the longest history and kind, and 0.1 s a round.
    """
    actions = {kind: _actions(kind) for kind in rules.KINDS}
    deciders = {kind: Decider(rules.sources_of(kind), actions[kind]) for kind in rules.KINDS}
    pasts = {(kind, length): deciders[kind].lived(length) for kind in rules.KINDS for length in lengths}
    plain = Decider(rules.plain_sources(), actions[rules.MIXED])
    costs: dict[tuple[str, int], list[float]] = {}
    effects: dict[str, dict[str, int]] = {}
    for _ in range(rounds):
        costs.setdefault((PLAIN, 0), []).extend(_timed(plain, {}, actions[rules.MIXED])[0])
        for kind in rules.KINDS:
            said = []
            for length in lengths:
                found, verdicts = _timed(deciders[kind], pasts[kind, length], actions[kind])
                costs.setdefault((kind, length), []).extend(found)
                said.append(verdicts)
            if any(one != said[0] for one in said):
                raise AssertionError(f"{kind}: verdicts depend on the length of the past: {said}")
            effects[kind] = said[0]
    p50 = {
        kind: {str(length): round(statistics.median(costs[kind, length]), 1) for length in lengths}
        for kind in rules.KINDS
    }
    return {
        "p50_us": p50,
        "p50_us_plain": round(statistics.median(costs[PLAIN, 0]), 1),
        "verdicts": effects,
        "ratio": {kind: round(_ratio(costs, kind, lengths), 3) for kind in rules.KINDS},
    }


def headlines(measured: dict[str, Any]) -> dict[str, float]:
    """The figures that have a budget: the mix at its dearest length, and the kind that grows most; and the worst."""
    by_kind = {kind: max(by.values()) for kind, by in measured["p50_us"].items()}
    return {
        "past_20_rules_p50_us": by_kind[rules.MIXED],
        "past_20_rules_budget_us": MOST_US,
        "past_20_rules_worst_p50_us": max(by_kind.values()),
        "past_20_rules_verdict_p50_us": by_kind[rules.ALL_HOLD],
        "past_history_ratio": max(measured["ratio"].values()),
        "past_history_ratio_budget": MOST_RATIO,
    }


def _ratio(costs: dict[tuple[str, int], list[float]], kind: str, lengths: tuple[int, ...]) -> float:
    return statistics.median(costs[kind, lengths[-1]]) / statistics.median(costs[kind, lengths[0]])


def _actions(kind: str) -> list[Action]:
    return [rules.action(*one, now_us=0) for one in rules.measured(kind)]


def _timed(decider: Decider, pasts: Pasts, actions: list[Action]) -> tuple[list[float], dict[str, int]]:
    """(µs of each decision, how many ended how)."""
    after_us = max((past.last_us for past in pasts.values()), default=rules.START_US) + STEP_US
    found: list[float] = []
    ended: dict[str, int] = {}
    ready = [
        rules.action(one.resource.id, dict(one.arguments), now_us=after_us + number)
        for number, one in enumerate(actions)
    ]
    for number in range(_CALLS):
        own = copied(pasts)
        began_ns = time.perf_counter_ns()
        verdict = decider.decide(own, ready[number % len(ready)])
        found.append((time.perf_counter_ns() - began_ns) / 1000)
        code = f"{verdict.effect}: {len(verdict.reasons) + len(verdict.would)} rules"
        ended[code] = ended.get(code, 0) + 1
    return found, ended
