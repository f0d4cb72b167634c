"""Ending requests whose bodies do not come: each holds one of the places that a replica has for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from controlplane.errors import UnavailableError

MOST_BODY_S = 30
"""For a whole body to come; Ray Serve's own limit is the caller's to lift, by a header."""
_SWEEP_S = 1.0


class SlowBodies:
    """Bodies that are being read. One look at all of them costs less than a timer for each."""

    def __init__(self) -> None:
        self._until_s: dict[asyncio.Task[Any], float] = {}
        self._sweeping = False

    async def bounded(self, reading: Awaitable[bytes]) -> bytes:
        """Read a body. Raises: UnavailableError `deadline_passed`: it took too long. Cost: below a microsecond."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._until_s[task] = loop.time() + MOST_BODY_S
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(_SWEEP_S, self._sweep)
        try:
            return await reading
        except asyncio.CancelledError:
            # By us, and by nobody else at the same time.
            if task not in self._until_s and task.uncancel() == 0:
                raise UnavailableError(
                    f"the body did not come within {MOST_BODY_S:g} s", code="deadline_passed"
                ) from None
            raise
        finally:
            self._until_s.pop(task, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        late = [task for task, until_s in self._until_s.items() if until_s < loop.time()]
        for task in late:
            del self._until_s[task]
            task.cancel()
        self._sweeping = bool(self._until_s)
        if self._sweeping:
            loop.call_later(_SWEEP_S, self._sweep)
