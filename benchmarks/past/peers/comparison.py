"""Us beside two others that look at sequences, with the same rules over the same traces, in turns.

Each of the others runs in a process of a virtual environment of its own: what they need does not go together with what
we need. It is made on request; where there is none, the figures are ours alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.past.peers.ours import Ours
from benchmarks.past.peers.work import RULES, measure, trace

EVENTS = (1, 30, 200, 1_000)
OURS = "ours"
WORKERS = {
    "dogwood-py 0.0.12": "benchmarks.past.peers.dogwood_worker",
    "invariant-ai 0.3.5": "benchmarks.past.peers.invariant_worker",
}
_DECISIONS = 60
"""In each of the rounds, in which an engine has at most `_MOST_S` for each rule and length, feeding included."""
_MOST_S = 1.0
_SLOW_US = 500_000.0
"""What takes longer than this is measured once, and not with a longer trace."""
_ROOT = Path(__file__).parents[3]
_REQUIREMENTS = Path(__file__).parent / "requirements.txt"

Figures = dict[str, dict[str, dict[str, float | None]]]


def install(folder: Path) -> None:
    """Make the virtual environment of the others. Cost: a minute, and 40 packages from the package index."""
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    pip = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(_REQUIREMENTS)], check=True)


def compare(folder: Path, *, rounds: int) -> dict[str, Any]:
    """p50 of one decision in µs, by engine, rule and events before it; None = it would take too long.

    Raises: AssertionError: an engine decides otherwise than the rule says.
    """
    with ExitStack() as stack:
        engines = {OURS: None} | {
            name: stack.enter_context(_running(folder, module))
            for name, module in WORKERS.items()
            if _python(folder).exists()
        }
        figures: Figures = {name: {rule: {} for rule in RULES} for name in engines}
        for rule in RULES:
            for events in EVENTS:
                found = _in_turns(engines, rule, events, rounds, figures)
                for name, spent in found.items():
                    figures[name][rule][str(events)] = round(statistics.median(spent), 1) if spent else None
    return {"p50_us": figures, "absent": [name for name in WORKERS if name not in figures]}


def _in_turns(
    engines: dict[str, subprocess.Popen[str] | None], rule: str, events: int, rounds: int, before: Figures
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in engines}
    _, _, expected = trace(rule, events)
    for _ in range(rounds):
        for name, process in engines.items():
            if any(us is None or us > _SLOW_US for us in (*before[name][rule].values(), *found[name])):
                continue
            answer = _ask(process, rule, events)
            if set(answer["allowed"]) != {expected}:
                raise AssertionError(f"{name} does not do what the rule `{rule}` says after {events} calls")
            found[name] += answer["us"]
    return found


def _ask(process: subprocess.Popen[str] | None, rule: str, events: int) -> dict[str, Any]:
    if process is None:
        return measure(Ours, rule, events, decisions=_DECISIONS, most_s=_MOST_S)
    asked = {"rule": rule, "events": events, "decisions": _DECISIONS, "most_s": _MOST_S}
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a peer's process ended with {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    return answer


@contextmanager
def _running(folder: Path, module: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "INVARIANT_MAX_ITERATIONS": str(10**9)}
    process = subprocess.Popen(
        [str(_python(folder)), "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
        env=environment,
        cwd=_ROOT,
    )
    try:
        yield process
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(timeout=60)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
