"""The driver process: connects to the running cluster, starts the service on it, and ends.

`python -m controlplane.lifecycle.starter`, in the cluster's environment; run by the supervisor.
"""

from __future__ import annotations

import os
import sys

from controlplane.settings import Settings


def main() -> int:
    from controlplane.service.deployment import start

    start(Settings.from_environment(os.environ))
    return 0


if __name__ == "__main__":
    sys.exit(main())
