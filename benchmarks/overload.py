"""Ten times more than can be decided: what it costs in memory, and what a client that behaves notices of it.

    python -m benchmarks.overload                 # about three minutes
    python -m benchmarks.overload --seconds 10 --floods 5

A client sends `evaluations` of 100 on a schedule, ten times as many as were answered when it waited for answers, and
does not wait (an open loop). Beside it, another key asks for one decision after the other. First the flooding key has
no rate of its own (what holds then is the bounds of queues): five floods, one after the other, and after each it is
looked at what memory they left behind. Then it has the rate that keys have by default, and then a quarter of what the
machine can decide. The memory of each process is looked at twice a second.

Writes `benchmarks/out/overload.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import bundles, machine
from benchmarks.decision_path import (
    AGENTS,
    BATCH_CONNECTIONS,
    BATCH_SIZE,
    EVALUATION,
    EVALUATIONS,
    OUT,
    RULES,
)
from benchmarks.load import Result, Spec, closed_loop, open_loop
from benchmarks.plane import Plane, running

FACTOR = 10
_MAD_CONNECTIONS = 512
_SETTLE_S = 5.0

console = Console(stderr=True)


def main() -> None:
    options = _options()
    measured: dict[str, Any] = {"machine": machine.describe(), "factor": FACTOR}
    console.print(f"starting a control plane with {RULES} rules and {len(AGENTS)} agents")
    with running(rules=RULES, agents=AGENTS) as plane:
        batches = [body.decode() for body in bundles.batches(AGENTS, rules=RULES, size=BATCH_SIZE)]
        spec = Spec(
            port=plane.port,
            path=EVALUATIONS,
            key=plane.key,
            bodies=batches,
            connections=BATCH_CONNECTIONS,
            seconds=options.seconds,
        )
        capacity_per_s = closed_loop(spec).per_s
        alone = _well_behaved(plane, options.seconds)
        measured["capacity_decisions_per_s"] = round(capacity_per_s * BATCH_SIZE)
        measured["well_behaved_alone"] = _shown(alone)
        console.print(
            f"capacity: {capacity_per_s * BATCH_SIZE:.0f} decisions/s in batches; now {FACTOR} times that"
        )
        quarter_per_s = round(capacity_per_s * BATCH_SIZE / 4)
        measured["quarter_decisions_per_s"] = quarter_per_s
        mad = replace(spec, connections=_MAD_CONNECTIONS, rate_per_s=capacity_per_s * FACTOR)
        measured["floods"] = [_overloaded(plane, mad, "without_a_rate") for _ in range(options.floods)]
        measured["without_a_rate"] = measured["floods"][0]
        for name, key in (
            ("with_the_default_rate", _key(plane)),
            ("with_a_quarter", _key(plane, rate_per_s=quarter_per_s)),
        ):
            measured[name] = _overloaded(plane, replace(mad, key=key), name)
    OUT.mkdir(exist_ok=True)
    (OUT / "overload.json").write_text(json.dumps(measured, indent=2) + "\n")
    _show(measured)
    console.print(f"written to {os.path.relpath(OUT / 'overload.json')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="length of each overload (default 10)")
    parser.add_argument("--floods", type=int, default=5, help="how many without a rate (default 5)")
    options = parser.parse_args()
    if options.seconds < 1 or options.floods < 1:
        parser.error("--seconds and --floods must be 1 at least")
    return options


def _key(plane: Plane, **more: int) -> str:
    """Of a gateway; with the rate that keys have by default unless the rest says otherwise."""
    made = plane.operator.request("POST", "/v1/keys", {"role": "gateway", "agents": ["bench-*"], **more})
    key: str = made["key"]
    return key


def _well_behaved(plane: Plane, seconds: float) -> Result:
    """One key of its own, one agent, one decision after the other."""
    made = plane.operator.request("POST", "/v1/keys", {"role": "agent", "agents": [AGENTS[0]]})
    body = json.dumps(bundles.evaluation(AGENTS[0], tool=0))
    return closed_loop(
        Spec(port=plane.port, path=EVALUATION, key=made["key"], bodies=[body], connections=1, seconds=seconds)
    )


def _overloaded(plane: Plane, mad: Spec, name: str) -> dict[str, Any]:
    before_mib = _memory_mib(plane)
    with _Peaks(plane) as peaks, ThreadPoolExecutor(2) as clients:
        flood = clients.submit(open_loop, mad)
        beside = clients.submit(_well_behaved, plane, mad.seconds)
        sent, well = flood.result(), beside.result()
    time.sleep(_SETTLE_S)
    if not (well.statuses.get("200") and sent.statuses):
        sys.exit(f"nobody was answered: {well.statuses}, {sent.statuses}")
    console.print(f"    {name}: {sent.statuses}")
    after_mib = _memory_mib(plane)
    return {
        "offered_decisions_per_s": round((mad.rate_per_s or 0) * BATCH_SIZE),
        "mad": {"statuses": sent.statuses, "unanswered": sent.unanswered},
        "well_behaved": _shown(well),
        "memory_mib": {
            role: {"before": before_mib.get(role), "peak": peak, "after": after_mib.get(role)}
            for role, peak in peaks.mib.items()
        },
    }


class _Peaks:
    """The most memory that each part was seen to have, looked at twice a second."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._run)
        self.mib: dict[str, float] = {}

    def __enter__(self) -> _Peaks:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            for role, mib in _memory_mib(self._plane).items():
                self.mib[role] = max(mib, self.mib.get(role, 0.0))


_ROLES = ("replica", "agent hosts", "evidence writer", "control store", "haproxy")


def _memory_mib(plane: Plane) -> dict[str, float]:
    """Resident memory by what processes do."""
    found: dict[str, float] = {}
    for pid, role in plane.processes().items():
        try:
            rss = psutil.Process(pid).memory_info().rss / 2**20
        except psutil.Error:
            continue
        if role in _ROLES:
            found[role] = round(found.get(role, 0.0) + rss, 1)
    return found


def _shown(result: Result) -> dict[str, Any]:
    return {
        "per_s": round(result.per_s, 1),
        "statuses": result.statuses,
        "latency_ms": {name: round(value, 2) for name, value in result.latency_ms.items()},
    }


def _show(measured: dict[str, Any]) -> None:
    runs = ("without_a_rate", "with_the_default_rate", "with_a_quarter")
    clients = Table(
        "run", "offered decisions/s", "answers of the flood", "beside: 200", "p50 ms", "p99 ms", "other answers",
        title=f"{FACTOR} times the capacity of {measured['capacity_decisions_per_s']} decisions/s, in batches",
    )  # fmt: skip
    alone = measured["well_behaved_alone"]
    clients.add_row("alone", "0", "", *_client_cells(alone))
    for run in runs:
        statuses = measured[run]["mad"]["statuses"]
        flood = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        clients.add_row(
            run.replace("_", " "),
            str(measured[run]["offered_decisions_per_s"]),
            flood,
            *_client_cells(measured[run]["well_behaved"]),
        )
    floods = measured["floods"]
    memory = Table(
        "process", "before, MiB", *(f"flood {number}: peak / after" for number in range(1, len(floods) + 1))
    )
    for role in _ROLES:
        cells = [flood["memory_mib"].get(role, {}) for flood in floods]
        memory.add_row(
            role,
            str(cells[0].get("before")),
            *(f"{cell.get('peak')} / {cell.get('after')}" for cell in cells),
        )
    for table in (clients, memory):
        Console().print(table)


def _client_cells(client: dict[str, Any]) -> tuple[str, str, str, str]:
    other = {status: count for status, count in client["statuses"].items() if status != "200"}
    latency = client["latency_ms"]
    return (
        str(client["statuses"].get("200", 0)),
        f"{latency['p50']:.2f}",
        f"{latency['p99']:.2f}",
        ", ".join(f"{status}: {count}" for status, count in other.items()) or "none",
    )


if __name__ == "__main__":
    main()
