"""Whoever waits for an approval is told of a change, within bounds, and through trouble of the owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.errors import OverloadedError, UnavailableError
from controlplane.service import approval_watch
from controlplane.service.approval_watch import ApprovalWatch


class Owners:
    """Owners that say versions; `trouble`: how many calls fail first."""

    def __init__(self, *, trouble: int = 0) -> None:
        self.versions = {"apr_1": 1, "apr_2": 1}
        self.asked: list[list[str]] = []
        self.trouble = trouble

    async def call(self, owner: str, method: str, ids: list[str], *, timeout_s: float) -> dict[str, int]:
        assert (owner, method) == ("host-000", "approval_versions") and timeout_s > 0
        self.asked.append(sorted(ids))
        if self.trouble:
            self.trouble -= 1
            raise UnavailableError("away", code="owner_unreachable")
        return {identity: self.versions[identity] for identity in ids if identity in self.versions}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_watch, "_LOOK_S", 0.001)
    monkeypatch.setattr(approval_watch, "_AFTER_TROUBLE_S", 0.001)


def watching(owners: Owners) -> ApprovalWatch:
    calls: Any = owners
    return ApprovalWatch(calls)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("trouble", [0, 3])
def test_all_who_wait_are_asked_for_at_once_and_told(trouble: int) -> None:
    async def story() -> None:
        owners = Owners(trouble=trouble)
        watch = watching(owners)
        waiting = [
            asyncio.create_task(watch.changed("host-000", identity, 1, within_s=30))
            for identity in ("apr_1", "apr_2", "apr_1")
        ]
        await until(lambda: len(owners.asked) >= trouble + 2)
        assert not any(task.done() for task in waiting)
        owners.versions["apr_1"] = 2
        await asyncio.wait_for(asyncio.gather(waiting[0], waiting[2]), 10)
        assert not waiting[1].done()
        del owners.versions["apr_2"]  # forgotten is changed, too
        await asyncio.wait_for(waiting[1], 10)
        assert ["apr_1", "apr_2"] in owners.asked

    asyncio.run(story())


def test_nobody_asks_for_whom_nobody_waits() -> None:
    async def story() -> None:
        owners = Owners()
        watch = watching(owners)
        await watch.changed("host-000", "apr_1", 1, within_s=0.01)
        waiting = asyncio.create_task(watch.changed("host-000", "apr_1", 1, within_s=30))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: not watch._looking)
        asked = len(owners.asked)
        await asyncio.sleep(0.02)
        assert len(owners.asked) == asked and not watch._waiting

    asyncio.run(story())


def test_more_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_watch, "MOST_WAITING", 1)

    async def story() -> None:
        watch = watching(Owners())
        first = asyncio.create_task(watch.changed("host-000", "apr_1", 1, within_s=30))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as refused:
            await watch.changed("host-000", "apr_1", 1, within_s=30)
        assert refused.value.code == "too_many_waiting"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(story())
