"""Having owners renew their leases at once: one call to each under way, and whoever comes meanwhile goes with the next.

So a hundred stops at a time cost an owner a few renewals, and one that is silent holds up nobody but those who ask for
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from actors import activation

TOLD_TIMEOUT_S = 2.0


class Telling:
    """Of one control store. Args: call: how an owner is asked, see `actors.handles.ask`."""

    def __init__(self, call: Callable[..., Awaitable[object]]) -> None:
        self._call = call
        self._under_way: dict[str, asyncio.Task[bool]] = {}
        self._next: dict[str, asyncio.Task[bool]] = {}

    async def tell(self, owners: Sequence[str]) -> dict[str, bool]:
        """Says by name which owners said within two seconds that they have renewed their leases.

        INVARIANT (lease): each of those asked for its lease after this was called, so that it holds what was durable
        before, and decides with it.
        """
        told = {name: self._after_now(name) for name in owners}
        if told:
            await asyncio.wait(told.values(), timeout=TOLD_TIMEOUT_S)
        return {name: task.done() and _said_so(task) for name, task in told.items()}

    def _after_now(self, name: str) -> asyncio.Task[bool]:
        """A call to an owner that has not begun yet."""
        task = self._next.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._run(name, self._under_way.get(name)))
            self._next[name] = task
        return task

    async def _run(self, name: str, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await asyncio.wait([before])
        self._under_way[name] = self._next.pop(name)
        try:
            return (await activation.tell(self._call, [name], "refresh", timeout_s=TOLD_TIMEOUT_S))[name]
        finally:
            if name not in self._next:
                del self._under_way[name]


def _said_so(task: asyncio.Task[bool]) -> bool:
    """What fails in a way of its own is no acknowledgement either, and no failure of what was told: that is durable."""
    return not task.cancelled() and task.exception() is None and task.result()
