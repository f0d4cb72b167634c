"""Collecting dead descendants: a supervisor that leaves zombies behind leaves processes behind."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Container

import psutil

from controlplane.lifecycle.processes import POLL_S, has_ended

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on the kernel gives us, not process 1, the orphans among our descendants (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(*, but: Container[int]) -> None:
    """Collect dead children, `but` those that someone else waits for (subprocess loses the status otherwise)."""
    for child in psutil.Process().children():
        try:
            if child.pid not in but and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
        except (psutil.Error, ChildProcessError):
            continue


def reap_all(*, timeout_s: float) -> None:
    """Collect every dead child, waiting for those whose other threads are still ending."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        reap(but=())
        if not any(has_ended(child) for child in psutil.Process().children()):
            return
        time.sleep(POLL_S)
