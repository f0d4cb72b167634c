"""From an operator's command to the first deny, and to the command's end, with ten thousand agents.

    python -m benchmarks.stops                    # about two minutes, most of them for registering
    python -m benchmarks.stops --agents 1000 --rounds 20

In each round one agent asks for one decision after the other over a connection of its own, as fast as it is answered;
an operator stops it (`POST /v1/stops`); counted is from when the command was sent until the agent has its first
`stopped`, and until the command was answered, which is when every owner enforces it. Then it is released. Agents of all
hosts take their turns; every fourth stop is of the whole fleet. In one round of ten the operator stops a hundred other
agents at the same time.

Writes `benchmarks/out/stops.json`. The bar: 250 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.decision_path import EVALUATION, OUT, RULES
from benchmarks.fleet import agent_name, register_all
from benchmarks.http_pool import HttpPool
from benchmarks.plane import Plane, running

BAR_MS = 250.0
_HOSTS = 2
_CROWD = 100

console = Console(stderr=True)


def main() -> None:
    options = _options()
    measured: dict[str, Any] = {
        "machine": machine.describe(),
        "agents": options.agents,
        "hosts": _HOSTS,
        "bar_ms": BAR_MS,
    }
    console.print(f"starting a control plane with {RULES} rules and {_HOSTS} hosts")
    with running(rules=RULES, agents=[], hosts=_HOSTS) as plane:
        console.print(f"registering {options.agents} agents")
        uvloop.run(register_all(plane, options.agents))
        console.print(f"{options.rounds} rounds")
        rounds = uvloop.run(_rounds(plane, agents=options.agents, rounds=options.rounds))
    measured["rounds"] = rounds
    for among, chosen in (
        ("alone", [one for one in rounds if not one["others"]]),
        ("among_others", [one for one in rounds if one["others"]]),
    ):
        if chosen:
            measured[among] = {
                name: _figures([one[name] for one in chosen]) for name in ("first_deny_ms", "acknowledged_ms")
            }
    OUT.mkdir(exist_ok=True)
    (OUT / "stops.json").write_text(json.dumps(measured, indent=2) + "\n")
    _show(measured)
    console.print(f"written to {os.path.relpath(OUT / 'stops.json')}")
    if max(one["first_deny_ms"] for one in rounds) > BAR_MS:
        raise SystemExit(f"the slowest first deny came after more than {BAR_MS:g} ms")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=10_000, help="how many are registered (default 10000)")
    parser.add_argument("--rounds", type=int, default=100, help="stops that are measured (default 100)")
    options = parser.parse_args()
    if options.agents < 2 * _CROWD or options.rounds < 1:
        parser.error(f"--agents must be {2 * _CROWD} at least, and --rounds 1")
    return options


async def _rounds(plane: Plane, *, agents: int, rounds: int) -> list[dict[str, Any]]:
    operator = HttpPool(plane.port, plane.operator_key, size=_CROWD + 4)
    asking = HttpPool(plane.port, plane.key, size=4)
    try:
        return [await _round(operator, asking, number, agents) for number in range(rounds)]
    finally:
        operator.close()
        asking.close()


async def _round(operator: HttpPool, asking: HttpPool, number: int, agents: int) -> dict[str, Any]:
    agent = agent_name(number * 7919 % agents)
    question = _question(agent)
    await _until(asking, question, stopped=False)
    target = {"type": "fleet"} if number % 4 == 3 else {"type": "agent", "id": agent}
    crowd = number % 10 == 5
    others = [
        asyncio.ensure_future(_stop(operator, {"type": "agent", "id": agent_name(n)}))
        for n in range(_CROWD if crowd else 0)
    ]
    denied = asyncio.ensure_future(_until(asking, question, stopped=True))
    await asyncio.sleep(0.02)  # the agent is in the middle of its work
    began_s = time.perf_counter()
    identity = await _stop(operator, target)
    acknowledged_s = time.perf_counter()
    first_deny_s = await denied
    for other in [identity, *await asyncio.gather(*others)]:
        await _post(operator, f"/v1/stops/{other}/release", {"reason": "benchmark"}, 200)
    return {
        "target": target["type"],
        "others": len(others),
        "first_deny_ms": round((first_deny_s - began_s) * 1e3, 3),
        "acknowledged_ms": round((acknowledged_s - began_s) * 1e3, 3),
    }


async def _until(pool: HttpPool, question: bytes, *, stopped: bool) -> float:
    """Ask again and again. Returns: when the first answer came that is, or is not, `stopped`."""
    while True:
        status, answer = await pool.post(EVALUATION, question)
        if status != 200:
            raise SystemExit(f"a decision was not made: {status} {answer.decode()}")
        if (json.loads(answer)["context"]["reason_code"] == "stopped") is stopped:
            return time.perf_counter()


async def _stop(pool: HttpPool, target: dict[str, str]) -> str:
    answer = await _post(pool, "/v1/stops", {"target": target, "reason": "benchmark"}, 201)
    if answer["lagging"]:
        raise SystemExit(f"owners were not told in time: {answer['lagging']}")
    return str(answer["id"])


async def _post(pool: HttpPool, path: str, body: dict[str, Any], expected: int) -> dict[str, Any]:
    status, answer = await pool.post(path, json.dumps(body).encode())
    if status != expected:
        raise SystemExit(f"{path}: {status} {answer.decode()}")
    found: dict[str, Any] = json.loads(answer)
    return found


def _question(agent: str) -> bytes:
    body = {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "bench.tool-1"},
        "context": {"arguments": {}},
    }
    return json.dumps(body).encode()


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "max": ordered[-1],
    }


def _show(measured: dict[str, Any]) -> None:
    table = Table(
        "", "p50", "p95", "max", title=f"{measured['agents']} agents, {len(measured['rounds'])} stops"
    )
    for among, also in (("alone", ""), ("among_others", f", one of {_CROWD + 1} at once")):
        for name, text in (
            ("first_deny_ms", "command → first deny"),
            ("acknowledged_ms", "command → every owner enforces it"),
        ):
            if among in measured:
                found = measured[among][name]
                figures = [f"{found[each]:.1f} ms" for each in ("p50", "p95", "max")]
                table.add_row(text + also, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
