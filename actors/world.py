"""The real world, as `Surroundings`: the only place in the actors that reads a clock or draws randomness."""

from __future__ import annotations

import os
import time

from actors.owner import Surroundings

REAL = Surroundings(
    wall_us=lambda: time.time_ns() // 1000,
    monotonic_us=lambda: time.monotonic_ns() // 1000,
    random_bytes=os.urandom,
)


def monotonic_s() -> float:
    return time.monotonic()
