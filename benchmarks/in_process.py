"""What deciding costs without any service: prepare and verdict, in this process, on one thread."""

from __future__ import annotations

import statistics
import time

from benchmarks.bundles import ARGUMENTS, action, sources, tools_of
from policies.compile import compile_sources
from policies.condition_plans import FUSED_AT_USE
from policies.prepare import Preparer
from policies.verdict import decide

RULES = (10, 1_000, 10_000)
_NOW_US = 1_790_000_000_000_000
_CALLS = 400


def measure(*, rounds: int, mixed: bool = False) -> dict[str, dict[str, float]]:
    """The median cost of one decision, in µs, by number of rules and kind of arguments.

    Args:
        mixed: see `bundles.sources`.
    Bundles take turns within each round, so that all meet the same moods of the machine.
    """
    bundles = {rules: compile_sources(sources(rules, mixed=mixed)) for rules in RULES}
    preparers = {rules: Preparer(bundle) for rules, bundle in bundles.items()}
    costs: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for rules in RULES:
            for kind, arguments in ARGUMENTS.items():
                actions = [
                    action(arguments, tool=n * 7 % tools_of(rules), now_us=_NOW_US + n) for n in range(64)
                ]
                for one in actions * (FUSED_AT_USE + 1):  # what a process that has served for a while is like
                    preparers[rules].prepare(one)
                found = costs.setdefault((rules, kind), [])
                for n in range(_CALLS):
                    began_ns = time.perf_counter_ns()
                    prepared = preparers[rules].prepare(actions[n % 64])
                    verdict = decide(
                        bundles[rules],
                        possibly=prepared.possibly,
                        certainly=prepared.certainly,
                        refusal=prepared.refusal,
                    )
                    found.append((time.perf_counter_ns() - began_ns) / 1000)
                    assert verdict.reason_code == "rule_allow", verdict
    return {
        str(rules): {kind: round(statistics.median(costs[rules, kind]), 1) for kind in ARGUMENTS}
        for rules in RULES
    }
