"""Telling agents' homes what became of what they reserved: at once, as far as it goes; owners do the rest in the
background.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from actors.ids import ordinal_of_decision
from actors.messages import Settlement
from controlplane.errors import GovernanceError
from controlplane.service.fleet import Fleet
from controlplane.service.owner_calls import OwnerCalls

log = logging.getLogger(__name__)

MAX_UNTOLD = 10_000
"""Settlements that wait for one home; further ones are left to the background."""
_CALL_TIMEOUT_S = 5.0
# What somebody waits for whose next action would be judged by what did not happen.
_PATIENCE_S = 0.5


class _Home:
    """What waits for one home: one call at a time, and what comes meanwhile goes with the next."""

    __slots__ = ("sender", "untold")

    def __init__(self) -> None:
        self.untold: list[tuple[Settlement, asyncio.Future[None]]] = []
        self.sender: asyncio.Task[None] | None = None


class Settling:
    """Tells homes. One a replica."""

    def __init__(self, fleet: Fleet, calls: OwnerCalls) -> None:
        self._fleet = fleet
        self._calls = calls
        self._homes: dict[str, _Home] = {}

    def tell(self, settlements: Iterable[Settlement]) -> list[asyncio.Future[None]]:
        """Tell their homes, soon. Returns: what is done when a home has heard it, or could not be told."""
        return [told for one in settlements if (told := self._enqueue(one)) is not None]

    async def told(self, settlements: Sequence[Settlement], *, within_s: float) -> None:
        """Tell their homes, and wait until they have heard it, but not for long: it is known in any case."""
        if waiting := self.tell(settlements):
            await asyncio.wait(waiting, timeout=min(within_s, _PATIENCE_S))

    def _enqueue(self, settlement: Settlement) -> asyncio.Future[None] | None:
        ordinal = ordinal_of_decision(settlement.reservation)
        name = None if ordinal is None else self._fleet.named(ordinal)
        if name is None:
            return None
        home = self._homes.setdefault(name, _Home())
        if len(home.untold) >= MAX_UNTOLD:
            return None
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        home.untold.append((settlement, told))
        if home.sender is None:
            home.sender = loop.create_task(self._send(name, home))
        return told

    async def _send(self, name: str, home: _Home) -> None:
        try:
            while home.untold:
                batch, home.untold = home.untold, []
                try:
                    told = [tuple(settlement) for settlement, _ in batch]
                    await self._calls.call(name, "settle", told, timeout_s=_CALL_TIMEOUT_S)
                except GovernanceError as error:
                    log.warning("`%s` was not told of %d settlements: %s", name, len(batch), error.message)
                finally:
                    for _, heard in batch:
                        if not heard.done():
                            heard.set_result(None)
        finally:
            home.sender = None
