"""Ray shell of `Control`: one detached actor that the whole fleet leases from."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from actors import activation
from actors.control import Control, open_control_journal
from actors.handles import ask
from actors.journal_folder import Place, refuse_another
from actors.log_feed import LogFeed
from actors.placement import CONTROL_LOG, host_name
from actors.world import REAL
from controlplane.errors import UnavailableError

log = logging.getLogger(__name__)

REFRESH_TIMEOUT_S = 2.0
REOPEN_S = 1.0


class ControlStore:
    """Keys, principals, the agents' index, bundles. Every method is durable when it returns.

    Args:
        journals: the folder of the journals.
        hosts: how many hosts there are, to be told of an activation.
        place: whose folder of journals it must be, see `actors.journal_folder`; None = any.
    """

    def __init__(self, journals: str, hosts: int, place: tuple[str, str] | None = None) -> None:
        self._path = Path(journals) / f"{CONTROL_LOG}.db"
        self._hosts = hosts
        self._place = Place(*place) if place else None
        self._control: Control | None = None
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
        if method not in _CALLABLE | _OF_CHANNELS:
            raise UnavailableError(f"the control store has no method `{method}`")
        control = self._live()
        result = getattr(control.channels if method in _OF_CHANNELS else control, method)(**arguments)
        if method in _OWNERS_MUST_KNOW:
            await activation.tell(ask, self._owners(), "refresh", timeout_s=REFRESH_TIMEOUT_S)
        return result

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
        return self._feed.pending(control.journal, limit)

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
                    self._control = Control(journal, REAL)
                except Exception as error:
                    log.error("the control store's journal cannot be opened; it is tried again: %s", error)
            await asyncio.sleep(REOPEN_S)


# After these, whoever asked may rely on every owner that can be reached: a role that was taken away is gone.
_OWNERS_MUST_KNOW = frozenset({"set_principal"})

_OF_CHANNELS = frozenset(
    {"set_channel", "remove_channel", "channels", "channels_with_secrets", "record_undelivered"}
)

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
