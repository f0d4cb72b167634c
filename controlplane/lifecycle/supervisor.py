"""The supervisor: one process outside Ray that keeps the cluster of one data directory running.

`python -m controlplane.lifecycle.supervisor [--foreground] [--attach ADDRESS]`, in the environment of
`supervisor_environment`. It holds the directory's lock, starts the cluster (or adopts one whose supervisor died),
starts the service again when it stops answering, and the whole cluster when that does not help, with growing pauses.
SIGTERM ends everything; SIGKILL leaves the cluster serving, for the next supervisor to adopt.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from types import FrameType

from controlplane.evidence_settings import evidence_place
from controlplane.lifecycle import orphans
from controlplane.lifecycle.attached import AttachedCluster
from controlplane.lifecycle.bounded_log import BOUND_BYTES
from controlplane.lifecycle.cluster import Cluster, StartError, StoppedError
from controlplane.lifecycle.patience import Patience, Step
from controlplane.lifecycle.processes import Identity
from controlplane.lifecycle.readiness import Readiness, ask
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.lifecycle.supervisor_lock import hold
from controlplane.settings import Settings

LOOK_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

log = logging.getLogger("controlplane.supervisor")


class Supervisor:
    """Keeps one cluster running until it is told to stop.

    Args:
        ray_address: of the Ray cluster that somebody else started; None = one of our own, on this machine.
    """

    def __init__(self, settings: Settings, *, ray_address: str | None = None) -> None:
        self.stop = threading.Event()
        self._settings = settings
        self._cluster = (
            Cluster(settings=settings, stop=self.stop, report=self._report)
            if ray_address is None
            else AttachedCluster(
                settings=settings, stop=self.stop, report=self._report, ray_address=ray_address
            )
        )
        self._state = RunState(
            instance=settings.instance,
            host=settings.host,
            port=settings.port,
            url=settings.url,
            stage=Stage.PREPARING,
            message="",
            supervisor=Identity.of(os.getpid()),
            started_at=_now(),
        )

    def run(self) -> int:
        """Until `stop` is set, or until a first start fails. Returns: the process's exit status."""
        orphans.adopt_orphans()
        first = True
        pause_s = FIRST_PAUSE_S
        try:
            while not self.stop.is_set():
                try:
                    if not (first and self._adopt()):
                        self._cluster.start()
                    first, ready_since = False, time.monotonic()
                    self._report(Stage.READY, "ready")
                    self._say_where()
                    self._watch()
                    if time.monotonic() - ready_since > 10 * LONGEST_PAUSE_S:
                        pause_s = FIRST_PAUSE_S
                except StartError as error:
                    if first:  # a first start fails for a reason that the operator can see and mend
                        self._cluster.end()
                        self._report(Stage.FAILED, error.message)
                        return 1
                    log.error("start failed: %s", error)
                self._state = replace(self._state, restarts=self._state.restarts + 1)
                self._report(Stage.RESTARTING, f"the cluster died; starting it again in {pause_s:.0f} s")
                self.stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        except StoppedError:
            pass
        self._report(Stage.STOPPING, "ending every process of this instance")
        ended = self._cluster.end()
        log.info("stopped; ended %d processes", ended)
        self._settings.run_state.unlink(missing_ok=True)
        return 0

    def _adopt(self) -> bool:
        """Take over a healthy cluster that an earlier supervisor left; anything less is started afresh."""
        settings = self._settings
        left = RunState.read(settings.run_state)
        if left is not None and (left.host, left.port) != (settings.host, settings.port):
            return False
        if ask(settings.url).readiness is not Readiness.READY or not self._cluster.adopt(left):
            return False
        log.info("adopted the running cluster")
        return True

    def _watch(self) -> None:
        """Return when the cluster has to be started again. Raises: StoppedError."""
        patience = Patience(time.monotonic())
        while True:
            if self.stop.wait(LOOK_S):
                raise StoppedError
            self._cluster.reap()
            if not self._cluster.lives:
                log.error("%s", self._cluster.death)
                return
            answer = ask(self._settings.url)
            match patience.step(answer, time.monotonic()):
                case Step.WAIT:
                    continue
                case Step.START_SERVICE:
                    silent = ", ".join(answer.silent)
                    log.error("not well for too long: %s", answer.reason or f"no answer from {silent}")
                    self._start_service()
                    patience.tried(time.monotonic())
                case Step.START_CLUSTER:
                    log.error("not ready, though the service was started again: %s", answer.reason)
                    return

    def _start_service(self) -> None:
        try:
            self._cluster.start_service()
        except StartError as error:
            log.error("starting the service again failed: %s", error)
        else:
            self._report(Stage.READY, "ready, after the service was started again")

    def _say_where(self) -> None:
        """For who watches in the foreground; plain `up` says the same."""
        settings = self._settings
        log.info("url           %s", settings.url)
        log.info("data          %s", settings.data)
        log.info("operator key  %s", settings.operator_key)
        log.info("evidence      %s", evidence_place(settings))
        log.info("logs          %s", settings.logs)

    def _report(self, stage: Stage, message: str) -> None:
        log.info("%s: %s", stage, message)
        self._state = replace(
            self._state,
            stage=stage,
            message=message,
            ready_at=_now() if stage is Stage.READY else self._state.ready_at,
            head=self._cluster.head,
            ports=self._cluster.ports,
        )
        self._state.write(self._settings.run_state)


def main(arguments: list[str]) -> int:
    settings = Settings.from_environment(os.environ)
    _log_to(settings, foreground="--foreground" in arguments)
    with hold(settings.lock) as ours:
        if not ours:
            log.info("another supervisor holds %s", settings.lock)
            return 0
        attached = arguments[arguments.index("--attach") + 1] if "--attach" in arguments else None
        supervisor = Supervisor(settings, ray_address=attached)

        def on_signal(number: int, frame: FrameType | None) -> None:
            supervisor.stop.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, on_signal)
        try:
            return supervisor.run()
        except Exception:
            log.exception("the supervisor failed; the cluster goes on, `controlplane up` adopts it")
            raise


def _log_to(settings: Settings, *, foreground: bool) -> None:
    rotating = RotatingFileHandler(settings.logs / "supervisor.log", maxBytes=BOUND_BYTES, backupCount=2)
    handlers: list[logging.Handler] = [rotating]
    if foreground:
        handlers.append(logging.StreamHandler())
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)sZ %(message)s", datefmt="%Y-%m-%dT%H:%M:%S", handlers=handlers
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
