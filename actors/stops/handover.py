"""Handing an owner's automatic stops over to the control store: in the background, until it has acknowledged them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from actors.owner import Owner
from controlplane.errors import GovernanceError

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Stops of one owner in a round: each is a transaction, during which the control store renews nobody's lease."""
HAND_OVER_S = 0.5
LEAST_GAP_S = 0.05
"""Between two rounds: a flood of stops goes together."""

Take = Callable[[list[dict[str, Any]]], Awaitable[tuple[int, list[str]]]]
"""The control store's `take_stops`."""


class HandOver:
    """The background work of one owner: each half second, and at once when there is something new."""

    def __init__(self) -> None:
        self._new = asyncio.Event()

    def look(self, owner: Owner | None) -> None:
        """Called after whatever may have made a stop."""
        if owner is not None and owner.stops.fresh:
            owner.stops.fresh = False
            self._new.set()

    async def round(self, current: Callable[[], Owner | None], take: Take) -> None:
        """Wait until there may be something to do, and do it. Raises: JournalError."""
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self._new.wait()
        except TimeoutError:
            pass
        self._new.clear()
        owner = current()
        if owner is not None and owner.journal.usable:
            await hand_over(owner, take)


async def hand_over(owner: Owner, take: Take) -> None:
    """One round. What the control store does not take now is offered again, and is enforced here meanwhile.

    Raises: JournalError.
    Cost: a look-up where there is nothing.
    """
    own = owner.stops
    if not len(own.live):
        return
    waiting = own.waiting(AT_ONCE)
    if not waiting:
        return
    try:
        revision, taken = await take(waiting)
    except GovernanceError as error:
        log.warning("`%s` cannot tell of its stops yet: %s", owner.settings.name, error.message)
        return
    own.handed_over(taken, revision)
    left = {stop["id"] for stop in waiting} - set(taken)
    for identity in left:
        own.put_back(identity)
    if left:
        log.warning(
            "the control store has no room for %d automatic stops of `%s`, which enforces them alone",
            len(left),
            owner.settings.name,
        )
