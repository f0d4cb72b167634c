"""Ray shell of `Control`: one detached actor that the whole fleet leases from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from actors.control import Control, open_control_journal
from actors.handles import actor_handle
from actors.journal import FencedError, Journal, JournalError
from actors.log_feed import LogFeed
from actors.placement import CONTROL_LOG, host_name
from actors.world import REAL
from controlplane.errors import UnavailableError

log = logging.getLogger(__name__)

ACKNOWLEDGE_TIMEOUT_S = 10.0
REFRESH_TIMEOUT_S = 2.0
REOPEN_S = 1.0


class ControlStore:
    """Keys, principals, the agents' index, bundles. Every method is durable when it returns.

    Args:
        journals: the folder of the journals.
        hosts: how many hosts there are, to be told of an activation.
    """

    def __init__(self, journals: str, hosts: int) -> None:
        self._path = Path(journals) / f"{CONTROL_LOG}.db"
        self._hosts = hosts
        self._control: Control | None = None
        self._feed = LogFeed()
        self._reopening = asyncio.get_running_loop().create_task(self._keep_open())

    async def ready(self) -> bool:
        return self._control is not None

    async def lease(self, since: int) -> tuple[Any, ...]:
        """See `Control.changes`."""
        return self._live().changes(since)

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        """Call one of `Control`'s methods by name: what the management door needs, without a wrapper for each."""
        if method not in _CALLABLE:
            raise UnavailableError(f"the control store has no method `{method}`")
        result = getattr(self._live(), method)(**arguments)
        if method in _OWNERS_MUST_KNOW:
            await self._for_every_owner(lambda owner: owner.refresh.remote(), REFRESH_TIMEOUT_S)
        return result

    async def activate(self, digest: str, tenant: str, by: str) -> dict[str, Any]:
        """Make a bundle active and tell every owner.

        Returns: ``{"digest", "acknowledged": […], "lagging": […]}``. A lagging owner keeps deciding with the bundle
        that it has until its next lease, half a second later, tells it; once the lease is 2 s old it denies.
        """
        control = self._live()
        activation = control.activate(digest, tenant=tenant, by=by)
        sources = control.bundle(digest)["sources"]
        told = await self._for_every_owner(
            lambda owner: owner.activate.remote(activation.digest, activation.number, sources),
            ACKNOWLEDGE_TIMEOUT_S,
        )
        return {
            "digest": digest,
            "acknowledged": [name for name, done in told.items() if done],
            "lagging": [name for name, done in told.items() if not done],
        }

    async def _for_every_owner(self, call: Callable[[Any], Any], timeout_s: float) -> dict[str, bool]:
        """Call every owner at once; says by name which answered true in time. One that did not will learn the same
        from its next lease."""

        async def tell(name: str) -> bool:
            try:
                return bool(await asyncio.wait_for(call(actor_handle(name)), timeout_s))
            except (ray.exceptions.RayError, ValueError, TimeoutError) as error:
                log.warning("owner `%s` has not acknowledged: %s", name, type(error).__name__)
                return False

        names = [host_name(index) for index in range(self._hosts)]
        names += [entry["name"] for entry in self._live().dedicated()]
        return dict(zip(names, await asyncio.gather(*map(tell, names)), strict=True))

    async def pending(self, after_seq: int, limit: int) -> tuple[Any, ...] | None:
        control = self._control
        return self._feed.pending(control.journal, after_seq, limit) if control else None

    async def trim(self, log_id: str, landed_seq: int) -> None:
        if self._control is not None:
            self._feed.trim(self._control.journal, log_id, landed_seq)

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
        if self._feed.rolled_back:
            raise UnavailableError(self._feed.rolled_back, code="journal_rolled_back")
        return self._control

    async def _keep_open(self) -> None:
        """Open the journal, and open it anew after a failure: never in `__init__`, whose error would be for good."""
        while True:
            if self._control is None or not self._control.journal.usable:
                try:
                    journal: Journal = open_control_journal(
                        self._path, new_log_id=f"{CONTROL_LOG}.{REAL.random_bytes(4).hex()}"
                    )
                    self._control = Control(journal, REAL)
                except FencedError:
                    log.exception("the control journal has another owner")
                    return
                except JournalError as error:
                    log.error("%s", error)
            await asyncio.sleep(REOPEN_S)


# After these, whoever asked may rely on every owner that can be reached: a role that was taken away is gone.
_OWNERS_MUST_KNOW = frozenset({"set_principal"})

_CALLABLE = frozenset(
    {
        "create_key",
        "ensure_operator_key",
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
    }
)
