"""`make faults ROUNDS=50 SEED=1`: the long form, on a control plane of its own in a temporary directory."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from integration.faults.plan import long_plan
from integration.faults.run import run, summary
from integration.plane import brought_up

from controlplane.lifecycle import processes
from evidence.failpoints import VARIABLE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.0f} s  {text}", flush=True)

    folder = tempfile.mkdtemp(prefix="controlplane-faults-")
    data = Path(folder) / "cp"
    points = Path(folder) / "points"
    points.mkdir()
    os.environ[VARIABLE] = str(points)
    say(f"bringing a control plane up in {data}; it stays there if a round fails")
    with brought_up(data) as running:
        seed, rounds = arguments.seed, arguments.rounds
        repeat = f"make faults ROUNDS={rounds} SEED={seed}"
        result = run(running, long_plan(seed, rounds), seed=seed, repeat=repeat, say=say)
    left = processes.ours(running.settings)
    assert not left, f"processes are left: {left}"
    for line in summary(result):
        say(line)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
