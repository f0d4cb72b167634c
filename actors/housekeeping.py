"""What an owner does now and then, a little at a time, so that nobody waits long for a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from actors import overdue
from actors.agent_journal import forget_what_is_over
from actors.owner import Owner
from actors.past_journal import forget_history, index_history

ROWS = 1_000
_PAUSE_S = 0.05

Usable = Callable[[], Owner | None]
"""The owner whose journal can be written, or None: asked anew at each step, as it may be another one by then."""


async def tidy(usable: Usable) -> None:
    """Forget what is over, and notice the outcomes that did not come."""
    # What is to be forgotten is chosen by its rows, so they come first.
    more = True
    while more and (owner := usable()) is not None:
        more = owner.uses.carry_out()
        await asyncio.sleep(0)
    more = True
    while more and (owner := usable()) is not None:
        more = overdue.notice(owner, limit=ROWS)
        await asyncio.sleep(_PAUSE_S)
    more = True
    # INVARIANT (seen): no decision is forgotten whose missing outcome could not be noticed for want of room; nor does
    # anything grow meanwhile.
    while more and (owner := usable()) is not None and not owner.backlogged():
        now_us = owner.event_time().us
        more = forget_what_is_over(owner.journal, now_us=now_us, limit=ROWS)
        more |= forget_history(owner.journal, now_us=now_us, limit=ROWS)
        owner.count_sessions_anew()
        await asyncio.sleep(_PAUSE_S)


async def index(usable: Usable) -> None:
    """Bring the index and the rows of what was used up to date."""
    more = True
    while more and (owner := usable()) is not None:
        more = index_history(owner.journal)
        if owner.uses.due():
            more |= owner.uses.carry_out()
        await asyncio.sleep(0)
