"""The evidence writer's retention: once a day by itself, and whenever an operator asks. One run at a time.

What is due is found and checked beside landing, in a thread of its own; only the three commits by which rows leave take
landing's turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, Final, Protocol, TypeVar

from actors.handles import ask
from actors.owner import Surroundings
from actors.placement import CONTROL_STORE
from controlplane.errors import ConflictError, GovernanceError
from evidence.delta.departing import Survey, depart, survey
from evidence.delta.heads import FOLDER
from evidence.delta.retiring import retirements
from evidence.delta.signed_sizes import SignedSizes
from evidence.delta.table import EvidenceTable
from evidence.retention import Departure, Hold, Retirement
from evidence.signing_keys import Signer
from evidence.storage import storage_at

log = logging.getLogger(__name__)

FIRST_AFTER_S: Final = 600.0
EVERY_S: Final = 86_400.0
ATTEMPTS: Final = 3
"""Of one run, when a hold is set or the table changes under its hands."""
SCHEDULED_PARTITIONS: Final = 7
"""Dates that may leave without anybody asking. Where more are due, the clock may be wrong, or the time to keep was just
made shorter: an operator says so."""
CALL_TIMEOUT_S: Final = 15.0
SCHEDULE: Final = "schedule"

T = TypeVar("T")


class Exclusively(Protocol):
    """Runs something on the open table, in landing's thread, while nothing lands."""

    def __call__(self, work: Callable[[EvidenceTable], T], /) -> Awaitable[T]: ...


class RetentionRuns:
    """Of one evidence writer.

    Args:
        table: path of the evidence table; the checkpoints lie beside it.
        call: how an actor is asked; see `actors.handles.ask`.
    """

    def __init__(
        self,
        table: str,
        signer: Signer,
        exclusively: Exclusively,
        world: Surroundings,
        *,
        call: Callable[..., Any] = ask,
    ) -> None:
        self._table = table
        self._checkpoints = storage_at(table).beside(FOLDER).uri
        self._signer = signer
        self._exclusively = exclusively
        self._world = world
        self._call = call
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="retention")
        self._running: asyncio.Task[None] | None = None
        self._last: dict[str, Any] = {"state": "none"}

    @property
    def trouble(self) -> dict[str, str]:
        """Why the last run did not do what it should; empty if it did."""
        return {"retention": self._last["error"]} if "error" in self._last else {}

    def status(self) -> dict[str, Any]:
        """The run that is under way, or the last one of this process: ``state`` (none, looking, checking, leaving, dry,
        done, nothing, waiting, failed), ``by``, ``dry_run``, ``started_us``, ``ended_us``, and what it found."""
        return dict(self._last)

    def start(self, *, by: str, tenant: str, dry_run: bool) -> dict[str, Any]:
        """Begin a run and return; `status` says what becomes of it. Raises: ConflictError: there is one."""
        if self._running is not None and not self._running.done():
            raise ConflictError("a retention run is under way; ask for its state", code="retention_under_way")
        self._last = {"state": "looking", "by": by, "dry_run": dry_run, "started_us": self._world.wall_us()}
        self._running = asyncio.get_running_loop().create_task(self._reported(by, tenant, dry_run))
        return self.status()

    async def daily(self) -> None:
        """Start a run each day, for as long as the writer lives."""
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                self.start(by=SCHEDULE, tenant="default", dry_run=False)
            except ConflictError:
                log.info("an operator's retention run is under way; the daily one is left out")
            await asyncio.sleep(EVERY_S)

    def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._thread.shutdown(wait=True)

    # -- one run ---------------------------------------------------------------------------------------------------

    async def _reported(self, by: str, tenant: str, dry_run: bool) -> None:
        try:
            for attempt in range(ATTEMPTS):
                try:
                    await self._run(by, tenant, dry_run)
                    break
                except ConflictError as error:
                    if attempt + 1 == ATTEMPTS:
                        raise
                    log.info("retention begins anew: %s", error.message)
        except Exception as error:
            known = isinstance(error, GovernanceError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            log.error("retention: nothing more leaves now: %s", text, exc_info=not known)
            self._note(state="failed", error=text)
        self._note(ended_us=self._world.wall_us())

    async def _run(self, by: str, tenant: str, dry_run: bool) -> None:
        terms = await self._control("retention_terms")
        if terms["under_way"] is not None:
            await self._end(terms["under_way"])
            terms = await self._control("retention_terms")
        keep_days = terms["keep_days"]
        self._note(state="looking", keep_days=keep_days)
        if keep_days is None:
            self._note(state="nothing")
            return
        if not dry_run:
            await self._exclusively(EvidenceTable.remove_replaced_files)
        holds = [_hold(entry) for entry in terms["holds"]]
        now_us = self._world.wall_us()
        found = await self._aside(lambda: survey(self._table, holds, keep_days=keep_days, now_us=now_us))
        self._note(**_told(found))
        leaving = found.choice.leaving
        if dry_run or not leaving:
            self._note(state="dry" if dry_run else "nothing")
        elif by == SCHEDULE and len(leaving) > SCHEDULED_PARTITIONS:
            text = (
                f"{len(leaving) + found.choice.more} dates are due, more than the {SCHEDULED_PARTITIONS} that leave by "
                "themselves: see that the clock is right, then `controlplane evidence retention run`"
            )
            log.warning("retention: %s", text)
            self._note(state="waiting", error=text)
        else:
            await self._leave(found, by=by, tenant=tenant, number=terms["number"])

    async def _leave(self, found: Survey, *, by: str, tenant: str, number: int) -> None:
        self._note(state="checking", checked_rows=0)
        departure = await self._aside(lambda: self._checked(found))
        name = self._signer.current()[0].public.name
        retirement = Retirement.of(departure, name=name, time_us=self._world.wall_us())
        about = {
            "by": by,
            "partitions": [day.isoformat() for day in departure.dates],
            "rows": departure.rows,
            "logs": _rows_by_log(departure),
            "note": retirement.digest,
            "version": int(found.table.version()),
        }
        await self._control("begin_retirement", tenant=tenant, number=number, about=about)
        self._note(state="leaving", note=about["note"])
        try:
            version = await self._exclusively(lambda table: table.retire(departure, retirement))
        except ConflictError:
            await self._end(about)
            raise
        await self._control("end_retirement", note=about["note"], version=version)
        self._note(state="done", version=version)

    def _checked(self, found: Survey) -> Departure:
        def progress(rows: int) -> None:
            self._last["checked_rows"] += rows

        return depart(found, SignedSizes(self._checkpoints, self._signer.known()), progress=progress)

    async def _end(self, about: dict[str, Any]) -> None:
        """Find out what became of rows that were leaving, and have it written down."""
        # Opened first: what stood half-way is completed or undone by then.
        newest = await self._exclusively(lambda table: table.version)
        version = await self._aside(lambda: _committed(self._table, about, newest))
        await self._control("end_retirement", note=about["note"], version=version)

    async def _control(self, method: str, **arguments: Any) -> Any:
        # INVARIANT (fail closed): whoever cannot be asked has not said that anything may leave.
        return await self._call(CONTROL_STORE, "call", method, arguments, timeout_s=CALL_TIMEOUT_S)

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _note(self, **what: Any) -> None:
        self._last |= what


def _committed(table: str, about: dict[str, Any], newest: int) -> int | None:
    for left in retirements(storage_at(table), newest, about["version"] + 1):
        if left.retirement.digest == about["note"]:
            return left.version
    return None


def _hold(entry: dict[str, Any]) -> Hold:
    first, last = (
        None if entry[name] is None else date.fromisoformat(entry[name]) for name in ("first", "last")
    )
    return Hold(
        id=entry["id"],
        tenant=entry["tenant"],
        agent=entry["agent"],
        session=entry["session"],
        workflow=entry["workflow"],
        first=first,
        last=last,
    )


def _told(found: Survey) -> dict[str, Any]:
    choice = found.choice
    return {
        "leaving": [
            {"date": each.date.isoformat(), "rows": each.rows, "size_bytes": each.size_bytes}
            for each in choice.leaving
        ],
        "held": {day.isoformat(): list(holds) for day, holds in choice.held.items()},
        "late": [day.isoformat() for day in choice.late],
        "more": choice.more,
    }


def _rows_by_log(departure: Departure) -> dict[str, int]:
    rows: dict[str, int] = {}
    for segment in departure.segments:
        rows[segment.log_id] = rows.get(segment.log_id, 0) + segment.count
    return rows
