"""Who hands out evidence, and who is waited for: no owner's silence is another owner's delay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors import evidence_sources
from actors.evidence_sources import Offer, Sources
from controlplane.errors import UnavailableError


class Fleet:
    """Owners that answer unless they are stopped or dead, and what they were asked."""

    def __init__(self) -> None:
        self.stopped: dict[str, asyncio.Event] = {}
        self.dead: set[str] = set()
        self.dedicated: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.trimmed: list[tuple[str, str, int]] = []

    def stop(self, name: str) -> None:
        self.stopped[name] = asyncio.Event()

    def go_on(self, name: str) -> None:
        self.stopped.pop(name).set()

    async def call(self, name: str, method: str, *arguments: Any, timeout_s: float) -> Any:
        self.asked.append((name, method))
        if name in self.dead:
            raise UnavailableError(f"`{name}` cannot be reached now", code="owner_unreachable")
        if name in self.stopped:
            await self.stopped[name].wait()
        match method:
            case "pending":
                return f"log-{name}", [(0, b"{}", b"leaf")], False
            case "trim":
                self.trimmed.append((name, *arguments))
                return None
            case _:
                return [{"name": name} for name in self.dedicated]

    def calls_to(self, name: str) -> int:
        return sum(asked == name for asked, method in self.asked if method != "call")


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def with_fleet(story: Callable[[Fleet, Sources], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_sources, "GRACE_S", 0.02)

    async def told() -> None:
        fleet = Fleet()
        await story(fleet, Sources(["control", "a", "b"], limit=10, call=fleet.call))

    asyncio.run(told())


def names(offers: list[Offer]) -> list[str]:
    return sorted(offer.name for offer in offers)


def test_a_stopped_owner_is_asked_once_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(fleet: Fleet, sources: Sources) -> None:
        fleet.stop("a")
        for _ in range(5):
            assert names(await sources.collect()) == ["b", "control"]
        assert (fleet.calls_to("a"), fleet.calls_to("b")) == (1, 5)
        fleet.go_on("a")
        await settled()
        assert names(await sources.collect()) == ["a", "b", "control"]

    with_fleet(story, monkeypatch)


def test_an_answer_that_came_late_is_taken_before_the_owner_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(fleet: Fleet, sources: Sources) -> None:
        fleet.stop("a")
        await sources.collect()
        fleet.go_on("a")
        await settled()
        asked = fleet.calls_to("a")
        assert "a" in names(await sources.collect())
        assert fleet.calls_to("a") == asked

    with_fleet(story, monkeypatch)


def test_an_owner_that_does_not_hear_of_a_landing_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(fleet: Fleet, sources: Sources) -> None:
        await sources.collect()
        fleet.stop("a")
        await sources.trim([("a", "log-a", 7), ("b", "log-b", 8)])
        assert fleet.trimmed == [("b", "log-b", 8)]
        # It was told before it is asked for more.
        assert names(await sources.collect()) == ["b", "control"]
        fleet.go_on("a")
        await settled()
        assert fleet.trimmed[-1] == ("a", "log-a", 7)
        assert names(await sources.collect()) == ["a", "b", "control"]

    with_fleet(story, monkeypatch)


def test_dedicated_agents_go_on_landing_while_the_control_store_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(fleet: Fleet, sources: Sources) -> None:
        fleet.dedicated = ["agent-1"]
        assert "agent-1" in names(await sources.collect())
        fleet.stop("control-store")
        fleet.stop("control")
        for _ in range(3):
            assert names(await sources.collect()) == ["a", "agent-1", "b"]

    with_fleet(story, monkeypatch)


def test_who_fails_or_stays_silent_is_named_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_sources, "SILENT_AFTER_S", 0.0)

    async def story(fleet: Fleet, sources: Sources) -> None:
        fleet.dead.add("a")
        fleet.stop("b")
        await sources.collect()
        assert sources.silent() == ["a", "b"]
        fleet.dead.clear()
        fleet.go_on("b")
        await settled()
        await sources.collect()
        assert sources.silent() == []

    with_fleet(story, monkeypatch)
