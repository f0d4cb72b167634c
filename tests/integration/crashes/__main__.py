"""`make crashes ROUNDS=300 SEED=1`: kill owners and the evidence writer at every failpoint, and compare.

Needs no Ray: real journals, the real writer, a real table, and sockets between them.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from integration.crashes.plan import MOMENTS, plan
from integration.crashes.run import run

from evidence.failpoints import POINTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.0f} s  {text}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="controlplane-crashes-"))
    say(f"crashing in {folder}; it stays there if a round fails")
    result = asyncio.run(run(folder, plan(arguments.seed, arguments.rounds), seed=arguments.seed, say=say))
    for where in (*sorted(POINTS), *MOMENTS):
        say(f"{result.crashed[where]:5d} x {where}")
    never = [where for where in (*POINTS, *MOMENTS) if not result.crashed[where]]
    say(
        f"{result.crashed.total()} crashes in {arguments.rounds} rounds, {result.checks} comparisons, "
        f"{result.rows} rows: nothing lost, nothing twice, nothing changed"
    )
    shutil.rmtree(folder)
    if never:
        say(f"too few rounds: never crashed at {', '.join(sorted(never))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
