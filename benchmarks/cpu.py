"""Processor time by process, read from the kernel before and after."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil


def seconds(processes: Mapping[int, str]) -> dict[str, float]:
    """User and system time so far, in seconds, by what the processes do."""
    spent: dict[str, float] = {}
    for pid, role in processes.items():
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            spent[role] = spent.get(role, 0.0) + times.user + times.system
    return spent


def per_request_us(
    before: Mapping[str, float], after: Mapping[str, float], requests: int
) -> dict[str, float]:
    """Microseconds a request between two readings, largest first; below 1 µs is left out."""
    found = {role: (after[role] - before.get(role, 0.0)) / max(1, requests) * 1e6 for role in after}
    return {role: round(us, 1) for role, us in sorted(found.items(), key=lambda item: -item[1]) if us >= 1}
