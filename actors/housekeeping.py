"""What an owner does to its journal in the background, a little at a time, so that nobody waits long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors.agent_journal import forget_what_is_over
from actors.owner import Owner
from actors.past_journal import forget_history, index_history

TIDY_ROWS = 1_000

Current = Callable[[], Owner | None]
"""The owner as it is now: its journal may have been opened again since the last step."""


async def tidy(current: Current) -> None:
    """Forget what is over."""
    # What is to be forgotten is chosen by its rows, so they come first.
    more = True
    while more and (owner := _usable(current)) is not None:
        more = owner.uses.carry_out()
        await asyncio.sleep(0)
    more = True
    while more and (owner := _usable(current)) is not None:
        now_us = owner.event_time().us
        more = forget_what_is_over(owner.journal, now_us=now_us, limit=TIDY_ROWS)
        more |= forget_history(owner.journal, now_us=now_us, limit=TIDY_ROWS)
        owner.count_sessions_anew()
        await asyncio.sleep(0.05)


async def index(current: Current) -> None:
    """Bring the index and the rows of what was used up to date."""
    more = True
    while more and (owner := _usable(current)) is not None:
        more = index_history(owner.journal)
        if owner.uses.due():
            more |= owner.uses.carry_out()
        await asyncio.sleep(0)


def _usable(current: Current) -> Owner | None:
    owner = current()
    return owner if owner is not None and owner.journal.usable else None
