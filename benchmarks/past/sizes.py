"""How much an idle session with twenty rules keeps: in its journal, and in memory while it is awake."""

from __future__ import annotations

import gc
import tracemalloc

from benchmarks.past import rules
from benchmarks.past.deciding import Decider, Pasts
from policies.past import state_bytes
from policies.past.program import Scope
from policies.past.state import Past

MOST_BYTES = 200
FORMULAS = "20 formulas"
_COPIES = 200


def measure() -> dict[str, dict[str, int]]:
    """Bytes of a session whose rules have all seen something, hours ago, by kind of rules.

    A history of 40 actions touches each formula, six payees and every budget; the intake, an hour later, touches them
    all again.
    """
    found = {}
    kinds = {FORMULAS: rules.sources(rules.monitor_clauses())}
    kinds |= {kind: rules.sources_of(kind) for kind in (rules.MIXED, rules.NONE_HOLDS)}
    for kind, sources in kinds.items():
        decider = Decider(sources, [])
        pasts = decider.lived(40)
        written = {scope: state_bytes.encode(past) for scope, past in pasts.items()}
        found[kind] = {
            "written": sum(len(data) for data in written.values()),
            "keys": sum(_keys(past) for past in pasts.values()),
            "in_memory": _in_memory(decider, written),
        }
    return found


def headlines(measured: dict[str, dict[str, int]]) -> dict[str, int]:
    return {
        "past_bytes_per_idle_session": measured[FORMULAS]["written"],
        "past_bytes_per_idle_session_budget": MOST_BYTES,
    }


def _keys(past: Past) -> int:
    kept = sum(len(slices.of) for slices in past.settled.slices.values())
    return kept + sum(len(ledger.accounts) for ledger in past.ledgers.values())


def _in_memory(decider: Decider, written: dict[Scope, bytes]) -> int:
    """Of one session's pasts, woken from their bytes."""
    gc.collect()
    tracemalloc.start()
    program = decider.bundle.program
    before, _ = tracemalloc.get_traced_memory()
    woken: list[Pasts] = [
        {scope: state_bytes.decode(program, scope, data) for scope, data in written.items()}
        for _ in range(_COPIES)
    ]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((after - before) / len(woken))
