"""Natural batching: one call in flight, order kept, and nobody's disconnect breaks the batch of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.messages import BATCH, STALE_BUNDLE
from controlplane.errors import OverloadedError, UnavailableError
from controlplane.service import lanes, owner_calls
from controlplane.service.lanes import Lane
from controlplane.service.owner_calls import OwnerCalls


class SlowOwner:
    """Stands for the actor: records what comes in one call and answers when it is let go."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.running = 0
        self.error: Exception | None = None

    async def __call__(
        self, name: str, method: str, digest: str | None, requests: list[Any], **_: Any
    ) -> Any:
        self.calls.append(requests)
        self.running += 1
        assert self.running == 1, "more than one call in flight"
        await self.gate.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        if digest == "old":
            return (STALE_BUNDLE, "new")
        return (BATCH, [("decided", *request) for request in requests])


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> SlowOwner:
    owner = SlowOwner()
    monkeypatch.setattr(owner_calls, "call_actor", owner)
    return owner


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_arrives_during_a_call_goes_in_the_next_one_in_order(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        waiting = [asyncio.create_task(lane.send("d", [(n,)], timeout_s=5)) for n in range(4)]  # type: ignore[list-item]
        await settle()
        assert owner.calls == [[(0,)]] or len(owner.calls[0]) == 4
        late = asyncio.create_task(lane.send("d", [(9,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        owner.gate.set()
        answers = await asyncio.gather(*waiting, late)
        assert [answer[1][0][1] for answer in answers] == [0, 1, 2, 3, 9]
        assert [request for call in owner.calls for request in call] == [(0,), (1,), (2,), (3,), (9,)]

    asyncio.run(scenario())


def test_a_waiter_that_goes_away_does_not_disturb_the_others(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        first = asyncio.create_task(lane.send("d", [(1,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        gone = asyncio.create_task(lane.send("d", [(2,)], timeout_s=5))  # type: ignore[list-item]
        stays = asyncio.create_task(lane.send("d", [(3,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        first.cancel()  # its request is on the way already
        gone.cancel()  # its request is not
        await settle()
        owner.gate.set()
        assert await stays == (BATCH, [("decided", 3)])
        assert owner.calls[1:] == [[(3,)]]

    asyncio.run(scenario())


def test_actions_prepared_with_different_bundles_never_share_a_call(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        owner.gate.set()
        stale, fine = await asyncio.gather(
            lane.send("old", [(1,)], timeout_s=5),  # type: ignore[list-item]
            lane.send("d", [(2,)], timeout_s=5),  # type: ignore[list-item]
        )
        assert stale == (STALE_BUNDLE, "new")
        assert fine == (BATCH, [("decided", 2)])

    asyncio.run(scenario())


def test_an_owner_that_fails_fails_every_waiter_and_the_lane_goes_on(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        owner.gate.set()
        owner.error = UnavailableError("gone")
        results = await asyncio.gather(
            *(lane.send("d", [(n,)], timeout_s=5) for n in range(3)),  # type: ignore[list-item]
            return_exceptions=True,
        )
        assert all(isinstance(result, UnavailableError) for result in results)
        owner.error = None
        assert await lane.send("d", [(7,)], timeout_s=5) == (BATCH, [("decided", 7)])  # type: ignore[list-item]

    asyncio.run(scenario())


def test_one_request_that_the_owner_chokes_on_is_not_the_fault_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def choking(name: str, method: str, digest: str, requests: list[Any], **_: Any) -> Any:
        await asyncio.sleep(0)
        if (13,) in requests:
            raise UnavailableError("cannot be encoded", code="owner_failed")
        return (BATCH, [("decided", *request) for request in requests])

    monkeypatch.setattr(owner_calls, "call_actor", choking)

    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        first = asyncio.create_task(lane.send("d", [(0,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        numbers = (1, 13, 2)
        results = await asyncio.gather(
            *(lane.send("d", [(n,)], timeout_s=5) for n in numbers),  # type: ignore[list-item]
            return_exceptions=True,
        )
        await first
        assert isinstance(results[1], UnavailableError)
        assert (results[0], results[2]) == ((BATCH, [("decided", 1)]), (BATCH, [("decided", 2)]))
        assert await lane.send("d", [(3,)], timeout_s=5) == (BATCH, [("decided", 3)])  # type: ignore[list-item]

    asyncio.run(scenario())


def test_a_waiter_waits_no_longer_than_its_deadline(owner: SlowOwner) -> None:
    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="did not answer by the request's deadline"):
            await Lane("host-000", OwnerCalls()).send("d", [(1,)], timeout_s=0.01)  # type: ignore[list-item]

    asyncio.run(scenario())


def test_a_full_lane_refuses_instead_of_growing(owner: SlowOwner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING", 2)

    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        held = asyncio.create_task(lane.send("d", [(0,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        waiting = [asyncio.create_task(lane.send("d", [(n,)], timeout_s=5)) for n in (1, 2)]  # type: ignore[list-item]
        await settle()
        with pytest.raises(OverloadedError):
            await lane.send("d", [(3,)], timeout_s=5)  # type: ignore[list-item]
        owner.gate.set()
        await asyncio.gather(held, *waiting)

    asyncio.run(scenario())


def test_a_flood_of_batches_holds_up_no_single_decision_nor_the_reverse(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())

        def send(first: int, count: int) -> asyncio.Task[Any]:
            requests: Any = [(n,) for n in range(first, first + count)]
            return asyncio.create_task(lane.send("d", requests, timeout_s=5))

        waiting = [send(-1, 1)]
        await settle()
        waiting += [send(n * 100, 100) for n in range(10)]  # far more than one call takes
        waiting += [send(n, 1) for n in range(10_000, 10_400)]
        await settle()
        owner.gate.set()
        answers = await asyncio.gather(*waiting)
        assert [answer[1][0][1] for answer in answers[1:11]] == [n * 100 for n in range(10)]
        first, second = owner.calls[1], owner.calls[2]
        half = lanes.MAX_BATCH // 2
        for requests in (first, second):
            assert len(requests) <= lanes.MAX_BATCH
            assert sum(n >= 10_000 for (n,) in requests) == half, "single decisions go along with every call"
            assert sum(n < 10_000 for (n,) in requests) == 100, "and so do batches"

    asyncio.run(scenario())


def test_one_batch_may_be_larger_than_a_call_usually_is(owner: SlowOwner) -> None:
    async def scenario() -> None:
        owner.gate.set()
        requests: Any = [(n,) for n in range(1_000)]
        _, answers = await Lane("host-000", OwnerCalls()).send("d", requests, timeout_s=5)
        assert [n for _, n in answers] == list(range(1_000)) and len(owner.calls) == 1

    asyncio.run(scenario())


def test_both_kinds_are_served_while_they_wait_with_different_bundles(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        many: Any = [(n,) for n in range(100)]
        held = asyncio.create_task(lane.send("d", [(-1,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        large = [asyncio.create_task(lane.send("old", many, timeout_s=5)) for _ in range(2)]
        small = [asyncio.create_task(lane.send("new", [(n,)], timeout_s=5)) for n in range(3)]  # type: ignore[list-item]
        await settle()
        owner.gate.set()
        assert await asyncio.gather(*large) == [(STALE_BUNDLE, "new")] * 2
        assert [answer[1] for answer in await asyncio.gather(*small)] == [[("decided", n)] for n in range(3)]
        await held

    asyncio.run(scenario())


def test_one_owner_that_is_silent_holds_up_so_many_callers_and_no_more(owner: SlowOwner) -> None:
    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        waiting = [
            asyncio.create_task(lane.send("d", [(n,)], timeout_s=5))  # type: ignore[list-item]
            for n in range(lanes.MAX_CALLERS)
        ]
        await settle()
        with pytest.raises(OverloadedError):
            await lane.send("d", [(-1,)], timeout_s=5)  # type: ignore[list-item]
        owner.gate.set()
        await asyncio.gather(*waiting)
        await lane.send("d", [(-1,)], timeout_s=5)  # type: ignore[list-item]

    asyncio.run(scenario())


def test_an_owner_that_goes_silent_while_a_batch_is_sent_one_by_one_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    async def choking(name: str, method: str, digest: str, requests: list[Any], **_: Any) -> Any:
        calls.append(requests)
        await asyncio.sleep(0)
        if len(calls) == 1:
            return (BATCH, [("decided", *request) for request in requests])
        if len(requests) > 1:
            raise UnavailableError("cannot be encoded", code="owner_failed")
        raise UnavailableError("no answer", code="owner_timeout")

    monkeypatch.setattr(owner_calls, "call_actor", choking)

    async def scenario() -> None:
        lane = Lane("host-000", OwnerCalls())
        first = asyncio.create_task(lane.send("d", [(0,)], timeout_s=5))  # type: ignore[list-item]
        await settle()
        results = await asyncio.gather(
            *(lane.send("d", [(n,)], timeout_s=5) for n in range(1, 6)),  # type: ignore[list-item]
            return_exceptions=True,
        )
        await first
        assert [getattr(result, "code", None) for result in results] == ["owner_timeout"] * 5
        assert [len(requests) for requests in calls] == [1, 5, 1]

    asyncio.run(scenario())
