"""The processes: owners and their evidence writer, started, crashed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from actors.placement import CONTROL_STORE, host_name
from evidence import failpoints
from evidence.signing_keys import KeyFiles

HOSTS = 2
WRITER = "writer"
NAME = "controlplane-crashes"
OWNERS = (CONTROL_STORE, *(host_name(index) for index in range(HOSTS)))


def key_files(folder: Path) -> KeyFiles:
    """Where the writer finds the key that it signs with."""
    keys = folder / "keys"
    return KeyFiles(private=keys / "evidence.json", notes=keys / "keys.notes", public=keys / "keys.vkey")


@dataclass(slots=True)
class Fleet:
    """Every process of one run, below one folder. Ended with the run, however that ends: each reads a pipe of ours."""

    folder: Path
    deaths: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("journals", "sockets", "points", "logs", "keys"):
            (self.folder / name).mkdir(mode=0o700)
        key_files(self.folder).create(NAME, created_at="2026-09-04T12:00:00Z", random_bytes=os.urandom)

    @property
    def points(self) -> Path:
        return self.folder / "points"

    @property
    def table(self) -> Path:
        return self.folder / "decisions"

    @property
    def checkpoint_files(self) -> Path:
        return self.folder / "checkpoint-files"

    def start(self, name: str) -> None:
        module, argument = ("writer", str(HOSTS)) if name == WRITER else ("owner", name)
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"integration.crashes.{module}", str(self.folder), argument],
                env={
                    **os.environ,
                    failpoints.VARIABLE: str(self.points),
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def start_all(self) -> None:
        for name in (*OWNERS, WRITER):
            self.start(name)

    def kill(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGKILL)
        self._processes[name].wait()

    def fallen(self) -> list[str]:
        """Who has ended. Raises: AssertionError: of something else than SIGKILL."""
        ended = {
            name: process.returncode
            for name, process in self._processes.items()
            if process.poll() is not None
        }
        for name, code in ended.items():
            assert code == -signal.SIGKILL, f"`{name}` ended with {code}:\n{self.said(name)}"
        return list(ended)

    def start_again(self, name: str) -> None:
        self.deaths += 1
        process = self._processes[name]
        assert process.stdin is not None
        process.stdin.close()
        self.start(name)

    def said(self, name: str) -> str:
        """The end of its log."""
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")[-3000:]

    def end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def wait_for(what: str, timeout_s: float) -> Deadline:
    return Deadline(what, time.monotonic() + timeout_s)


@dataclass(frozen=True, slots=True)
class Deadline:
    """Raises, naming what was waited for, once it has passed."""

    what: str
    until_s: float

    def check(self, state: str = "") -> None:
        assert time.monotonic() < self.until_s, f"waited in vain for {self.what}{state and ': ' + state}"
