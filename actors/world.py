"""The real world, as `Surroundings`: the only place in the actors that reads a clock or draws randomness."""

from __future__ import annotations

import os
import time

from actors.owner import Surroundings

REAL = Surroundings(
    wall_us=lambda: time.time_ns() // 1000,
    # Counts while the machine is suspended, which CLOCK_MONOTONIC does not: the wall clock does too.
    monotonic_us=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
    random_bytes=os.urandom,
)


def monotonic_s() -> float:
    """The clock that leases are measured by: the same as `REAL.monotonic_us`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e9
