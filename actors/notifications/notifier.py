"""Takes notices out of owners' outboxes, and delivers each to every channel that wants it. No Ray.

Exactly once into the journal, at least once to the receiver, under a delivery id that never changes. A channel has
deliveries of its own under way, so that a slow one delays no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from actors.notifications.attempt import Attempt, failed
from actors.notifications.channels import NoticeChannel
from actors.notifications.delivery_journal import Deliveries, Delivery
from actors.notifications.notice import Entry, Notice, NoticeError, read, sample
from actors.notifications.retries import delay_s
from actors.notifications.sending import AT_ONCE
from actors.owner import Surroundings
from controlplane.errors import ConflictError, NotFoundError

log = logging.getLogger(__name__)

TAKEN_AT_ONCE: Final = 200
"""Entries that one call to an owner asks for."""
_ROUNDS: Final = 50
"""Calls to one owner before the others have their turn."""

Call = Callable[..., Awaitable[Any]]
"""How an owner is asked: (name, method, *arguments); raises GovernanceErrors."""


class Send(Protocol):
    """One attempt; see `Sending.send`."""

    def __call__(
        self, channel: NoticeChannel, notice: Notice, *, delivery: str, now_s: int
    ) -> Awaitable[Attempt]: ...


class Notifier:
    """Over an open journal, on one event loop.

    Args:
        channels: those that there are now; `adopt` says when they change.
    Attributes:
        freed: set whenever a delivery has ended, and its channel has room for another.
    """

    def __init__(
        self, deliveries: Deliveries, channels: Iterable[NoticeChannel], send: Send, world: Surroundings
    ) -> None:
        self.deliveries = deliveries
        self._channels: dict[str, NoticeChannel] = {}
        self._send = send
        self._world = world
        self._under_way: dict[str, dict[str, asyncio.Task[None]]] = {}
        self.freed = asyncio.Event()
        self.adopt(channels)

    def adopt(self, channels: Iterable[NoticeChannel]) -> None:
        """These are the channels from now on."""
        found = {channel.key: channel for channel in channels}
        if found.keys() != self._channels.keys() or not found:
            self.deliveries.bury(found, now_us=self._world.wall_us())
        self._channels = found

    async def take_from(self, owner: str, call: Call, learn: Callable[[], Awaitable[None]]) -> int:
        """Empty an owner's outbox: what is in our journal, it may forget.

        Args:
            learn: has `adopt` called with the channels that there are now. It is asked once there are entries: whoever
                added a channel before something happened is told of it.
        Returns: how many entries there were. Raises: GovernanceError: the owner does not answer now.
        """
        taken = after = 0
        for _ in range(_ROUNDS):
            entries = await call(owner, "approval_notices", after, TAKEN_AT_ONCE)
            if not entries:
                break
            await learn()
            after = entries[-1][0]
            taken += len(entries)
            self.deliveries.take(
                _notices(owner, entries), list(self._channels.values()), now_us=self._world.wall_us()
            )
            # INVARIANT (nothing lost): an owner forgets only what was committed here. Told late or never, it hands the
            # same out again, and that makes no second delivery.
            await call(owner, "forget_approval_notices", after)
            if len(entries) < TAKEN_AT_ONCE:
                break
        return taken

    def start_due(self) -> None:
        """Begin whatever is due, as far as its channel has room for it."""
        now_us = self._world.wall_us()
        for key, channel in self._channels.items():
            under_way = self._under_way.setdefault(key, {})
            if len(under_way) >= AT_ONCE:
                continue
            for delivery in self.deliveries.due(key, now_us=now_us, limit=AT_ONCE):
                if delivery.id not in under_way and len(under_way) < AT_ONCE:
                    self._begin(channel, delivery, under_way)

    async def settled(self) -> None:
        """Wait for all that is under way."""
        while tasks := [task for under_way in self._under_way.values() for task in under_way.values()]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Stop whatever is under way; it is due again after a restart."""
        tasks = [task for under_way in self._under_way.values() for task in under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def try_out(self, tenant: str, identity: str) -> Attempt:
        """Send a channel a test, once and now. Raises: NotFoundError: no such channel."""
        channel = self._channels.get(f"{tenant}/{identity}")
        if channel is None:
            raise NotFoundError(f"no channel `{identity[:64]}`", code="unknown_channel")
        now_us = self._world.wall_us()
        notice = sample(tenant, now_us=now_us)
        return await self._attempt(channel, notice, f"msg_test_{self._world.random_bytes(16).hex()}")

    def retry(self, tenant: str, identity: str) -> Delivery:
        """Let a dead letter try again. Raises: NotFoundError, ConflictError: it is not dead, or its channel is gone."""
        found = self.deliveries.one(identity)
        if found is None or not found.channel.startswith(f"{tenant}/"):
            raise NotFoundError(f"no delivery `{identity[:64]}`", code="unknown_delivery")
        if found.channel not in self._channels:
            raise ConflictError("its channel was removed; add it again first", code="channel_removed")
        if not self.deliveries.revive(identity, now_us=self._world.wall_us()):
            raise ConflictError(
                f"delivery `{identity}` is `{found.state}`: only dead letters are tried again",
                code="not_dead",
            )
        self.start_due()
        revived = self.deliveries.one(identity)
        assert revived is not None
        return revived

    # -- inside --------------------------------------------------------------------------------------------------

    def _begin(
        self, channel: NoticeChannel, delivery: Delivery, under_way: dict[str, asyncio.Task[None]]
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(channel, delivery))
        under_way[delivery.id] = task

        def ended(task: asyncio.Task[None]) -> None:
            under_way.pop(delivery.id)
            self.freed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("what delivery `%s` came to is not noted (%s)", delivery.id, type(error).__name__)

        task.add_done_callback(ended)

    async def _deliver(self, channel: NoticeChannel, delivery: Delivery) -> None:
        """One attempt, and what it came to. A process that ends between the two sends the same delivery again."""
        attempt = await self._attempt(channel, delivery.notice, delivery.id)
        now_us = self._world.wall_us()
        next_us = None
        if not attempt.delivered and not attempt.for_good:
            random = int.from_bytes(self._world.random_bytes(4), "big") / 2**32
            wait_s = delay_s(delivery.attempts + 1, random=random, asked_s=attempt.retry_after_s)
            next_us = None if wait_s is None else now_us + int(wait_s * 1e6)
        self.deliveries.note(delivery, attempt, now_us=now_us, next_us=next_us)
        if not attempt.delivered:
            log.warning(
                "delivery `%s` to channel `%s` failed (%s); %s",
                delivery.id,
                channel.key,
                attempt.error,
                "it is a dead letter now" if next_us is None else "it is tried again",
            )

    async def _attempt(self, channel: NoticeChannel, notice: Notice, delivery: str) -> Attempt:
        try:
            return await self._send(
                channel, notice, delivery=delivery, now_s=self._world.wall_us() // 1_000_000
            )
        except Exception as error:
            return failed(error)


def _notices(owner: str, entries: Sequence[tuple[int, bytes]]) -> list[Notice]:
    found = []
    for seq, body in entries:
        try:
            found.append(read(Entry(owner=owner, seq=seq, body=body)))
        except NoticeError as error:
            # It would stand in everybody's way for ever: an owner of another version may hand it out.
            log.error("%s; it is told to nobody", error.message)
    return found
