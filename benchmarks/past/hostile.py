"""What a hostile caller or author can make the past cost: keys without end, formulas without end."""

from __future__ import annotations

import gc
import time
from typing import Any

import psutil

from benchmarks.past import rules
from policies.compile import compile_sources
from policies.error import PolicyErrors
from policies.past import state_bytes
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import MOST_SLICES, Event
from policies.past.state import Past

_STEP_US = 864_000
"""Ten million of them are a hundred days: windows of 24 hours pass, and what no longer counts makes room."""
_KEYED = [
    f"past: 'pays and once[24h] created', {rules.BY}",
    "on: {tool: bank.create}, limit: {count: actions, per: 24h, key: args.iban, above: 10}",
]


def measure_keys(*, keys: int, most_s: float) -> dict[str, Any]:
    """Feed different keys, each new, to one rule with `by` and one limit with `key`, and watch the memory.

    Each action creates a payee that nobody pays, so that the rule holds only where it no longer knows. Both look at it,
    and then it is permitted whatever they say: the worst that can happen to memory.

    Args:
        keys: how many to feed at most; `most_s`: for how long at most.
    """
    bundle = compile_sources(rules.sources(_KEYED))
    program = bundle.program
    past = Past(program, Scope.WORKFLOW)
    bits = 1 << bundle.defines["past", "created"]
    for limit in program.limits:
        bits |= limit.atom
    monitors, limits = range(len(program.monitors)), range(len(program.limits))
    process, fed, most_kept, unknown = psutil.Process(), 0, 0, 0
    checked = max(1, min(100_000, keys // 10))
    resident: list[int] = []
    began_s = time.perf_counter()
    while fed < keys and time.perf_counter() - began_s < most_s:
        for _ in range(min(checked, keys - fed)):
            fed += 1
            key = fed.to_bytes(16, "big")
            measures = dict.fromkeys(range(len(bundle.measures)), key)
            event = Event(rules.START_US + fed * _STEP_US, bits, bits, measures)
            look = Look(program, {Scope.WORKFLOW: past}, event)
            unknown += max(map(look.truth, monitors))
            for number in limits:
                look.level(number)
            look.permitted()
        most_kept = max(most_kept, _kept(past))
        gc.collect()
        resident.append(process.memory_info().rss)
    return {
        "keys": fed,
        "seconds": round(time.perf_counter() - began_s, 1),
        "us_per_action": round((time.perf_counter() - began_s) / fed * 1e6, 1),
        "kept_at_most": most_kept,
        "bound": 2 * MOST_SLICES,
        "bytes_written": len(state_bytes.encode(past)),
        # The first look is taken when the bound has long been reached.
        "resident_growth_kib": (max(resident) - resident[0]) // 1024,
        "treated_as_matched": unknown,
    }


def _kept(past: Past) -> int:
    kept = sum(len(slices.of) for slices in past.settled.slices.values())
    return kept + sum(len(ledger.accounts) for ledger in past.ledgers.values())


# All but the last are as long as a formula's text may be.
HOSTILE_FORMULAS = {
    "8 000 brackets": "(" * 8_000 + "reads" + ")" * 8_000,
    "4 000 times `not`": "not " * 4_000 + "reads",
    "`once` in `once`, 1 600 deep": "once[1h] (" * 1_600 + "x",
    "1 600 names": " and ".join(["reads"] * 1_600),
    "16 000 signs": "&" * 16_000,
    "a megabyte of brackets": "(" * 1_000_000,
}


def measure_formulas() -> dict[str, dict[str, Any]]:
    """How long it takes to refuse a bundle with one hostile formula in it, and with what code."""
    found = {}
    for what, formula in HOSTILE_FORMULAS.items():
        sources = rules.sources([f"past: '{formula}'"])
        began_s = time.perf_counter()
        try:
            compile_sources(sources)
        except PolicyErrors as refused:
            code = refused.errors[0].code
        else:
            raise AssertionError(f"not refused: {what}")
        found[what] = {"code": code, "ms": round((time.perf_counter() - began_s) * 1000, 1)}
    return found
