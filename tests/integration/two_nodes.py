"""A control plane on two Ray nodes of this machine, all on loopback: what the test of lost nodes holds in its hands."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from integration.plane import Running, wait_until

from actors.placement import journals_resource
from controlplane.lifecycle import ray_head
from controlplane.lifecycle.ports import Ports, any_free, draw
from controlplane.lifecycle.processes import end_all, ours, wait_ended
from controlplane.lifecycle.readiness import Answer, Readiness, ask
from controlplane.lifecycle.run_state import RunState
from controlplane.settings import Settings

HEAD, OTHER = "head", "node-b"
RAY_NODE = Path(__file__).with_name("ray_node.py")
_TIMEOUT_S = 120.0
"""Far beyond what it takes: the machine that runs the tests may be busy."""


@dataclass(slots=True, kw_only=True)
class TwoNodes:
    """Two Ray nodes, and `controlplane attach` on the first."""

    settings: Settings
    ports: Ports
    environment: dict[str, str]
    head: subprocess.Popen[bytes] | None = None
    other: subprocess.Popen[bytes] | None = None
    attached: subprocess.Popen[bytes] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def running(self) -> Running:
        key = self.settings.operator_key.read_text().strip()
        return Running(self.settings, self.settings.url, key)

    def start_head(self) -> None:
        self.head = ray_head.start(self.settings, self.ports, self.environment)
        wait_until(lambda: ray_head.accepts(self.ports), timeout_s=_TIMEOUT_S, what="the head")

    def start_other(self) -> None:
        """Start the second node; it joins in a few seconds."""
        words = [f"127.0.0.1:{self.ports.gcs}", json.dumps({journals_resource(OTHER): 1})]
        with (self.settings.logs / "other.log").open("ab") as log:
            self.other = subprocess.Popen(
                [sys.executable, str(RAY_NODE), *words, str(self.settings.ray_temp)],
                env={name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_other(self) -> None:
        """SIGKILL everything of the second node at once, as a power cut would."""
        assert self.other is not None
        parent = psutil.Process(self.other.pid)
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.send_signal(signal.SIGSTOP)  # nothing starts anything meanwhile
        for process in [*family, *parent.children(recursive=True)]:
            process.kill()
        self.other.wait()
        assert wait_ended(family, timeout_s=10) == []

    def attach(self) -> None:
        """What an operator runs on the head, under systemd."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CONTROLPLANE_"))}
        words = ["--data", str(self.settings.data), "--port", str(self.settings.port)]
        words += ["--ray-address", f"127.0.0.1:{self.ports.gcs}"]
        with (self.settings.logs / "attach.log").open("ab") as log:
            self.attached = subprocess.Popen(
                [sys.executable, "-m", "controlplane", "attach", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def detach(self) -> None:
        """Ctrl-C."""
        assert self.attached is not None
        self.attached.send_signal(signal.SIGINT)
        assert self.attached.wait(timeout=60) == 0

    def readiness(self) -> Answer:
        return ask(self.settings.url, timeout_s=5)

    def wait_until_ready(self, what: str) -> None:
        def ready() -> bool:
            assert self.attached is not None
            if self.attached.poll() is not None:
                raise AssertionError((self.settings.logs / "attach.log").read_text()[-2000:])
            answer = self.readiness()
            return answer.readiness is Readiness.READY and answer.body["status"] == "ready"

        wait_until(ready, timeout_s=_TIMEOUT_S, what=what)

    def restarts(self) -> int:
        """How often the supervisor started the whole service again."""
        state = RunState.read(self.settings.run_state)
        assert state is not None
        return state.restarts

    def processes_of(self, host: str) -> list[psutil.Process]:
        """Who has a host's journal open."""
        journal = str(self.settings.journals / f"{host}.db")
        found = []
        for process in ours(self.settings):
            try:
                if any(file.path == journal for file in process.open_files()):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def two_nodes(data: Path, *, hosts: int) -> Iterator[TwoNodes]:
    """Start both nodes and the control plane; whatever happens, nothing of it is left afterwards."""
    settings = Settings.create_or_open(data, hosts=hosts, nodes=[HEAD, OTHER], port=any_free("127.0.0.1"))
    ports = draw(random.SystemRandom())
    base = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CONTROLPLANE_"))}
    plane = TwoNodes(settings=settings, ports=ports, environment=ray_head.prepare(settings, ports, base))
    children = lambda: [c for c in (plane.head, plane.other, plane.attached) if c is not None]  # noqa: E731
    try:
        plane.start_head()
        plane.start_other()
        plane.attach()
        plane.wait_until_ready("the control plane on two nodes")
        yield plane
    finally:
        # Everything here carries the instance's mark, Ray included.
        end_all(lambda: ours(settings), grace_s=5.0, reap=lambda: [c.poll() for c in children()] and None)
        for child in children():
            child.wait(timeout=30)
        ray_head.remove_temp(settings)
        assert ours(settings) == []
