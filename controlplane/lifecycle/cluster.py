"""One running cluster, from nothing to ready and back: what the supervisor starts, watches and ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.errors import GovernanceError
from controlplane.lifecycle import orphans, ray_head
from controlplane.lifecycle.bounded_log import open_bounded, tail
from controlplane.lifecycle.environment import cluster_environment
from controlplane.lifecycle.ports import Ports, draw, is_free
from controlplane.lifecycle.processes import Identity, end_all, ours
from controlplane.lifecycle.readiness import Readiness, ask
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.lifecycle.store_access import leave_access
from controlplane.settings import Settings

HEAD_TIMEOUT_S = 60.0
STARTER_TIMEOUT_S = 180.0
DOOR_TIMEOUT_S = 60.0
GRACE_S = 4.0
REAP_TIMEOUT_S = 3.0


class StartError(GovernanceError):
    """A cluster did not come up; `stage` says how far it came."""

    code = "start_failed"


class StoppedError(Exception):
    """We were asked to stop while waiting."""


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Args:
    stop: set when the supervisor is to end; every wait here looks at it.
    report: told each stage and what is done in it.
    starter_timeout_s: how long the starter may take.
    """

    settings: Settings
    stop: threading.Event
    report: Callable[[Stage, str], None]
    starter_timeout_s: float = STARTER_TIMEOUT_S
    ports: Ports | None = None
    head: Identity | None = None
    _head_process: subprocess.Popen[bytes] | None = None
    _starter: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """From nothing to ready. Raises: StartError, StoppedError."""
        settings = self.settings
        self.report(Stage.PREPARING, "ending what an earlier run left")
        self.end()
        if not is_free(settings.port, settings.host):
            raise StartError(
                f"port {settings.port} on {settings.host} is taken; choose another with --port",
                code="port_taken",
                stage=Stage.PREPARING,
            )
        self.ports = draw(random.SystemRandom())
        environment = ray_head.prepare(settings, self.ports, os.environ)
        self.report(Stage.RAY, "starting Ray")
        process = self._head_process = ray_head.start(settings, self.ports, environment)
        self.head = Identity.of(process.pid)
        ports = self.ports
        self._wait(lambda: ray_head.accepts(ports), HEAD_TIMEOUT_S, process, "ray.log", Stage.RAY)
        self.start_service()

    def start_service(self) -> None:
        """Run the starter on the running cluster, then wait for the door. Raises: StartError, StoppedError."""
        settings = self.settings
        self.report(Stage.SERVICE, "starting the actors and the decision service")
        leave_access(settings, os.environ)
        with open_bounded(settings.logs / "starter.log") as log:
            starter = self._starter = subprocess.Popen(
                [sys.executable, "-m", "controlplane.lifecycle.starter"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=settings.run,
                start_new_session=True,
            )
        try:
            done = lambda: starter.poll() == 0  # noqa: E731
            self._wait(done, self.starter_timeout_s, starter, "starter.log", Stage.SERVICE)
        finally:
            if starter.poll() is None:
                starter.kill()
                starter.wait()
        self.report(Stage.DOOR, f"waiting for {settings.url}")
        self._wait(
            lambda: ask(settings.url).readiness is Readiness.READY,
            DOOR_TIMEOUT_S,
            None,
            "starter.log",
            Stage.DOOR,
        )

    def environment(self) -> dict[str, str]:
        """In which the starter runs, once the cluster does."""
        assert self.ports is not None
        shim = str(self.settings.run / "haproxy-on-loopback")
        return cluster_environment(self.settings, self.ports, os.environ, haproxy=shim)

    def adopt(self, left: RunState | None) -> bool:
        """Take over a serving cluster whose supervisor died. Args: left: what that one wrote last.

        Returns: whether there is one.
        """
        if left is None or left.head is None or left.ports is None or left.head.process() is None:
            return False
        self.ports, self.head = left.ports, left.head
        return True

    @property
    def lives(self) -> bool:
        """Whether the head runs; it ends when any of Ray's parts does."""
        if self._head_process is not None:
            return self._head_process.poll() is None
        return self.head is not None and self.head.process() is not None

    @property
    def death(self) -> str:
        """What to say when it no longer lives."""
        return f"the Ray head ended; see {self.settings.logs / 'ray.log'}"

    def end(self) -> int:
        """End every process of this instance but the caller, and remove Ray's files. Returns: how many."""
        ended = end_all(lambda: ours(self.settings), grace_s=GRACE_S, reap=self.reap)
        for child in (self._head_process, self._starter):
            if child is not None:
                child.wait()
        orphans.reap_all(timeout_s=REAP_TIMEOUT_S)
        self.head = self._head_process = self._starter = None
        ray_head.remove_temp(self.settings)
        return ended

    def reap(self) -> None:
        children = [child for child in (self._head_process, self._starter) if child is not None]
        for child in children:
            child.poll()
        orphans.reap(but=[child.pid for child in children])

    def _wait(
        self,
        reached: Callable[[], bool],
        timeout_s: float,
        process: subprocess.Popen[bytes] | None,
        log: str,
        stage: Stage,
    ) -> None:
        deadline = time.monotonic() + timeout_s
        path = self.settings.logs / log
        while not reached():
            if self.stop.wait(0.1):
                raise StoppedError
            ended = process is not None and process.poll() not in (None, 0)
            if ended or not self.lives or time.monotonic() > deadline:
                why = "ended" if ended or not self.lives else f"took more than {timeout_s:.0f} s"
                last = tail(path, lines=1)
                raise StartError(
                    f"{stage} {why}; see {path}" + (f" (last line: {last[:500]})" if last else ""),
                    stage=stage,
                )
