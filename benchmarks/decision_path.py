"""What one decision costs, from the engine alone to durable answers over HTTP.

    make bench                                            # everything, about four minutes
    python -m benchmarks.decision_path --seconds 1 --rounds 1   # a quick look

Durable decisions are measured beside a no-op on the same instance (same ingress, raw ASGI, parses the same body, fixed
answer), in turns, several rounds; figures are medians over the rounds. The ratio of the two is what compares between
machines; the absolute figures say what this machine did today. At 32 connections there is a second no-op, whose process
has our settings of Python's cycle collector (`benchmarks.noop`): the ratio to that one is lower. Everything stays on
loopback and is shut down at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import bundles, cpu, in_process, landing, machine, memory
from benchmarks.load import Result, Spec, closed_loop, open_loop
from benchmarks.plane import HOSTS, Plane, running

OUT = Path(__file__).parent / "out"
RULES = 1_000
AGENTS = [f"bench-{number:04}" for number in range(256)]
CONNECTIONS = (1, 8, 32, 128)
BATCH_SIZE = 100
BATCH_CONNECTIONS = 4
OPEN_LOOP_SHARE = 0.5
EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
NOOP, TUNED_NOOP = "/noop", "/noop-tuned"

console = Console(stderr=True)


def main() -> None:
    options = _options()
    measured: dict[str, Any] = {"machine": machine.describe(), "hosts": HOSTS}
    console.print(f"[bold]decision path[/] on {measured['machine']['processor']}")
    console.print("1/4 in process: prepare + verdict")
    measured["in_process_us"] = in_process.measure(rounds=options.rounds)
    measured["in_process_mixed_us"] = in_process.measure(rounds=options.rounds, mixed=True)
    console.print("2/4 memory of agents")
    measured["resting_agent_bytes"] = round(memory.bytes_per_agent("resting", 5_000))
    measured["hosted_agent_bytes"] = round(memory.bytes_per_agent("awake", 5_000))
    console.print(f"3/4 starting a control plane with {RULES} rules and {len(AGENTS)} agents")
    with running(rules=RULES, agents=AGENTS) as plane:
        console.print("4/4 over HTTP")
        _over_http(plane, measured, seconds=options.seconds, rounds=options.rounds)
        measured["dedicated_agent_mib"] = _dedicated_agent_mib(plane)
    measured |= _headlines(measured)
    OUT.mkdir(exist_ok=True)
    out = OUT / "decision_path.json"
    out.write_text(json.dumps(measured, indent=2) + "\n")
    _show(measured)
    console.print(f"written to {os.path.relpath(out)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement (default 4)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, of which medians are taken (default 3)"
    )
    options = parser.parse_args()
    if options.seconds < 1 or options.rounds < 1:
        parser.error("--seconds and --rounds must be 1 at least")
    return options


def _over_http(plane: Plane, measured: dict[str, Any], *, seconds: float, rounds: int) -> None:
    single = [body.decode() for body in bundles.bodies(AGENTS, rules=RULES)]
    batches = [body.decode() for body in bundles.batches(AGENTS, rules=RULES, size=BATCH_SIZE)]
    plane.deploy_noop(_an_answer(plane, single[0]))

    def spec(path: str, bodies: list[str], connections: int, rate_per_s: float | None = None) -> Spec:
        return Spec(
            port=plane.port,
            path=path,
            key=plane.key,
            bodies=bodies,
            connections=connections,
            seconds=seconds,
            rate_per_s=rate_per_s,
        )

    # Caches fill, agents wake, connections of the pool open: none of it is what is measured.
    for path in (EVALUATION, NOOP, TUNED_NOOP):
        closed_loop(spec(path, single, 32))
    began_us = time.time_ns() // 1000
    runs: dict[str, list[Result]] = {}
    spent: dict[str, list[cpu.Reading]] = {"durable": [], "noop": []}
    processes = plane.processes()
    for turn in range(rounds):
        for connections in CONNECTIONS:
            kinds = [("durable", EVALUATION), ("noop", NOOP)]
            for name, path in kinds + [("tuned_noop", TUNED_NOOP)] * (connections == 32):
                before = cpu.seconds(processes)
                result = closed_loop(spec(path, single, connections))
                after = cpu.seconds(processes)
                runs.setdefault(f"{name}_{connections}", []).append(_good(result))
                if connections == 32 and name in spent:
                    spent[name].append((before, after, result.requests))
                _tell(f"round {turn + 1}/{rounds}: {name}, {connections} connections", result)
        result = closed_loop(spec(EVALUATIONS, batches, BATCH_CONNECTIONS))
        runs.setdefault("batch", []).append(_good(result))
        _tell(f"round {turn + 1}/{rounds}: evaluations of {BATCH_SIZE}", result)
    measured["client"] = runs["durable_32"][0].client
    measured["closed_loop"] = {name: _median(results) for name, results in runs.items()}
    measured["cpu_us_per_request_at_32"] = {
        name: cpu.per_request_us(readings) for name, readings in spent.items()
    }
    rate = max(10.0, measured["closed_loop"]["durable_32"]["per_s"] * OPEN_LOOP_SHARE)
    opened = [_good(open_loop(spec(EVALUATION, single, 128, rate))) for _ in range(rounds)]
    measured["open_loop"] = _median(opened) | {"rate_per_s": round(rate), "latency_counts_from": "when due"}
    _tell(f"open loop at {rate:.0f}/s", opened[-1])
    wait_until_landed(plane)
    measured["landing_s"] = landing.delays_s(plane.settings.evidence_table, since_us=began_us)
    measured["bytes_per_row"] = landing.bytes_per_row(plane.settings.evidence_table)


def _an_answer(plane: Plane, body: str) -> bytes:
    """What the service itself answers: the no-op sends the same bytes."""
    headers = {"Authorization": f"Bearer {plane.key}"}
    answer = httpx.post(f"{plane.url}{EVALUATION}", content=body, headers=headers, trust_env=False)
    if answer.status_code != 200 or not answer.json()["decision"]:
        sys.exit(f"the control plane does not allow what the benchmark asks for: {answer.text}")
    return answer.content


def _good(result: Result) -> Result:
    """Anything but 200s, and the figures mean nothing."""
    if set(result.statuses) - {"200"} or result.unanswered:
        sys.exit(f"not every request was decided: {result.statuses}, {result.unanswered} without an answer")
    return result


def _median(results: list[Result]) -> dict[str, Any]:
    return {
        "per_s": round(statistics.median(result.per_s for result in results), 1),
        "latency_ms": {
            name: round(statistics.median(result.latency_ms[name] for result in results), 3)
            for name in results[0].latency_ms
        },
    }


def _dedicated_agent_mib(plane: Plane) -> float:
    """Memory of the actor of one dedicated agent that no other process shares (USS)."""
    before = set(plane.processes())
    plane.operator.request("POST", "/v1/agents", {"id": "bench-dedicated", "isolation": "dedicated"})
    # Workers that Ray starts ahead of need are named after nobody.
    fresh = [pid for pid, role in plane.processes().items() if pid not in before and role == "agent hosts"]
    if len(fresh) != 1:
        sys.exit(f"expected one new agent host for the dedicated agent, found {len(fresh)}")
    return round(psutil.Process(fresh[0]).memory_full_info().uss / 2**20, 1)


def wait_until_landed(plane: Plane) -> None:
    """Until no owner has evidence that is not in the table; a minute at the longest. Raises: SystemExit."""
    deadline_s = time.monotonic() + 60
    while plane.operator.request("GET", "/v1/status")["evidence"]["pending_rows"]:
        if time.monotonic() > deadline_s:
            sys.exit("evidence does not land: see `controlplane status`")
        time.sleep(0.2)


def _headlines(measured: dict[str, Any]) -> dict[str, Any]:
    closed = measured["closed_loop"]
    return {
        f"http_{n}_ratio_to_noop": round(closed[f"durable_{n}"]["per_s"] / closed[f"noop_{n}"]["per_s"], 3)
        for n in CONNECTIONS
    } | {
        "http_32_ratio_to_tuned_noop": round(
            closed["durable_32"]["per_s"] / closed["tuned_noop_32"]["per_s"], 3
        ),
        "http_1_p50_ms": closed["durable_1"]["latency_ms"]["p50"],
        "http_32_per_s": closed["durable_32"]["per_s"],
        "rules_1000_p50_us": measured["in_process_us"]["1000"]["small"],
        "rules_10000_p50_us": measured["in_process_us"]["10000"]["small"],
        "batch_100_per_s": round(closed["batch"]["per_s"] * BATCH_SIZE),
        "landing_delay_s": measured["landing_s"]["p99"],
    }


def _tell(what: str, result: Result) -> None:
    console.print(f"    {what}: {result.per_s:.0f}/s, p50 {result.latency_ms['p50']:.2f} ms")


def _show(measured: dict[str, Any]) -> None:
    out = Console()
    engine = Table(
        "rules",
        *(f"{kind} arguments" for kind in bundles.ARGUMENTS),
        title="in process, p50, µs: thresholds alone / texts, too",
    )
    for rules, costs in measured["in_process_us"].items():
        mixed = measured["in_process_mixed_us"][rules]
        engine.add_row(
            f"{int(rules):,}", *(f"{costs[kind]:.1f} / {mixed[kind]:.1f}" for kind in bundles.ARGUMENTS)
        )
    http = Table(
        "connections", "durable/s", "p50 ms", "p99 ms", "no-op/s", "p50 ms", "ratio", title="over HTTP"
    )
    for n in CONNECTIONS:
        durable, none = measured["closed_loop"][f"durable_{n}"], measured["closed_loop"][f"noop_{n}"]
        http.add_row(
            str(n),
            *(f"{v:.2f}" if v < 100 else f"{v:.0f}" for v in _row(durable)),
            *(f"{v:.2f}" if v < 100 else f"{v:.0f}" for v in _row(none)[:2]),
            f"{measured[f'http_{n}_ratio_to_noop']:.2f}",
        )
    tuned = measured["closed_loop"]["tuned_noop_32"]
    opened, delays = measured["open_loop"], measured["landing_s"]
    rest = Table("what", "figure", title="the rest")
    for what, figure in (
        (
            "32 connections, ratio to a no-op with our collector settings",
            f"{measured['http_32_ratio_to_tuned_noop']:.2f} of {tuned['per_s']:.0f}/s",
        ),
        (f"evaluations of {BATCH_SIZE}, decisions/s", f"{measured['batch_100_per_s']:,}"),
        (
            f"open loop at {opened['rate_per_s']}/s, p50 / p99 / max ms",
            " / ".join(f"{opened['latency_ms'][name]:.1f}" for name in ("p50", "p99", "max")),
        ),
        ("evidence lands after, p50 / p99 / max s", f"{delays['p50']} / {delays['p99']} / {delays['max']}"),
        ("bytes a row on disk", f"{measured['bytes_per_row']}"),
        (
            "resting / awake agent, bytes",
            f"{measured['resting_agent_bytes']} / {measured['hosted_agent_bytes']}",
        ),
        ("dedicated agent, MiB", f"{measured['dedicated_agent_mib']}"),
    ):
        rest.add_row(what, figure)
    spent = measured["cpu_us_per_request_at_32"]
    processor = Table("process", "durable", "no-op", title="CPU at 32 connections, µs a request")
    for role in dict.fromkeys([*spent["durable"], *spent["noop"]]):
        processor.add_row(role, *(f"{spent[run].get(role, 0)}" for run in ("durable", "noop")))
    for table in (engine, http, rest, processor):
        out.print(table)


def _row(run: dict[str, Any]) -> tuple[float, float, float]:
    return run["per_s"], run["latency_ms"]["p50"], run["latency_ms"]["p99"]


if __name__ == "__main__":
    main()
