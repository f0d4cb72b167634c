"""Ray shell of landing: the one writer of the evidence table.

Every 0.8 seconds it asks each owner for what is not yet in the table, commits at once what has come, and only then
lets the owners forget it; an owner that is slow or stopped lands later and delays nobody. Delta work runs in a thread
of its own, so that `status` always answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from actors.alarms.bell import Bell
from actors.alarms.disks import measure
from actors.alarms.watch import LandingWatch, Thresholds
from actors.bounds import DISK_LOW_BYTES, EVIDENCE_LAG_S
from actors.evidence_sources import Offer, Sources
from actors.handles import ask
from actors.placement import CONTROL_STORE, host_name
from actors.retention.runs import RetentionRuns
from actors.store_access import take_access
from actors.world import REAL, monotonic_s
from controlplane.errors import ConflictError, GovernanceError
from evidence.checkpoint_files import CheckpointFiles
from evidence.delta.heads import Signing
from evidence.delta.table import EvidenceTable
from evidence.failpoints import reach
from evidence.landing import LogBatch
from evidence.lookup import find_event
from evidence.signing_keys import KeyFiles, Signer
from evidence.storage import storage_at

log = logging.getLogger(__name__)

T = TypeVar("T")

LANDING_INTERVAL_S = 0.8
BATCH_ROWS = 10_000
WATCH_S = 1.0
MEASURE_S = 5.0


class EvidenceWriter:
    """Lands the evidence of every log.

    Args:
        table: where the Delta table lies, a folder or `s3://bucket/prefix`; created when it does not exist.
        hosts: how many hosts there are.
        keys: where the key lies that it signs with.
        checkpoint_files: where the signed checkpoints of each landing go as a file, in the same forms.
        store_access: file that says how an object store is reached, if there is need of one.
        lag_s, disk_low_bytes: when there is an alarm; see `actors.alarms.watch.Thresholds`.
        call: how an actor is asked; see `actors.handles.ask`.
    """

    def __init__(
        self,
        table: str,
        hosts: int,
        keys: KeyFiles,
        checkpoint_files: str,
        *,
        store_access: str = "",
        lag_s: int = EVIDENCE_LAG_S,
        disk_low_bytes: int = DISK_LOW_BYTES,
        call: Callable[..., Any] = ask,
    ) -> None:
        self._path = table
        self._signer = Signer(files=keys)
        self._checkpoint_files = checkpoint_files
        self._store_access = store_access
        self._table: EvidenceTable | None = None
        self._rows = 0
        self._version = -1
        self._signed: dict[str, str | int] = {}
        self._last_landing_us = 0
        self._trouble: dict[str, str] = {}
        self._landed: dict[str, int] = {}
        owners = [CONTROL_STORE, *(host_name(index) for index in range(hosts))]
        self._sources = Sources(owners, limit=BATCH_ROWS, call=call)
        self._watch = LandingWatch(
            Thresholds(lag_s=lag_s, disk_low_bytes=disk_low_bytes),
            owners=owners,
            limit=BATCH_ROWS,
            now_us=REAL.wall_us(),
        )
        self._bell = Bell(self._watch, call)
        self._landing = asyncio.Lock()
        self._looking_up = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landing")
        self.retention = RetentionRuns(table, self._signer, self._exclusively, REAL)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(work)
            for work in (self._run(), self._keep_watch(), self._measure_disk(), self.retention.daily())
        ]

    async def start_retention(self, by: str, tenant: str, dry_run: bool) -> dict[str, Any]:
        """See `RetentionRuns.start`."""
        return self.retention.start(by=by, tenant=tenant, dry_run=dry_run)

    async def retention_run(self) -> dict[str, Any]:
        """See `RetentionRuns.status`."""
        return self.retention.status()

    async def status(self) -> dict[str, Any]:
        """Rows landed since this process started, the table's version, who signs and up to which version, what stands
        in the way of landing, and which alarms are on."""
        silent = self._sources.silent()
        return {
            "ready": self._table is not None,
            "landed_rows": self._rows,
            "version": self._version,
            "last_landing_us": self._last_landing_us,
            **self._signed,
            "landed": dict(self._landed),
            "trouble": dict(self._trouble)
            | self.retention.trouble
            | dict.fromkeys(silent, "does not hand out its evidence"),
            "alarms": self._bell.on(),
            **self._watch.status(silent, now_us=REAL.wall_us()),
        }

    async def find_event(self, event_id: str, columns: list[str]) -> dict[str, Any] | None:
        """See `evidence.lookup.find_event`; for those who cannot reach an object store. One at a time."""
        async with self._looking_up:
            return await asyncio.to_thread(self._find_event, event_id, columns)

    async def flush(self) -> int:
        """Land what is pending now, rather than with the next round. Returns how many rows that were."""
        async with self._landing:
            return await self._round()

    async def _run(self) -> None:
        while True:
            full = False
            try:
                full = await self.flush() >= BATCH_ROWS
            except Exception as error:
                # Nothing is lost: what did not land stays in the journals and is tried again, on the table opened
                # anew (after a failed fsync the old handle is of no use).
                known = isinstance(error, GovernanceError)
                self._trouble["table"] = str(error) if known else f"{type(error).__name__}: {error}"
                self._watch.failed(self._trouble["table"])
                log.error("landing failed, owners keep their evidence: %s", error, exc_info=not known)
                self._table = None
                self._landed.clear()
            await asyncio.sleep(0 if full else LANDING_INTERVAL_S)

    async def _keep_watch(self) -> None:
        """See to the alarms, also while landing hangs."""
        while True:
            try:
                await self._bell.round(self._sources.silent(), now_s=monotonic_s(), now_us=REAL.wall_us())
            except Exception:
                log.exception("the alarms are not seen to; it is tried again")
            await asyncio.sleep(WATCH_S)

    async def _measure_disk(self) -> None:
        """By itself and in a thread: a file system that hangs holds up nothing else."""
        if "://" in self._path:
            return  # an object store's room is not ours to measure
        while True:
            disk = await asyncio.to_thread(measure, Path(self._path), "table")
            if disk is not None:
                self._watch.measured(disk)
            await asyncio.sleep(MEASURE_S)

    async def _round(self) -> int:
        loop = asyncio.get_running_loop()
        table = await self._opened()
        offers = await self._sources.collect()
        if offers:
            reach("handover.received")
        self._watch.offered(offers, now_us=REAL.wall_us())
        for log_id in {offer.log_id for offer in offers} - self._landed.keys():
            self._landed[log_id] = await loop.run_in_executor(self._thread, table.landed, log_id)
        # Who waits to be confirmed decides nothing until then: before the commit, not after it.
        await self._sources.trim(self._told(offer) for offer in offers if offer.unconfirmed)
        batches = [_batch(offer) for offer in offers if offer.records]
        if not batches:
            self._trouble.pop("table", None)
            self._watch.landed(offers, {})
            return 0
        landing = await loop.run_in_executor(
            self._thread, lambda: table.land(batches, ingest_time_us=REAL.wall_us())
        )
        self._rows += landing.rows
        self._note(table)
        self._last_landing_us = REAL.wall_us()
        self._trouble = dict(landing.refused)
        self._watch.landed(offers, landing.refused)
        if landing.maintenance_error is not None:
            self._trouble["maintenance"] = landing.maintenance_error
            log.warning("rows landed, but the table was not tidied up: %s", landing.maintenance_error)
        for log_id, reason in landing.refused.items():
            log.error("log `%s` does not land: %s", log_id, reason)
        # INVARIANT (nothing lost): owners trim only here, after the commit was fsynced.
        # A log that offered only what had landed before (its trim was lost on the way) is told again.
        self._landed.update(landing.landed)
        reach("writer.before_trim")
        await self._sources.trim(
            self._told(offer) for offer in offers if offer.records and offer.log_id not in landing.refused
        )
        reach("writer.after_trim")
        if landing.rows and table.heads is not None:
            # Derived from the commit, and so after everybody was told; what fails here is made up for on opening anew.
            await loop.run_in_executor(self._thread, table.heads.record)
        return landing.rows

    async def _opened(self) -> EvidenceTable:
        if self._table is None:
            self._table = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
            self._note(self._table)
        return self._table

    def _open(self) -> EvidenceTable:
        take_access(self._store_access, os.environ)
        files = CheckpointFiles(folder=storage_at(self._checkpoint_files))
        return EvidenceTable.open_or_create(self._path, signing=Signing(signer=self._signer, files=files))

    def _find_event(self, event_id: str, columns: list[str]) -> dict[str, Any] | None:
        take_access(self._store_access, os.environ)
        return find_event(self._path, event_id, columns)

    async def _exclusively(self, work: Callable[[EvidenceTable], T]) -> T:
        """Do something with the open table, in its thread, while nothing lands."""
        async with self._landing:
            table = await self._opened()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work, table)
            except ConflictError:
                raise  # nothing was done
            except Exception:
                # What may stand half-way is found out by opening anew, whether or not there is anything to land.
                self._table = None
                self._landed.clear()
                raise

    def _note(self, table: EvidenceTable) -> None:
        self._version = table.version
        if table.heads is not None:
            key = table.heads.key
            self._signed = {
                "evidence_name": key.name,
                "key_id": key.id.hex(),
                "checkpoint_version": table.heads.checkpoint_version,
            }

    def _told(self, offer: Offer) -> tuple[str, str, int]:
        return offer.name, offer.log_id, self._landed[offer.log_id]


def _batch(offer: Offer) -> LogBatch:
    return LogBatch(
        log_id=offer.log_id,
        first_seq=offer.records[0][0],
        last_seq=offer.records[-1][0],
        records=[(canonical, leaf) for _, canonical, leaf in offer.records],
    )
