"""Processor time by process, read from the kernel before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

Reading = tuple[Mapping[str, float], Mapping[str, float], int]
"""What `seconds` said before and after a run, and how many requests there were in between."""


def seconds(processes: Mapping[int, str]) -> dict[str, float]:
    """User and system time so far, in seconds, by what the processes do."""
    spent: dict[str, float] = {}
    for pid, role in processes.items():
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            spent[role] = spent.get(role, 0.0) + times.user + times.system
    return spent


def per_request_us(readings: Sequence[Reading]) -> dict[str, float]:
    """Microseconds a request over some runs, largest first; below 1 µs is left out."""
    requests = max(1, sum(count for _, _, count in readings))
    spent: dict[str, float] = {}
    for before, after, _ in readings:
        for role in after:
            spent[role] = spent.get(role, 0.0) + after[role] - before.get(role, 0.0)
    found = {role: seconds / requests * 1e6 for role, seconds in spent.items()}
    return {role: round(us, 1) for role, us in sorted(found.items(), key=lambda item: -item[1]) if us >= 1}


def spent_us(run: Callable[[], object]) -> float:
    """Processor time that this process spends in one call, µs."""
    began_ns = time.process_time_ns()
    run()
    return (time.process_time_ns() - began_ns) / 1e3
