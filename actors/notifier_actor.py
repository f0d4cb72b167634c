"""Ray shell of `Notifier`: one named, detached actor that tells people what waits for them.

Every two seconds it asks every owner for its outbox; of an owner that is slow or stopped is told later, and it delays
nobody. No decision waits for the notifier: while it is away, notices wait in their owners' journals.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from actors.handles import ask
from actors.journal_folder import Place, refuse_another
from actors.notifications.channels import NoticeChannel
from actors.notifications.delivery_journal import Deliveries, Delivery, open_delivery_journal
from actors.notifications.notifier import Notifier
from actors.notifications.sending import Sending
from actors.placement import CONTROL_STORE, NOTIFIER, host_name
from actors.world import REAL
from controlplane.errors import GovernanceError, UnavailableError

log = logging.getLogger(__name__)

TAKE_S: Final = 2.0
COUNT_S: Final = 5.0
REPORT_S: Final = 2.0
REPORTED_AT_ONCE: Final = 200
DUE_S: Final = 0.5
TIDY_S: Final = 60.0
CALL_TIMEOUT_S: Final = 10.0


class NotifierActor:
    """Delivers notices to the operators' channels.

    Args:
        journals: the folder of the journals.
        hosts: how many hosts there are.
        place: whose folder of journals it must be, see `actors.journal_folder`; None = any.
    """

    def __init__(self, journals: str, hosts: int, place: tuple[str, str] | None = None) -> None:
        self._path = Path(journals) / f"{NOTIFIER}.db"
        self._hosts = [host_name(index) for index in range(hosts)]
        self._place = Place(*place) if place else None
        self._notifier: Notifier | None = None
        self._sending = Sending()
        self._taking: dict[str, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._trouble = "starting"
        self._totals: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        # An exception in `__init__` would end a Ray actor for good: what can fail is done, and done again, in tasks.
        self._tasks = [
            loop.create_task(self._repeat(TAKE_S, self._take)),
            loop.create_task(self._repeat(COUNT_S, self._count)),
            loop.create_task(self._repeat(REPORT_S, self._report)),
            loop.create_task(self._repeat(TIDY_S, self._tidy)),
            loop.create_task(self._deliver()),
        ]

    async def status(self) -> dict[str, Any]:
        """What an operator wants to know, counted a few seconds ago; answers also while nothing is delivered."""
        notifier = self._notifier
        if notifier is None or not notifier.deliveries.journal.usable:
            return {"ready": False, "reason": self._trouble}
        return {"ready": True, "epoch": notifier.deliveries.journal.epoch, **self._totals}

    async def deliveries(
        self, tenant: str, channel: str, state: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest first. Args: channel: an id; empty = all of the tenant's. state: None = all."""
        key = f"{tenant}/{channel}"
        found = self._live().deliveries.latest(key, limit=limit, state=state)  # type: ignore[arg-type]
        return [_shown(delivery) for delivery in found]

    async def counts(self, tenant: str) -> dict[str, dict[str, int]]:
        """Deliveries by channel id and state."""
        mine = f"{tenant}/"
        counted = self._live().deliveries.counts()
        return {key.removeprefix(mine): states for key, states in counted.items() if key.startswith(mine)}

    async def retry(self, tenant: str, delivery: str) -> dict[str, Any]:
        """See `Notifier.retry`."""
        return _shown(self._live().retry(tenant, delivery))

    async def try_out(self, tenant: str, channel: str) -> dict[str, Any]:
        """See `Notifier.try_out`; of a channel that was added a moment ago, too."""
        await self._follow_channels()
        attempt = await self._live().try_out(tenant, channel)
        return {"delivered": attempt.delivered, "status": attempt.status, "error": attempt.error}

    # -- inside --------------------------------------------------------------------------------------------------

    def _live(self) -> Notifier:
        if self._notifier is None or not self._notifier.deliveries.journal.usable:
            raise UnavailableError(f"the notifier does not work now: {self._trouble}", code="notifier_away")
        return self._notifier

    async def _take(self) -> None:
        """Ask each owner that has answered the last time."""
        await self._follow_channels()
        dedicated = await ask(CONTROL_STORE, "call", "dedicated", {}, timeout_s=CALL_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        for owner in (*self._hosts, *(entry["name"] for entry in dedicated)):
            if owner not in self._taking:
                self._taking[owner] = task = loop.create_task(self._take_from(owner))
                task.add_done_callback(lambda _, owner=owner: self._taking.pop(owner))  # type: ignore[misc]

    async def _take_from(self, owner: str) -> None:
        try:
            await self._live().take_from(owner, _call, self._follow_channels)
            self._live().start_due()
        except GovernanceError as error:
            log.warning("`%s` does not hand out its notices now: %s", owner, error.message)
        except Exception:
            log.exception("the notices of `%s` are not taken; it is tried again", owner)

    async def _follow_channels(self) -> None:
        """Learn which channels there are now, and open the journal if it is not open."""
        entries = await ask(CONTROL_STORE, "call", "channels_with_secrets", {}, timeout_s=CALL_TIMEOUT_S)
        channels = [NoticeChannel.of(entry) for entry in entries]
        if self._notifier is not None and self._notifier.deliveries.journal.fenced:
            # INVARIANT (single owner): whoever was superseded never opens the journal again.
            log.critical("the notifier's journal has another owner; this process ends")
            os._exit(70)
        async with self._opening:
            if self._notifier is None or not self._notifier.deliveries.journal.usable:
                await self._open(channels)
            else:
                self._notifier.adopt(channels)

    async def _open(self, channels: list[NoticeChannel]) -> None:
        if self._notifier is not None:
            await self._notifier.end()
        if self._place is not None:
            refuse_another(self._path.parent, self._place)
        journal = open_delivery_journal(self._path, new_log_id=f"{NOTIFIER}.{REAL.random_bytes(4).hex()}")
        self._notifier = Notifier(Deliveries(journal), channels, self._sending.send, REAL)

    async def _deliver(self) -> None:
        while True:
            notifier = self._notifier
            if notifier is None or not notifier.deliveries.journal.usable:
                await asyncio.sleep(DUE_S)
                continue
            try:
                notifier.freed.clear()
                notifier.start_due()
                async with asyncio.timeout(DUE_S):
                    await notifier.freed.wait()
            except TimeoutError:
                continue
            except Exception as error:
                log.error("what is due is not delivered now; it is tried again", exc_info=error)
                await asyncio.sleep(DUE_S)

    async def _count(self) -> None:
        """`status` is asked for twice a second, and must not look at the whole log each time."""
        if self._notifier is not None and self._notifier.deliveries.journal.usable:
            self._totals = self._notifier.deliveries.open_counts()

    async def _report(self) -> None:
        """Have the control store put into evidence what nobody could be told."""
        notifier = self._notifier
        if notifier is None or not notifier.deliveries.journal.usable:
            return
        while given_up := notifier.deliveries.given_up(limit=REPORTED_AT_ONCE):
            reports = [_report_of(delivery) for delivery in given_up]
            await ask(
                CONTROL_STORE, "call", "record_undelivered", {"reports": reports}, timeout_s=CALL_TIMEOUT_S
            )
            notifier.deliveries.note_evidence(given_up)

    async def _tidy(self) -> None:
        if self._notifier is not None and self._notifier.deliveries.journal.usable:
            self._notifier.deliveries.forget(now_us=REAL.wall_us())

    async def _repeat(self, interval_s: float, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except GovernanceError as error:
                self._trouble = error.message
                log.warning("the notifier: %s", error.message)
            except Exception as error:
                self._trouble = type(error).__name__
                log.exception("the notifier's background work failed; it is tried again")
            await asyncio.sleep(interval_s)


async def _call(owner: str, method: str, *arguments: Any) -> Any:
    return await ask(owner, method, *arguments, timeout_s=CALL_TIMEOUT_S)


def _report_of(delivery: Delivery) -> dict[str, Any]:
    tenant, _, channel = delivery.channel.partition("/")
    return {
        "id": f"{delivery.id}/{delivery.changed_us}",
        "tenant": tenant,
        "approval": delivery.notice.task.id,
        "agent": delivery.notice.task.agent,
        "details": {
            "channel": channel,
            "delivery": delivery.id,
            "event": delivery.notice.event,
            "attempts": delivery.attempts,
            "status": delivery.status,
            "error": delivery.error,
        },
    }


def _shown(delivery: Delivery) -> dict[str, Any]:
    """A delivery as operators see it: which notice, not what it says."""
    return {
        "id": delivery.id,
        "channel": delivery.channel.partition("/")[2],
        "event": delivery.notice.event,
        "approval": delivery.notice.task.id,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_us": delivery.next_us if delivery.state == "waiting" else None,
        "created_us": delivery.created_us,
        "changed_us": delivery.changed_us,
        "status": delivery.status,
        "error": delivery.error,
    }
