"""The driver process: connects to the running cluster, starts the service on it (or takes it off), and ends.

`python -m controlplane.lifecycle.starter [--stop]`, in the cluster's environment; run by the supervisor.
"""

from __future__ import annotations

import os
import sys

from controlplane.settings import Settings


def main(arguments: list[str]) -> int:
    from controlplane.service.deployment import start, stop

    settings = Settings.from_environment(os.environ)
    if "--stop" in arguments:
        stop(settings)
    else:
        start(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
