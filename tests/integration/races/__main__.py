"""`make races WORKFLOWS=3000 SEED=1`: the long form, on a control plane of its own in a temporary directory."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from integration.plane import brought_up
from integration.races.racing import Races, activate, summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=3000)
    parser.add_argument("--kill-every-s", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.0f} s  {text}", flush=True)

    folder = tempfile.mkdtemp(prefix="controlplane-races-")
    data = Path(folder) / "cp"
    say(f"bringing a control plane up in {data}; it stays there if a race is lost")
    with brought_up(data) as running:
        activate(running)
        races = Races(
            running,
            workflows=arguments.workflows,
            kill_every_s=arguments.kill_every_s,
            seed=arguments.seed,
        )
        races.run(say)
        for line in summary(races.raced, races.found()):
            say(line)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
