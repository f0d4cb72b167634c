"""Latency and throughput against the size of a fleet: n agents, each at work in sessions shaped like the demo's.

    python -m benchmarks.fleet                        # 10, 100, 1 000 and 10 000 agents, about seven minutes
    python -m benchmarks.fleet --agents 10 100 --seconds 10

An agent opens a session, reads three times, pays once (every fourth payment is too large and denied), reports an
outcome for whatever was permitted, and the session is ended: nine or ten requests. Sessions begin on a schedule that
waits for nobody (an open loop), and each latency counts from the moment at which its step was due. The offered rate is
the same for every n, so what changes is the fleet alone: how many agents are awake, resting, in how many journal pages.
Then as many sessions as a few clients can do, each step as soon as the one before is answered (a closed loop): what
the same machine can do for a fleet of this size.

Writes `benchmarks/out/fleet.json`, `fleet.png` and `fleet.svg`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psutil
import uvloop
from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

from benchmarks import bundles, machine
from benchmarks.decision_path import OUT
from benchmarks.http_pool import HttpPool
from benchmarks.plane import Plane, running

RULES = 1_000
FLEETS = (10, 100, 1_000, 10_000)
STEP_S = 0.05
"""How long an agent thinks between two steps of a session."""
READS, DENIED_EVERY = 3, 4
DECISIONS = READS + 1
BURST_S = 6.0
"""How long the closed loop lasts."""
_CONNECTIONS = 128
_BURST_CLIENTS = 32
# Prime to every size of fleet: agents take turns, neighbours do not share pages.
_STRIDE = 7_919
_TOO_MUCH = 2_000_000.0

console = Console(stderr=True)


@dataclass(slots=True)
class Figures:
    """What one fleet was answered."""

    latency_us: dict[str, HdrHistogram] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    def count(self, step: str, due_s: float, status: int) -> None:
        took_us = max(1, round((time.perf_counter() - due_s) * 1e6))
        self.latency_us.setdefault(step, HdrHistogram(1, 60_000_000, 3)).record_value(took_us)
        self.answers[f"{step} {status}"] += 1

    @property
    def answered(self) -> int:
        return self.answers.total()

    @property
    def refused(self) -> int:
        """Answers that are neither 200 nor 201."""
        return sum(n for answer, n in self.answers.items() if answer.split()[1] not in ("200", "201"))


def main() -> None:
    options = _options()
    measured: dict[str, Any] = {"machine": machine.describe(), "sessions_per_s": options.rate, "fleets": []}
    for agents in sorted(options.agents):
        console.print(f"{agents} agents: starting a control plane with {RULES} rules")
        with running(rules=RULES, agents=[]) as plane:
            uvloop.run(register_all(plane, agents))
            idle_mib = _memory_mib(plane)
            figures, seconds = uvloop.run(_run(plane, agents, rate=options.rate, seconds=options.seconds))
            row = _row(agents, figures, seconds, idle_mib, _memory_mib(plane))
            measured["fleets"].append(row | _capacity(*uvloop.run(_burst(plane, agents))))
            console.print(f"    {_line(measured['fleets'][-1])}")
    OUT.mkdir(exist_ok=True)
    (OUT / "fleet.json").write_text(json.dumps(measured, indent=2) + "\n")
    _plot(measured)
    _show(measured)
    console.print(f"written to {os.path.relpath(OUT / 'fleet.json')}, fleet.png and fleet.svg")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, nargs="+", default=FLEETS, help="sizes of fleets to measure")
    parser.add_argument("--seconds", type=float, default=20, help="for how long sessions begin (default 20)")
    parser.add_argument("--rate", type=float, default=50, help="sessions that begin each second (default 50)")
    options = parser.parse_args()
    if min(options.agents) < 1 or options.seconds < 1 or options.rate <= 0:
        parser.error("--agents and --seconds must be 1 at least, --rate more than 0")
    return options


def agent_name(number: int) -> str:
    """Of the agent with this number, from 0 on."""
    return f"bench-{number:06}"


async def register_all(plane: Plane, agents: int) -> None:
    """Register this many, in the order of `agent_name`."""
    pool = HttpPool(plane.port, plane.operator_key, size=32)
    done = 0

    async def register(number: int) -> None:
        nonlocal done
        status, answer = await pool.post(
            "/v1/agents", json.dumps({"id": agent_name(number), "owner": "benchmark"}).encode()
        )
        if status not in (200, 201):
            raise SystemExit(f"an agent could not be registered: {status} {answer.decode()}")
        done += 1
        if done % 2_000 == 0:
            console.print(f"    registered {done} of {agents}")

    for first in range(0, agents, 1_000):
        await asyncio.gather(*(register(n) for n in range(first, min(first + 1_000, agents))))
    pool.close()


async def _run(plane: Plane, agents: int, *, rate: float, seconds: float) -> tuple[Figures, float]:
    pool = HttpPool(plane.port, plane.key, size=_CONNECTIONS)
    # The first few open connections and wake caches; they count for nothing.
    await asyncio.gather(*(_session(pool, Figures(), n % agents, n, time.perf_counter()) for n in range(16)))
    figures = Figures()
    began_s = time.perf_counter()
    sessions = []
    for number in range(int(rate * seconds)):
        due_s = began_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        agent = number * _STRIDE % agents
        sessions.append(asyncio.create_task(_session(pool, figures, agent, number, due_s)))
    await asyncio.gather(*sessions)
    seconds = time.perf_counter() - began_s
    pool.close()
    return figures, seconds


async def _burst(plane: Plane, agents: int) -> tuple[Figures, float]:
    """As many sessions as a few clients can do one after the other. Returns: figures, and seconds it took."""
    pool = HttpPool(plane.port, plane.key, size=_BURST_CLIENTS)
    figures, numbers = Figures(), itertools.count()
    began_s = time.perf_counter()

    async def client() -> None:
        while (now_s := time.perf_counter()) < began_s + BURST_S:
            number = next(numbers)
            await _session(pool, figures, number * _STRIDE % agents, number, now_s, think_s=0.0)

    await asyncio.gather(*(client() for _ in range(_BURST_CLIENTS)))
    seconds = time.perf_counter() - began_s
    pool.close()
    return figures, seconds


async def _session(
    pool: HttpPool, figures: Figures, agent: int, number: int, due_s: float, *, think_s: float = STEP_S
) -> None:
    """One session, one step after the other, each at its time or as soon as the one before is answered."""

    async def step(kind: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        nonlocal due_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        status, answer = await pool.post(path, json.dumps(body).encode())
        figures.count(kind, due_s, status)
        due_s = max(due_s + think_s, time.perf_counter())
        return status, json.loads(answer)

    name, tools = agent_name(agent), bundles.tools_of(RULES)
    status, opened = await step("session", "/v1/sessions", {"agent": name, "task": "pay the invoices"})
    if status not in (200, 201):
        return
    for turn in range(DECISIONS):
        pays = turn == READS
        arguments = dict(bundles.SMALL)
        if pays and number % DENIED_EVERY == 0:
            arguments["amount"] = _TOO_MUCH
        asked = bundles.evaluation(name, tool=(agent * 31 + turn) % tools, arguments=arguments)
        asked["context"]["session"] = opened["session"]  # type: ignore[index]
        status, decided = await step("decision", "/access/v1/evaluation", asked)
        if status == 200 and decided["decision"]:
            decision = decided["context"]["id"]
            await step("outcome", f"/v1/decisions/{decision}/outcome", {"status": "succeeded"})
    await step("session", f"/v1/sessions/{opened['session']}/end", {})


def _capacity(figures: Figures, seconds: float) -> dict[str, Any]:
    return {
        "capacity_per_s": round(figures.answers["decision 200"] / seconds, 1),
        "capacity_requests_per_s": round(figures.answered / seconds, 1),
        "capacity_not_answered_200": figures.refused,
    }


def _row(
    agents: int, figures: Figures, seconds: float, idle_mib: dict[str, float], loaded_mib: dict[str, float]
) -> dict[str, Any]:
    return {
        "agents": agents,
        "decisions_per_s": round(figures.answers["decision 200"] / seconds, 1),
        "requests_per_s": round(figures.answered / seconds, 1),
        "not_answered_200": figures.refused,
        "latency_ms": {
            step: {f"p{p:g}": histogram.get_value_at_percentile(p) / 1000 for p in (50, 90, 99)}
            | {"max": histogram.get_max_value() / 1000}
            for step, histogram in figures.latency_us.items()
        },
        "answers": dict(figures.answers),
        "memory_mib": {
            "hosts_idle": idle_mib.get("agent hosts"),
            "hosts": loaded_mib.get("agent hosts"),
            "control_store": loaded_mib.get("control store"),
            "replica": loaded_mib.get("replica"),
        },
    }


def _memory_mib(plane: Plane) -> dict[str, float]:
    """Memory that no other process shares, by what the processes do."""
    found: dict[str, float] = {}
    for pid, role in plane.processes().items():
        try:
            mib = psutil.Process(pid).memory_full_info().uss / 2**20
        except psutil.Error:
            continue
        found[role] = round(found.get(role, 0.0) + mib, 1)
    return found


def _line(fleet: dict[str, Any]) -> str:
    latency = fleet["latency_ms"]["decision"]
    return (
        f"{fleet['decisions_per_s']:.0f} decisions/s among {fleet['requests_per_s']:.0f} requests/s, "
        f"decision p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, "
        f"{fleet['not_answered_200']} not answered with 200; at most {fleet['capacity_per_s']:.0f} decisions/s among "
        f"{fleet['capacity_requests_per_s']:.0f} requests/s"
    )


def _show(measured: dict[str, Any]) -> None:
    table = Table(
        "agents", "decisions/s", "requests/s", "decision p50 ms", "p99 ms", "outcome p50 ms", "hosts MiB", "not 200",
        "at most: decisions/s", "requests/s", "not 200",
        title=f"{measured['sessions_per_s']:g} sessions/s begin, open loop",
    )  # fmt: skip
    for fleet in measured["fleets"]:
        latency = fleet["latency_ms"]
        table.add_row(
            f"{fleet['agents']:,}",
            f"{fleet['decisions_per_s']:.0f}",
            f"{fleet['requests_per_s']:.0f}",
            f"{latency['decision']['p50']:.2f}",
            f"{latency['decision']['p99']:.2f}",
            f"{latency['outcome']['p50']:.2f}",
            f"{fleet['memory_mib']['hosts']}",
            str(fleet["not_answered_200"]),
            f"{fleet['capacity_per_s']:.0f}",
            f"{fleet['capacity_requests_per_s']:.0f}",
            str(fleet["capacity_not_answered_200"]),
        )
    Console().print(table)


def _plot(measured: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    from matplotlib import pyplot

    fleets = measured["fleets"]
    sizes = [fleet["agents"] for fleet in fleets]
    figure, (latency, throughput) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6), layout="constrained")
    for percentile in ("p50", "p90", "p99"):
        values = [fleet["latency_ms"]["decision"][percentile] for fleet in fleets]
        latency.plot(sizes, values, marker="o", label=percentile)
    latency.set(
        ylabel="decision latency, ms", xscale="log", yscale="log", title="One control plane, n agents"
    )
    for show in (latency.yaxis.set_major_formatter, latency.yaxis.set_minor_formatter):
        show("{x:g}")
    latency.legend()
    for key, label, style in (
        ("capacity_requests_per_s", "all requests, closed loop", "s-"),
        ("capacity_per_s", "decisions, closed loop", "o-"),
        ("requests_per_s", "all requests, as offered above", "s:"),
        ("decisions_per_s", "decisions, as offered above", "o:"),
    ):
        throughput.plot(sizes, [fleet[key] for fleet in fleets], style, label=label)
    throughput.set(xlabel="agents", ylabel="answered per second", ylim=(0, None))
    throughput.legend()
    for axes in (latency, throughput):
        axes.grid(alpha=0.3)
    for suffix in ("png", "svg"):
        figure.savefig(OUT / f"fleet.{suffix}", dpi=130)


if __name__ == "__main__":
    main()
