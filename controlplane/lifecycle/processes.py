"""Which processes are this instance's, and how they end: nothing else is ever signalled.

A process is ours when it carries our tag in its environment, which every descendant of the supervisor inherits.
Ray's two agents overwrite their environment with their title; they are known by that title (`ray::…`) together with
an open file below our instance's own temporary directory.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from controlplane.lifecycle.environment import INSTANCE_VARIABLE
from controlplane.settings import Settings

POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process, told apart from a later one with the same number.

    Args:
        create_time: seconds since the epoch, as psutil reports it.
    """

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Raises: psutil.NoSuchProcess."""
        return cls(pid=pid, create_time=psutil.Process(pid).create_time())

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Identity:
        return cls(pid=int(values["pid"]), create_time=float(values["create_time"]))

    def process(self) -> psutil.Process | None:
        """The process while it runs; None once it has ended, even if its number was given out again."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.create_time) < 0.01
        except psutil.Error:
            return None
        return found if same and not has_ended(found) else None


def ours(settings: Settings) -> list[psutil.Process]:
    """Every living process of this instance but the caller. Cost: one look at each process of the machine."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and not has_ended(process) and is_ours(process, settings)
    ]


def is_ours(process: psutil.Process, settings: Settings) -> bool:
    """Whether `process` belongs to this instance; False for those we may not look at."""
    try:
        if process.uids().real != os.getuid():
            return False
        environment = process.environ()
        if INSTANCE_VARIABLE in environment:
            return environment[INSTANCE_VARIABLE] == settings.tag
        title = process.cmdline()[:1]
    except psutil.Error:
        return False
    return bool(title) and title[0].startswith("ray::") and _has_open_below(process.pid, settings.ray_temp)


def _has_open_below(pid: int, folder: Path) -> bool:
    # Not psutil's open_files(): it leaves out deleted files, and the directory may already be gone.
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for handle in handles:
        try:
            target = str(handle.readlink())
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            return True
    return False


def has_ended(process: psutil.Process) -> bool:
    """Gone, or dead and only waiting for its parent to notice."""
    try:
        return not process.is_running() or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return True


def wait_ended(processes: Iterable[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Wait until all have ended. Returns: those that have not in time."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if not has_ended(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [process for process in left if not has_ended(process)]
    return left


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Signal each; psutil refuses when a process number was given to another process meanwhile."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def end_all(find: Callable[[], Sequence[psutil.Process]], *, grace_s: float, reap: Callable[[], None]) -> int:
    """End every process that `find` names: first HAProxy finishes its requests, then SIGTERM, then SIGKILL.

    `find` is asked again after each round, because a dying cluster still starts processes.

    Args:
        grace_s: how long SIGTERM may take before SIGKILL.
        reap: called between looks; a parent collects its dead children here.
    Returns: how many processes were ended.
    """
    seen: set[int] = set()
    front = [process for process in find() if _name(process) == "haproxy"]
    seen.update(process.pid for process in front)
    send(front, signal.SIGUSR1)  # stop listening, finish what was accepted
    wait_ended(front, timeout_s=1.0)
    asked = find()
    seen.update(process.pid for process in asked)
    send(asked, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while left := find():
        seen.update(process.pid for process in left)
        if time.monotonic() > deadline:
            send(left, signal.SIGKILL)
        reap()
        time.sleep(POLL_S)
    return len(seen)


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""
