"""Ray shell of `Control`: one detached actor that the whole fleet leases from."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from actors import activation
from actors.alarms.disks import journals_of, measure
from actors.bounds import EVIDENCE_BACKLOG
from actors.control import Control, open_control_journal
from actors.handles import ask
from actors.journal_folder import Place, refuse_another
from actors.log_feed import LogFeed
from actors.placement import CONTROL_LOG, host_name
from actors.stops import counting as stop_counting
from actors.telling import Telling
from actors.world import REAL
from controlplane.errors import UnavailableError

log = logging.getLogger(__name__)

REOPEN_S = 1.0


class ControlStore:
    """Keys, principals, the agents' index, bundles, stops. Every method is durable when it returns.

    Args:
        journals: the folder of the journals.
        hosts: how many hosts there are, to be told of an activation.
        place: whose folder of journals it must be, see `actors.journal_folder`; None = any.
        second_operator: whether it takes two operators to release a stop.
        evidence_backlog: see `Control`.
    """

    def __init__(
        self,
        journals: str,
        hosts: int,
        place: tuple[str, str] | None = None,
        second_operator: bool = False,
        evidence_backlog: int = EVIDENCE_BACKLOG,
    ) -> None:
        self._path = Path(journals) / f"{CONTROL_LOG}.db"
        self._hosts = hosts
        self._place = Place(*place) if place else None
        self._second_operator = second_operator
        self._evidence_backlog = evidence_backlog
        self._control: Control | None = None
        self._renewals = Telling(ask)
        self._telling: set[asyncio.Task[dict[str, bool]]] = set()
        self._feed = LogFeed()
        self._reopening = asyncio.get_running_loop().create_task(self._keep_open())

    async def ready(self) -> bool:
        """Whether the journal is open and known to be the latest one."""
        return self._control is not None and self._control.journal.usable and self._feed.trouble is None

    async def lease(self, since: int) -> tuple[Any, ...]:
        """See `Control.changes`."""
        return self._live().changes(since)

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        """Call one of `Control`'s methods by name: what the management door needs, without a wrapper for each."""
        control = self._live()
        if method in _CALLABLE:
            of: Any = control
        elif method in _OF_CHANNELS:
            of = control.channels
        elif method in _OF_RETENTION:
            of = control.retention
        elif method in _OF_DATA_KEYS:
            of = control.data_keys
        elif method in _OF_ALARMS:
            of = control.alarms
        else:
            raise UnavailableError(f"the control store has no method `{method}`")
        result = getattr(of, method)(**arguments)
        if method in _OWNERS_MUST_KNOW:
            await self._tell()
        return result

    async def stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        """See `StopRegistry.set`. Returns once every owner that can be reached enforces it: ``acknowledged``, and
        ``lagging``: who did not say so in two seconds, and denies by then unless it has heard of it."""
        return await self._told(self._live().stops.set(**asked))

    async def release(self, asked: dict[str, Any]) -> dict[str, Any]:
        """See `StopRegistry.release`, and `stop`."""
        return await self._told(self._live().stops.release(**asked))

    async def take_stops(self, stops: list[dict[str, Any]]) -> tuple[int, list[str]]:
        """See `StopRegistry.take`. Other owners are told, and nobody waits for them."""
        before = self._live().revision
        taken = self._live().stops.take(stops=stops)
        if self._live().revision != before:
            telling = asyncio.get_running_loop().create_task(self._tell())
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        return taken

    async def show_stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        """See `StopRegistry.get`."""
        return self._live().stops.get(**asked)

    async def list_stops(self, asked: dict[str, Any]) -> dict[str, Any]:
        """See `StopRegistry.listed`."""
        return self._live().stops.listed(**asked)

    async def count_stopped(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a stop would meet now; see `actors.stops.counting`. Changes nothing."""
        return await stop_counting.ask_all(ask, self._owners(), self._live().stops.proposed(**asked))

    async def _told(self, entry: dict[str, Any]) -> dict[str, Any]:
        told = await self._tell()
        return entry | {
            "acknowledged": [name for name, answered in told.items() if answered],
            "lagging": [name for name, answered in told.items() if not answered],
        }

    async def _tell(self) -> dict[str, bool]:
        """Have every owner renew its lease now; says which have."""
        return await self._renewals.tell(self._owners())

    async def activate(self, digest: str, tenant: str, by: str, lenient: bool = False) -> dict[str, Any]:
        """See `actors.activation.activate`."""
        return await activation.activate(
            self._live, self._owners(), ask, digest=digest, tenant=tenant, by=by, lenient=lenient
        )

    def _owners(self) -> list[str]:
        hosts = [host_name(index) for index in range(self._hosts)]
        return hosts + [entry["name"] for entry in self._live().dedicated()]

    async def pending(self, limit: int) -> tuple[Any, ...] | None:
        control = self._control
        if control is None or not control.journal.usable:
            return None
        disk = measure(self._path, journals_of(self._place))
        return *self._feed.pending(control.journal, limit), disk

    async def trim(self, log_id: str, landed_seq: int) -> None:
        if self._control is not None:
            more = True
            while more:
                more = self._feed.trim(self._control.journal, log_id, landed_seq)
                await asyncio.sleep(0)

    async def status(self) -> dict[str, Any]:
        control = self._live()
        return {
            "revision": control.revision,
            "bundle": control.activation.digest,
            "activation": control.activation.number,
            "log": control.journal.log_id,
            "epoch": control.journal.epoch,
            "pending_rows": control.journal.pending_count(),
            "evidence_backlog": self._evidence_backlog,
            "stops": control.stops.live(),
            "release_needs_second_operator": self._second_operator,
        }

    def _live(self) -> Control:
        if self._control is None or not self._control.journal.usable:
            raise UnavailableError("the control store's journal is not open", code="journal_unavailable")
        if self._feed.trouble is not None:
            raise UnavailableError("the control store's journal is not to be used", code=self._feed.trouble)
        return self._control

    async def _keep_open(self) -> None:
        """Open the journal, and open it anew after a failure: never in `__init__`, whose error would be for good."""
        while True:
            control = self._control
            if control is not None and control.journal.fenced:
                # INVARIANT (single owner): whoever was superseded never opens the journal again.
                log.critical("the control store's journal has another owner; this process ends")
                os._exit(70)
            if control is None or not control.journal.usable:
                try:
                    if self._place is not None:
                        refuse_another(self._path.parent, self._place)
                    journal = open_control_journal(
                        self._path, new_log_id=f"{CONTROL_LOG}.{REAL.random_bytes(4).hex()}"
                    )
                    self._feed = LogFeed()
                    self._control = Control(
                        journal,
                        REAL,
                        second_operator=self._second_operator,
                        evidence_backlog=self._evidence_backlog,
                    )
                except Exception as error:
                    log.error("the control store's journal cannot be opened; it is tried again: %s", error)
            self._sweep()
            await asyncio.sleep(REOPEN_S)

    def _sweep(self) -> None:
        """End the stops that have expired (owners see to that by themselves: this is for whoever looks), and what an
        erasure could not finish."""
        try:
            if self._feed.trouble is None and self._control is not None:
                self._control.stops.sweep()
        except Exception as error:
            log.error("stops that expired are still listed as live; it is tried again: %s", error)
        try:
            if self._feed.trouble is None and self._control is not None and self._control.journal.usable:
                self._control.data_keys.finish_erasing()
        except Exception as error:
            log.error(
                "keys that were erased may still stand in the write-ahead log; it is tried again: %s", error
            )


# After these, whoever asked may rely on every owner that can be reached: a role that was taken away is gone.
_OWNERS_MUST_KNOW = frozenset({"set_principal"})

_OF_CHANNELS = frozenset(
    {"set_channel", "remove_channel", "channels", "channels_with_secrets", "record_undelivered"}
)

_OF_RETENTION = frozenset(
    {
        "set_retention",
        "retention",
        "set_hold",
        "release_hold",
        "holds",
        "retention_terms",
        "begin_retirement",
        "end_retirement",
    }
)
_OF_DATA_KEYS = frozenset({"data_keys", "data_keys_by_id", "erase_subject", "record_reveal"})
_OF_ALARMS = frozenset({"note_alarms", "alarms_on"})

_CALLABLE = frozenset(
    {
        "create_key",
        "ensure_operator_key",
        "record_refusals",
        "revoke_key",
        "keys",
        "set_principal",
        "principals",
        "claim_agent",
        "agents",
        "dedicated",
        "store_bundle",
        "bundle",
        "bundles",
        "cast_shadow",
    }
)
