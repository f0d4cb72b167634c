"""Waiting until a request for approval changes: many may wait, and each owner is asked for all of them at once."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from controlplane.errors import GovernanceError, OverloadedError
from controlplane.service.owner_calls import OwnerCalls

log = logging.getLogger(__name__)

MOST_WAITING: Final = 500
"""Who wait at one replica at a time: a third of all that are let in, so that decisions have room."""
_LOOK_S: Final = 0.2
_AFTER_TROUBLE_S: Final = 1.0
_CALL_TIMEOUT_S: Final = 5.0


class ApprovalWatch:
    """Tells who waits that a task has changed. One a replica.

    An owner is asked five times a second while somebody waits for one of its tasks, and not at all otherwise.
    """

    def __init__(self, calls: OwnerCalls) -> None:
        self._calls = calls
        self._waiting: dict[str, list[tuple[str, int, asyncio.Future[None]]]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._count = 0

    async def changed(self, owner: str, identity: str, version: int, *, within_s: float) -> None:
        """Return when a task of an owner has another version than this, or after so long.

        Raises: OverloadedError: too many wait already.
        """
        if self._count >= MOST_WAITING:
            raise OverloadedError(
                f"{MOST_WAITING} requests wait for approvals here; ask without `wait_s`",
                code="too_many_waiting",
            )
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        entry = (identity, version, told)
        waiting = self._waiting.setdefault(owner, [])
        waiting.append(entry)
        self._count += 1
        if owner not in self._looking:
            self._looking[owner] = loop.create_task(self._look(owner))
        try:
            await asyncio.wait([told], timeout=within_s)
        finally:
            self._count -= 1
            waiting.remove(entry)

    async def _look(self, owner: str) -> None:
        waiting = self._waiting[owner]
        try:
            while waiting:
                await asyncio.sleep(_LOOK_S)
                ids = list({identity for identity, _, _ in waiting})
                if not ids:
                    break
                try:
                    found = await self._calls.call(owner, "approval_versions", ids, timeout_s=_CALL_TIMEOUT_S)
                except GovernanceError as error:
                    log.warning("`%s` does not say what became of approvals: %s", owner, error.message)
                    await asyncio.sleep(_AFTER_TROUBLE_S)
                    continue
                for identity, version, told in waiting:
                    if not told.done() and found.get(identity) != version:
                        told.set_result(None)
        finally:
            self._looking.pop(owner, None)
            if not waiting:
                self._waiting.pop(owner, None)
