"""Owners are told at once: each renewal that is acknowledged was asked for after whoever waits for it came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import telling
from actors.telling import Telling
from controlplane.errors import UnavailableError


class Owners:
    """Owners that answer when a test lets them."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.silent: set[str] = set()
        self.away: set[str] = set()
        self.heard = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def __call__(self, name: str, method: str, *_: Any, timeout_s: float) -> bool:
        assert method == "refresh"
        self.asked[name] = self.asked.get(name, 0) + 1
        self.heard.set()
        if name in self.away:
            raise UnavailableError("away")
        if name in self.silent:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                raise UnavailableError("silent") from None
        await self.let_go.wait()
        return True


def test_who_comes_while_owners_are_told_goes_with_the_next_call_and_all_together() -> None:
    async def scenario() -> None:
        owners = Owners()
        renewals = Telling(owners)
        owners.let_go.clear()
        first = asyncio.ensure_future(renewals.tell(["a", "b"]))
        await owners.heard.wait()
        assert owners.asked == {"a": 1, "b": 1}
        later = [asyncio.ensure_future(renewals.tell(["a", "b"])) for _ in range(50)]
        await asyncio.sleep(0)
        owners.let_go.set()
        for told in await asyncio.gather(first, *later):
            assert told == {"a": True, "b": True}
        assert owners.asked == {"a": 2, "b": 2}
        assert await renewals.tell(["a"]) == {"a": True} and owners.asked["a"] == 3
        assert not renewals._under_way and not renewals._next

    asyncio.run(scenario())


def test_one_that_is_silent_or_away_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TOLD_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        owners = Owners()
        renewals = Telling(owners)
        owners.silent.add("hung")
        owners.away.add("gone")
        names = ["fine", "gone", "hung"]
        assert (
            await asyncio.gather(*(renewals.tell(names) for _ in range(3)))
            == [{"fine": True, "gone": False, "hung": False}] * 3
        )
        assert await renewals.tell(["fine"]) == {"fine": True}
        assert await renewals.tell([]) == {}

    asyncio.run(scenario())


def test_what_is_durable_before_is_known_to_whoever_acknowledges_in_thousands_of_rounds() -> None:
    """A register that grows, owners that copy it at their own pace: no acknowledgement of less than was there."""

    async def scenario() -> None:
        register, copies = 0, dict.fromkeys("abc", 0)
        pace = iter(range(1_000_000))

        async def refresh(name: str, *_: Any, timeout_s: float) -> bool:
            for _ in range(next(pace) % 4):
                await asyncio.sleep(0)
            seen = register
            for _ in range(next(pace) % 3):
                await asyncio.sleep(0)
            copies[name] = max(copies[name], seen)
            return True

        renewals = Telling(refresh)

        async def change() -> None:
            nonlocal register
            register += 1
            mine = register
            assert all((await renewals.tell(list(copies))).values())
            assert all(copy >= mine for copy in copies.values())

        for round_ in range(1_000):
            await asyncio.gather(*(change() for _ in range(1 + round_ % 5)))

    asyncio.run(scenario())


def test_an_owner_that_fails_in_a_way_of_its_own_has_not_said_so_and_spoils_nothing() -> None:
    async def failing(name: str, method: str, *_: Any, timeout_s: float) -> bool:
        if name == "b":
            raise RuntimeError("nobody expected it")
        return True

    async def scenario() -> None:
        renewals = Telling(failing)
        assert await renewals.tell(["a", "b"]) == {"a": True, "b": False}
        assert not renewals._under_way and not renewals._next

    asyncio.run(scenario())
