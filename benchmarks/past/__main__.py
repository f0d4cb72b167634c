"""What rules over the past cost: time against the length of the past, state, hostile keys, and two others.

    make bench                                        # with everything else
    python -m benchmarks.past                         # about four minutes
    python -m benchmarks.past --peers                 # installs dogwood-py and invariant-ai apart, and compares
    python -m benchmarks.past --events 10000 --keys 100000 --rounds 2   # a quick look

Starts nothing and listens nowhere. Four parts:

1. in process, one thread: prepare + verdict + permit with twenty rules over the past, after 1, 1 000 and 1 000 000
   permitted actions, which take turns. `past_20_rules_p50_us` is the realistic mix at its dearest length; where all
   twenty look at each action, hold, and remember it stands beside it.
2. bytes of state of an idle session, and what the rules cost an owner with each durable decision (CPU, batches of 64,
   a real journal).
3. memory under millions of different keys, and the time to refuse hostile formulas.
4. the same two rules over the same traces in two others that look at sequences. They run in a virtual environment of
   their own (benchmarks/out/peers-venv), because what they need does not go together with what we need; used whenever
   it is there, made by --peers.

Figures of two machines, or of two hours on a shared one, do not compare; ratios within one run do.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from actors.collector import collect_seldom
from benchmarks import machine
from benchmarks.past import hostile, owners, report, sizes, verdicts
from benchmarks.past.peers import comparison

OUT = Path(__file__).parents[1] / "out"
PEERS = OUT / "peers-venv"

console = Console(stderr=True)


def main() -> None:
    options = _options()
    if options.peers:
        console.print(f"installing {', '.join(comparison.WORKERS)} in {os.path.relpath(PEERS)}")
        comparison.install(PEERS)
    measured: dict[str, Any] = {"machine": machine.describe()}
    console.print(f"[bold]the past[/] on {measured['machine']['processor']}")
    collect_seldom()  # as owners do
    console.print(f"1/4 verdicts after up to {options.events:,} actions")
    lengths = tuple(sorted({1, min(1_000, options.events), options.events}))
    measured["verdicts"] = verdicts.measure(lengths=lengths, rounds=options.rounds)
    console.print("2/4 state and owners")
    measured["state_bytes"] = sizes.measure()
    measured["owner_cpu_us"] = owners.measure(batches=10, rounds=options.rounds + 1)
    console.print(f"3/4 hostile keys ({options.keys:,}, {options.key_seconds:.0f} s at most) and formulas")
    measured["keys"] = hostile.measure_keys(keys=options.keys, most_s=options.key_seconds)
    measured["formulas"] = hostile.measure_formulas()
    console.print("4/4 others")
    measured["peers"] = comparison.compare(PEERS, rounds=options.rounds)
    measured |= verdicts.headlines(measured["verdicts"]) | sizes.headlines(measured["state_bytes"])
    OUT.mkdir(exist_ok=True)
    out = OUT / "past.json"
    out.write_text(json.dumps(measured, indent=2) + "\n")
    for table in report.tables(measured):
        Console().print(table)
    console.print(f"written to {os.path.relpath(out)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.past",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="length of the longest past (default 1000000)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns that everything takes (default 5)")
    parser.add_argument("--keys", type=int, default=10_000_000, help="different keys (default 10000000)")
    parser.add_argument(
        "--key-seconds", type=float, default=60, help="for how long keys are fed at most (default 60)"
    )
    parser.add_argument("--peers", action="store_true", help="install the two others (again)")
    options = parser.parse_args()
    if min(options.events, options.rounds, options.keys) < 1 or options.key_seconds <= 0:
        parser.error("--events, --rounds, --keys and --key-seconds must be positive")
    return options


if __name__ == "__main__":
    main()
