"""The control plane on a Ray cluster that somebody else starts and ends, such as `ray up`: several machines.

The same supervisor watches the service there; the cluster itself is its operator's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from controlplane.lifecycle.bounded_log import open_bounded
from controlplane.lifecycle.cluster import HEAD_TIMEOUT_S, Cluster, StartError, StoppedError
from controlplane.lifecycle.environment import attached_environment
from controlplane.lifecycle.run_state import RunState, Stage

STOPPER_TIMEOUT_S = 20.0


@dataclass(slots=True, kw_only=True)
class AttachedCluster(Cluster):
    """Args:
    ray_address: `host:port` of Ray's control service.
    """

    ray_address: str
    # The first start waits for machines that are still being set up, see `service.nodes.claim_places`.
    starter_timeout_s: float = 900.0

    def start(self) -> None:
        """Bring the service up on the running cluster. Raises: StartError, StoppedError."""
        self.report(Stage.RAY, f"waiting for Ray at {self.ray_address}")
        deadline_s = time.monotonic() + HEAD_TIMEOUT_S
        while not self.lives:
            if self.stop.wait(0.5):
                raise StoppedError
            if time.monotonic() > deadline_s:
                raise StartError(f"{self.death}; start Ray there first (`ray up`)", stage=Stage.RAY)
        self.start_service()

    def environment(self) -> dict[str, str]:
        return attached_environment(self.settings, self.ray_address, os.environ)

    def adopt(self, left: RunState | None) -> bool:
        return self.lives

    @property
    def lives(self) -> bool:
        """Whether Ray's control service takes connections: the kernel does so even when the machine is busy."""
        host, _, port = self.ray_address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
        except OSError:
            return False
        return True

    @property
    def death(self) -> str:
        return f"Ray's control service at {self.ray_address} takes no connections"

    def end(self) -> int:
        """Take the service and its actors off the cluster, which goes on. Returns: how many of our processes ended."""
        if self._starter is not None and self._starter.poll() is None:
            self._starter.kill()
            self._starter.wait()
        self._starter = None
        if not self.lives:
            return 0
        with open_bounded(self.settings.logs / "starter.log") as log:
            stopper = subprocess.Popen(
                [sys.executable, "-m", "controlplane.lifecycle.starter", "--stop"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.settings.run,
                start_new_session=True,
            )
        try:
            stopper.wait(STOPPER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            stopper.kill()
            stopper.wait()
        return 1
