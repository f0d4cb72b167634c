"""What may be struck, how its process is found, and what is done to it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from controlplane.lifecycle import processes
from controlplane.settings import Settings

_SUPERVISOR = "controlplane.lifecycle.supervisor"


class Victim(StrEnum):
    """Whose process is struck."""

    HOST_0 = "host-000"
    HOST_1 = "host-001"
    DEDICATED = "dedicated"
    REPLICA = "replica"
    INGRESS = "ingress"
    CONTROL_STORE = "control-store"
    EVIDENCE_WRITER = "evidence-writer"
    NOTIFIER = "notifier"
    WHOEVER = "whoever"
    """The one that reaches a failpoint first, of all that have a journal."""
    RAYLET = "raylet"
    GCS = "gcs"
    EVERYTHING = "everything"
    """All processes at once, but for the supervisor."""

    @property
    def ends_the_cluster(self) -> bool:
        return self in (Victim.RAYLET, Victim.GCS, Victim.EVERYTHING)


class How(StrEnum):
    """What is done to it."""

    KILL = "kill"
    """SIGKILL."""
    STOP = "stop"
    """SIGSTOP, and SIGCONT some seconds later."""
    HANG = "hang"
    """SIGSTOP for good: the supervisor has to notice."""
    CRASH = "crash"
    """SIGKILL, by its own hand, at a failpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One strike. `point`: the failpoint at which it crashes."""

    victim: Victim
    how: How = How.KILL
    point: str = ""

    @property
    def signal(self) -> signal.Signals:
        return signal.SIGKILL if self.how is How.KILL else signal.SIGSTOP

    def __str__(self) -> str:
        return f"{self.how} {self.victim}" + (f" at {self.point}" if self.point else "")


def found(settings: Settings, victim: Victim) -> list[psutil.Process]:
    """The living processes of a role. One may be there twice for a moment, while it is replaced."""
    match victim:
        case Victim.HOST_0 | Victim.HOST_1:
            return _holding(settings, lambda name: name == f"{victim}.db")
        case Victim.DEDICATED:
            return _holding(settings, lambda name: name.startswith("agent-") and name.endswith(".db"))
        case Victim.CONTROL_STORE:
            return _titled(settings, "ray::ControlStore")
        case Victim.EVIDENCE_WRITER:
            return _titled(settings, "ray::EvidenceWriter")
        case Victim.NOTIFIER:
            return _titled(settings, "ray::NotifierActor")
        case Victim.WHOEVER:
            return _holding(settings, lambda name: name.endswith(".db"))
        case Victim.REPLICA:
            return _titled(settings, "ray::ServeReplica")
        case Victim.INGRESS:
            return _named(settings, "haproxy")
        case Victim.RAYLET:
            return _named(settings, "raylet")
        case Victim.GCS:
            return _named(settings, "gcs_server")
        case Victim.EVERYTHING:
            return _ours(settings, lambda process: _SUPERVISOR not in process.cmdline())


def strike(process: psutil.Process, number: signal.Signals) -> None:
    """psutil refuses when the number was given to another process meanwhile."""
    process.send_signal(number)


def end_everything(settings: Settings) -> list[psutil.Process]:
    """First all are stopped, so that none acts on the end of another; then all are ended. Returns: those that were."""
    stopped: list[psutil.Process] = []
    while started := [process for process in found(settings, Victim.EVERYTHING) if process not in stopped]:
        processes.send(started, signal.SIGSTOP)
        stopped += started
    processes.send(stopped, signal.SIGKILL)
    return stopped


def wait_found(
    settings: Settings, victim: Victim, *, other_than: frozenset[int] = frozenset(), timeout_s: float
) -> list[psutil.Process]:
    """Poll until the role has a process that is none of `other_than`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        here = [process for process in found(settings, victim) if process.pid not in other_than]
        if here:
            return here
        assert time.monotonic() < deadline_s, f"no process of `{victim}` within {timeout_s} s"
        time.sleep(0.2)


def _titled(settings: Settings, title: str) -> list[psutil.Process]:
    return _ours(settings, lambda process: any(word.startswith(title) for word in process.cmdline()))


def _named(settings: Settings, name: str) -> list[psutil.Process]:
    return _ours(settings, lambda process: process.name() == name)


def _holding(settings: Settings, journal: Callable[[str], bool]) -> list[psutil.Process]:
    """By the journal that it has open: actors of one class share a title."""
    return _ours(
        settings,
        lambda process: any(
            file.path.startswith(f"{settings.journals}/") and journal(Path(file.path).name)
            for file in process.open_files()
        ),
    )


def _ours(settings: Settings, matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    here = []
    for process in processes.ours(settings):
        try:
            if matches(process):
                here.append(process)
        except psutil.Error:
            continue
    return here
