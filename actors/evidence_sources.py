"""The owners that evidence comes from: each is asked on its own, so that a slow or silent one holds nobody up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.alarms.disks import Disk
from actors.handles import ask
from actors.placement import CONTROL_STORE
from actors.world import monotonic_s
from controlplane.errors import GovernanceError

log = logging.getLogger(__name__)

GRACE_S = 0.25
"""How long one round waits for answers; what comes later is taken by a later round."""
SILENT_AFTER_S = 2.0
CALL_TIMEOUT_S = 30.0
"""Long, and one call at a time: an owner that was stopped finds one call waiting when it goes on, not a heap of them.
The call to an owner that dies fails at once."""

_INDEX = "the index of dedicated agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one owner hands out: the oldest records of its log, as (seq, canonical bytes, leaf hash).

    `unconfirmed`: it decides nothing before it is told what the table holds of its log. `disk`: where its journal lies.
    """

    name: str
    log_id: str
    records: Sequence[tuple[int, bytes, bytes]]
    unconfirmed: bool
    disk: Disk | None = None


class Sources:
    """Every owner with a log, and the one call that may be under way to each.

    Args:
        always: names of the owners that are there without asking (control store and hosts).
        limit: how many records one owner hands out at a time.
        call: how an actor is asked; see `actors.handles.ask`.
    """

    def __init__(self, always: Sequence[str], *, limit: int, call: Callable[..., Any] = ask) -> None:
        self._always = tuple(always)
        self._limit = limit
        self._call = call
        self._dedicated: tuple[str, ...] = ()
        self._under_way: dict[str, tuple[asyncio.Task[None], float]] = {}
        self._offers: dict[str, Offer] = {}
        self._failed: set[str] = set()

    async def collect(self) -> list[Offer]:
        """What owners hand out now, or have handed out since the last round; two graces at the longest.

        INVARIANT (undisturbed): an owner whose call is still under way is neither asked again nor waited for.
        """
        await self._grace([self._begin(_INDEX, self._read_index())])
        names = [name for name in (*self._always, *self._dedicated) if name not in self._offers]
        await self._grace([self._begin(name, self._pending(name)) for name in names])
        offers, self._offers = list(self._offers.values()), {}
        return offers

    async def trim(self, landed: Iterable[tuple[str, str, int]]) -> None:
        """Tell owners by (name, log, last sequence number) what the table durably holds; one grace at the longest.

        INVARIANT (nothing lost): called only with what was fsynced. It may reach an owner late; what the table held,
        it still holds.
        """
        await self._grace([self._begin(told[0], self._trim(*told)) for told in landed])

    def silent(self) -> list[str]:
        """Owners that fail to hand out their evidence, or have not answered for some time."""
        now_s = monotonic_s()
        late = {name for name, (_, since_s) in self._under_way.items() if now_s - since_s > SILENT_AFTER_S}
        return sorted((late | self._failed) - {_INDEX})

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Start a call unless one to this owner is under way. Returns: what was started."""
        if name in self._under_way:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[name] = (task, monotonic_s())
        task.add_done_callback(lambda _: self._under_way.pop(name))
        return task

    async def _grace(self, begun: Iterable[asyncio.Task[None] | None]) -> None:
        waiting = [task for task in begun if task is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE_S)

    async def _pending(self, name: str) -> None:
        try:
            answer = await self._call(name, "pending", self._limit, timeout_s=CALL_TIMEOUT_S)
        except GovernanceError as error:
            log.warning("`%s` does not hand out its evidence now: %s", name, error.message)
            answer = None
        if answer is None:
            self._failed.add(name)
            return
        self._failed.discard(name)
        log_id, records, unconfirmed, *disk = answer
        self._offers[name] = Offer(
            name=name,
            log_id=log_id,
            records=records,
            unconfirmed=unconfirmed,
            disk=Disk(*disk[0]) if disk and disk[0] else None,
        )

    async def _trim(self, name: str, log_id: str, landed_seq: int) -> None:
        try:
            await self._call(name, "trim", log_id, landed_seq, timeout_s=CALL_TIMEOUT_S)
        except GovernanceError as error:
            # It will hand the same rows out again; they are dropped because the table has them.
            log.warning("`%s` has not trimmed its journal: %s", name, error.message)

    async def _read_index(self) -> None:
        try:
            entries = await self._call(CONTROL_STORE, "call", "dedicated", {}, timeout_s=CALL_TIMEOUT_S)
            self._dedicated = tuple(entry["name"] for entry in entries)
        except GovernanceError as error:
            # The ones known so far go on landing while the control store is away.
            log.warning("the control store does not say which dedicated agents there are: %s", error.message)
