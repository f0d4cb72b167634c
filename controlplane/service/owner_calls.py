"""Calling owners: by their channel where there is one, through Ray where there is none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from actors.channel import Channel, NoChannelError, channel_path
from actors.world import monotonic_s
from controlplane.service.actor_calls import MANAGEMENT_TIMEOUT_S, call_actor

_CHANNEL_RETRY_S = 0.25


class OwnerCalls:
    """The ways to all owners. One a replica.

    Args:
        channels: the folder of the sockets of this machine's owners; None = every call goes through Ray.
    """

    def __init__(self, channels: Path | None = None) -> None:
        self._folder = channels
        self._channels: dict[str, Channel] = {}
        self._not_before_s: dict[str, float] = {}

    async def call(self, owner: str, method: str, *arguments: Any, timeout_s: float) -> Any:
        """Have an owner do one of the things that its `AgentHost` names; arguments and answer are plain values.

        Raises: the GovernanceError that it raised; UnavailableError: it cannot be reached in time
            (`owner_unreachable`, `owner_timeout`; the call may still run) or failed (`owner_failed`; it did not).
        """
        now_s = monotonic_s()
        if self._folder is not None and now_s >= self._not_before_s.get(owner, 0.0):
            channel = self._channels.get(owner)
            if channel is None:
                channel = self._channels[owner] = Channel(channel_path(self._folder, owner))
            try:
                return await channel.call((method, *arguments), timeout_s=timeout_s)
            except NoChannelError:
                self._not_before_s[owner] = now_s + _CHANNEL_RETRY_S
        return await call_actor(owner, method, *arguments, timeout_s=timeout_s)

    async def call_by(self, deadline_us: int, owner: str, method: str, *arguments: Any) -> Any:
        """Like `call`, for a caller who waits until `deadline_us` (wall clock) and no longer.

        What is not answered by then may still be done: whoever asks again learns of it.
        """
        left_s = max(0.001, (deadline_us - time.time_ns() // 1000) / 1e6)
        return await self.call(owner, method, *arguments, timeout_s=min(left_s, MANAGEMENT_TIMEOUT_S))
