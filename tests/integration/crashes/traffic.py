"""Clients that ask each owner to record numbers, ask again until they are answered, and remember every answer."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.crashes.fleet import OWNERS

from actors.channel import Channel, NoChannelError, channel_path
from controlplane.errors import GovernanceError

_MANY = 0.004  # how often a client asks for more than a journal trims in one step
_LONG = 0.05


@dataclass(slots=True)
class Told:
    """What one owner's client was told.

    Attributes:
        rows: by log and sequence number, the number recorded there, and its canonical bytes (empty: it was told of
            after a crash, when they were not at hand).
        asked: how many numbers were asked for.
        answered_s: when the last answer came, monotonic clock.
    """

    rows: dict[tuple[str, int], tuple[int, bytes]] = field(default_factory=dict)
    asked: int = 0
    answered_s: float = 0.0


class Traffic:
    """One client for each owner. Between rounds it can be held still."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.told = {name: Told() for name in OWNERS}
        self._channels = {name: Channel(channel_path(folder / "sockets", name)) for name in OWNERS}
        self._rng = random.Random(seed)
        self._flowing = asyncio.Event()
        self._at_work = 0
        self._tasks = [asyncio.get_running_loop().create_task(self._client(name)) for name in OWNERS]

    def flow(self) -> None:
        self._flowing.set()

    async def hold(self) -> None:
        """Until everything that was asked for is answered."""
        self._flowing.clear()
        while self._at_work:
            self._look()
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, name: str, *call: Any) -> Any:
        return await self._channels[name].call(call, timeout_s=10.0)

    def silent_since(self, since_s: float) -> list[str]:
        """Owners that have answered nothing since. Raises: what a client came upon."""
        self._look()
        return [name for name, told in self.told.items() if told.answered_s <= since_s]

    def _look(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def _client(self, name: str) -> None:
        told, rng = self.told[name], self._rng
        while True:
            await self._flowing.wait()
            count = 1_500 if rng.random() < _MANY else rng.randint(1, 12)
            numbers = list(range(told.asked, told.asked + count))
            told.asked += count
            size_bytes = 3_000 if rng.random() < _LONG else rng.randint(0, 200)
            self._at_work += 1
            log_id, done = await self._answer(name, numbers, size_bytes)
            self._at_work -= 1
            assert sorted(number for number, _, _ in done) == numbers
            for number, seq, canonical in done:
                before = told.rows.setdefault((log_id, seq), (number, canonical))
                assert before == (number, canonical), f"`{log_id}` used {seq} for {before[0]} and {number}"
            told.answered_s = time.monotonic()
            await asyncio.sleep(rng.uniform(0.02, 0.1))

    async def _answer(self, name: str, numbers: list[int], size_bytes: int) -> tuple[str, list[Any]]:
        while True:
            try:
                return await self.ask(name, "append", numbers, size_bytes)
            except (GovernanceError, NoChannelError):
                await asyncio.sleep(0.02)
