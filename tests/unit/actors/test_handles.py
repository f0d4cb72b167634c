"""Asking actors: what one owes, and what becomes of calls that nobody waits for any more. No Ray."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from actors import handles
from actors.handles import ask
from controlplane.errors import GovernanceError, NotFoundError, UnavailableError


class SilentActor:
    """Answers when a test says so. Attributes: asked: the open calls, oldest first."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Any]] = []
        self.status = SimpleNamespace(remote=self._remote)

    def _remote(self) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        return answer


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> SilentActor:
    actor = SilentActor()
    monkeypatch.setattr(handles, "actor_handle", lambda name: actor)
    monkeypatch.setattr(handles, "MOST_UNDER_WAY", 3)
    monkeypatch.setattr(handles, "_under_way", {})
    return actor


async def code_of(name: str = "host-000", *, timeout_s: float = 0.01) -> str:
    with pytest.raises(GovernanceError) as refused:
        await ask(name, "status", timeout_s=timeout_s)
    return refused.value.code


def test_a_silent_actor_is_not_asked_without_end_though_its_callers_give_up(actor: SilentActor) -> None:
    async def story() -> None:
        assert [await code_of() for _ in range(10)] == ["owner_timeout"] * 10
        assert len(actor.asked) == 3
        # Others are asked as before.
        assert await code_of("host-001") == "owner_timeout" and len(actor.asked) == 4
        # One answer, late as it is, makes room for one call.
        actor.asked[0].set_result("late")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked = asyncio.ensure_future(ask("host-000", "status", timeout_s=10))
        await asyncio.sleep(0)
        assert len(actor.asked) == 5
        assert await code_of() == "owner_timeout" and len(actor.asked) == 5
        actor.asked[-1].set_result("in time")
        assert await asked == "in time"

    asyncio.run(story())


def test_what_fails_makes_room_too_and_leaves_nothing_unretrieved(
    actor: SilentActor, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        for _ in range(3):
            assert await code_of() == "owner_timeout"
        for call in actor.asked:
            call.set_exception(NotFoundError("no such thing"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert handles._under_way == {}
        asked = asyncio.ensure_future(ask("host-000", "status", timeout_s=10))
        await asyncio.sleep(0)
        actor.asked[-1].set_exception(NotFoundError("no such thing"))
        with pytest.raises(NotFoundError):
            await asked
        assert handles._under_way == {}

    asyncio.run(story())
    assert caplog.text == ""


def test_a_caller_that_goes_away_does_not_make_the_call_go_away(actor: SilentActor) -> None:
    async def story() -> None:
        waiting = [asyncio.ensure_future(ask("host-000", "status", timeout_s=10)) for _ in range(3)]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await code_of(timeout_s=10) == "owner_timeout"

    asyncio.run(story())


def test_an_actor_that_is_not_there_owes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(name: str) -> Any:
        raise ValueError(name)

    monkeypatch.setattr(handles, "actor_handle", nobody)
    monkeypatch.setattr(handles, "_under_way", {})

    async def story() -> None:
        with pytest.raises(UnavailableError) as refused:
            await ask("host-000", "status", timeout_s=1)
        assert refused.value.code == "owner_unreachable" and handles._under_way == {}

    asyncio.run(story())


@pytest.mark.parametrize("steps", range(4))
def test_a_caller_that_is_ended_ends_though_its_answer_comes_with_it(actor: SilentActor, steps: int) -> None:
    """A background task that outlives its cancellation would be asking for ever, in nobody's name."""

    async def story() -> None:
        asked = asyncio.ensure_future(ask("host-000", "status", timeout_s=10))
        await asyncio.sleep(0)
        actor.asked[0].set_result("just now")
        for _ in range(steps):
            await asyncio.sleep(0)
        ended = asked.cancel()
        assert ended or asked.result() == "just now"
        await asyncio.wait([asked])
        assert asked.cancelled() == ended

    asyncio.run(story())
