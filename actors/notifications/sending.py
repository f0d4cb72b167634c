"""The ways out: whatever kind a channel is of, one attempt at one delivery."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, assert_never

from actors.notifications.attempt import Attempt
from actors.notifications.channels import MOST_CHANNELS, HttpTarget, NoticeChannel, SmtpTarget
from actors.notifications.http_delivery import HttpDelivery
from actors.notifications.notice import Notice
from actors.notifications.smtp_delivery import SmtpDelivery

AT_ONCE: Final = 2
"""Deliveries under way of one channel."""
_TRIALS: Final = 10


class Sending:
    """Args: tls: whose certificates are believed; the machine's own unless told otherwise."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        # A thread for whatever may block at once, so that a slow name server or mail server holds up nobody else's.
        self._threads = ThreadPoolExecutor(
            max_workers=MOST_CHANNELS * AT_ONCE + _TRIALS, thread_name_prefix="notifying"
        )
        tls = tls or ssl.create_default_context()
        self._http = HttpDelivery(self._resolve, tls)
        self._smtp = SmtpDelivery(self._resolve, self._threads, tls)

    async def send(self, channel: NoticeChannel, notice: Notice, *, delivery: str, now_s: int) -> Attempt:
        """One attempt; what goes wrong is in its result. Some ten seconds at the longest, longer for mail servers that
        answer each step late."""
        match channel.target:
            case HttpTarget() as target:
                return await self._http.send(target, notice, delivery=delivery, now_s=now_s)
            case SmtpTarget() as target:
                return await self._smtp.send(target, notice, delivery=delivery, now_s=now_s)
            case _:
                assert_never(channel.target)

    async def close(self) -> None:
        await self._http.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
