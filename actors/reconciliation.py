"""What owners tell each other in the background, so that nothing that was reserved stays open: never on the way of a
decision, and nobody waits for it.

A replica tells an agent's home at once what became of a reservation. Where it did not, because it, the home or the
workflow's owner was away, one of the two owners speaks: the one that decided sends what has not been acknowledged, and
the home asks about what nobody has spoken of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors import reservation_journal, reservations, settlements
from actors.directory import Directory
from actors.messages import Settlement
from actors.owner import Owner
from actors.placement import FIRST_DEDICATED_ORDINAL, host_name
from controlplane.errors import GovernanceError

log = logging.getLogger(__name__)

RECONCILE_S = 1.0
SEND_AFTER_US = 2_000_000
"""The replica has told by then, if it could."""
ASK_AFTER_US = 5_000_000
"""The other owner has decided by then, or will not."""
AT_ONCE = 500
"""Of one owner in a round."""

Ask = Callable[[str, str, Sequence[Any]], Awaitable[Any]]
"""(name of an owner, method, argument) → its answer."""


async def reconcile(owner: Owner, ask: Ask) -> None:
    """One round. An owner that does not answer is asked again in the next; the others do not wait for it.

    Raises: JournalError.
    Cost: two index lookups where nothing is open.
    """
    now_us = owner.event_time().us
    waiting = reservation_journal.waiting_settlements(owner.journal, now_us - SEND_AFTER_US, limit=AT_ONCE)
    unheard = reservation_journal.open_before(owner.journal, now_us - ASK_AFTER_US, limit=AT_ONCE)
    if waiting or unheard:
        await asyncio.gather(
            *(_send(owner, ask, home, told) for home, told in waiting.items()),
            *(_ask(owner, ask, decider, ids) for decider, ids in unheard.items()),
        )


async def _send(owner: Owner, ask: Ask, home: int, told: list[Settlement]) -> None:
    """Tell a home what it has not acknowledged."""
    if await _answer(owner, ask, home, "settle", [tuple(one) for one in told]) is not None:
        settlements.acknowledged(owner, told)


async def _ask(owner: Owner, ask: Ask, decider: int, ids: list[str]) -> None:
    """Ask an owner what became of what was reserved for it."""
    said = await _answer(owner, ask, decider, "fates", ids)
    if said is not None:
        reservations.settle(owner, said)


async def _answer(owner: Owner, ask: Ask, ordinal: int, method: str, argument: Sequence[Any]) -> Any:
    name = name_of(owner.directory, ordinal)
    if name is None:
        return None
    try:
        return await ask(name, method, argument)
    except GovernanceError as error:
        log.warning("`%s` and `%s` cannot settle yet: %s", owner.settings.name, name, error.message)
        return None


def name_of(directory: Directory, ordinal: int) -> str | None:
    """The owner with this ordinal, if it is known here."""
    if ordinal < FIRST_DEDICATED_ORDINAL:
        return host_name(ordinal)
    for entry in directory.all("dedicated").values():
        if entry["ordinal"] == ordinal:
            return str(entry["name"])
    return None
