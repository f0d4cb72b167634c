"""Who is told of an alarm, and how often, whatever stands in the way."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from actors.alarms.bell import Bell
from actors.alarms.state import ENDS_AFTER_S, EVIDENCE_GAP
from actors.alarms.watch import LandingWatch, Thresholds
from controlplane.errors import UnavailableError

GAP = {"host-000.x": "gap in log `host-000.x`: expected seq 10, found 11"}


class Story:
    """A bell, the moments at which it is looked at, and a control store that is there or away."""

    def __init__(self, known: list[dict[str, Any]] | None = None) -> None:
        self.watch = LandingWatch(Thresholds(), limit=10, now_us=0)
        self.bell = Bell(self.watch, self.call)
        self.known = known or []
        self.noted: list[list[str]] = []
        self.away = False
        self.now_s = 0.0

    async def call(self, name: str, way: str, method: str, given: dict[str, Any], *, timeout_s: float) -> Any:
        if self.away:
            raise UnavailableError("the control store is away")
        if method == "alarms_on":
            return self.known
        self.noted.append([alarm["code"] for alarm in given["on"]])
        return 1

    def rounds(self, count: int, *, each_s: float = 1.0) -> None:
        async def go() -> None:
            for _ in range(count):
                self.now_s += each_s
                await self.bell.round([], now_s=self.now_s, now_us=int(self.now_s * 1e6))

        asyncio.run(go())


def test_the_control_store_is_told_of_changes_alone() -> None:
    story = Story()
    story.rounds(5)
    story.watch.landed([], GAP)
    story.rounds(5)
    story.watch.landed([], {})
    story.rounds(3, each_s=ENDS_AFTER_S)
    assert story.noted == [[EVIDENCE_GAP], []]


def test_while_it_is_away_it_is_tried_again_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = Story()
    story.rounds(1)
    story.away = True
    story.watch.landed([], GAP)
    with caplog.at_level(logging.WARNING, "actors.alarms.bell"):
        story.rounds(20)
    begins, away = [record.message for record in caplog.records]
    assert begins.startswith("alarm `evidence_gap` (host-000.x) begins: gap in log") and "is away" in away
    story.away = False
    story.rounds(3)
    assert story.noted == [[EVIDENCE_GAP]]


def test_before_it_knows_what_was_on_nothing_is_told_and_nothing_is_lost() -> None:
    story = Story([{"code": EVIDENCE_GAP, "about": "host-000.x", "says": "a gap", "since_us": 5}])
    story.away = True
    story.watch.landed([], GAP)
    story.rounds(3)
    story.away = False
    story.rounds(3)
    assert story.noted == [] and [alarm["since_us"] for alarm in story.bell.on()] == [5]
    story.watch.landed([], {})
    story.rounds(2, each_s=ENDS_AFTER_S)
    assert story.noted == [[]]
