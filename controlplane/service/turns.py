"""Waiting for the one large request that is worked on at a time, no longer than its caller waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controlplane.errors import UnavailableError


def left_s(deadline_us: int) -> float:
    """How long a caller still waits, a millisecond at least. `deadline_us`: wall clock."""
    return max(0.001, (deadline_us - time.time_ns() // 1000) / 1e6)


@asynccontextmanager
async def in_turn(large: asyncio.Lock, deadline_us: int) -> AsyncIterator[None]:
    """Hold `large`, once those who came before have let it go.

    Nothing is done for whoever waits no longer: under a flood everybody's turn would come too late.

    Raises: UnavailableError `deadline_passed`: they took until the deadline. Cost: 5 µs.
    """
    try:
        async with asyncio.timeout(left_s(deadline_us)):
            await large.acquire()
    except TimeoutError:
        raise UnavailableError(
            "large requests before this one took until its deadline; nothing was decided",
            code="deadline_passed",
        ) from None
    try:
        yield
    finally:
        large.release()
