"""The socket between a replica and an owner: what was not answered in order, in time and in full is a deny."""

from __future__ import annotations

import asyncio
import marshal
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from actors import channel
from actors.channel import Channel, NoChannelError, channel_path, private_folder, serve
from actors.journal import JournalError
from controlplane.errors import ConflictError, OverloadedError, UnavailableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "c"
    private_folder(folder)
    return channel_path(folder, "host-000")


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a scenario under both event loops: Ray's actors have uvloop where it is installed."""
    return asyncio.run if request.param == "asyncio" else uvloop.run  # type: ignore[return-value]


def test_what_is_sent_comes_back_as_it_was_in_order(run: Any, path: Path) -> None:
    values = [
        ("digest", [("a", 1, None, True, b"\x00\xff", (("rule", "because", ("c",)),))]),
        (None, []),
        ("big", 1 << 10_000),
        ("long", "x" * 3_000_000),
    ]

    async def scenario() -> None:
        async with await serve(path, lambda value: ("echo", value)):
            way = Channel(path)
            for value in values:
                assert await way.call(value, timeout_s=5) == ("echo", value)

    run(scenario())


def test_where_nobody_listens_nothing_was_sent(run: Any, path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(NoChannelError):
            await Channel(path).call(1, timeout_s=1)
        path.touch()  # no socket  # noqa: ASYNC240
        with pytest.raises(NoChannelError):
            await Channel(path).call(1, timeout_s=1)

    run(scenario())


class Odd:
    def __str__(self) -> str:
        return "None of ours"


def test_what_the_owner_raises_reaches_the_caller_with_its_code(run: Any, path: Path) -> None:
    def handle(value: str) -> Any:
        if value == "full":
            raise JournalError("the disk is full")
        if value == "twice":
            raise ConflictError("it has one", code="outcome_already_reported", expected="failed", found=Odd())
        if value == "odd":
            return Odd()  # an answer that does not travel
        raise KeyError(value)

    async def scenario() -> None:
        async with await serve(path, handle):
            way = Channel(path)
            with pytest.raises(UnavailableError) as full:
                await way.call("full", timeout_s=5)
            assert (full.value.code, full.value.message) == ("journal_unavailable", "the disk is full")
            with pytest.raises(UnavailableError) as bug:
                await way.call("bug", timeout_s=5)
            # `owner_failed` says that the owner rolled everything back, so that the batch may be sent in parts.
            assert bug.value.code == "owner_failed"
            with pytest.raises(ConflictError) as conflict:
                await way.call("twice", timeout_s=5)
            assert conflict.value.code == "outcome_already_reported"
            assert conflict.value.fields == {"expected": "failed", "found": "None of ours"}
            with pytest.raises(UnavailableError) as odd:
                await way.call("odd", timeout_s=5)
            # The owner has done it: whoever took this for an owner that rolled back would do it twice.
            assert odd.value.code == "protocol_error"

    run(scenario())


def test_an_owner_that_goes_away_in_mid_call_is_unreachable_and_its_successor_is_found(
    run: Any, path: Path
) -> None:
    async def scenario() -> None:
        way = Channel(path)

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.transport.abort()

        async with await asyncio.start_unix_server(hang_up, str(path)):
            with pytest.raises(UnavailableError) as gone:
                await way.call(1, timeout_s=5)
            assert gone.value.code == "owner_unreachable"
        async with await serve(path, lambda value: value + 1):
            assert await way.call(1, timeout_s=5) == 2

    run(scenario())


class SlowOwner:
    """Answers calls in order, each with itself, and not before it is let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.calls: list[Any] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(4):
            call = marshal.loads(await reader.readexactly(int.from_bytes(size, "little")))
            self.calls.append(call)
            await self.go_on.wait()
            frame = marshal.dumps((0, f"answer to {call}"))
            writer.write(len(frame).to_bytes(4, "little") + frame)
        writer.close()


def test_calls_under_way_together_are_answered_each_with_its_own(run: Any, path: Path) -> None:
    async def scenario() -> None:
        async with await serve(path, lambda value: f"answer to {value}"):
            way = Channel(path)
            answers = await asyncio.gather(*(way.call(number, timeout_s=5) for number in range(100)))
        assert answers == [f"answer to {number}" for number in range(100)]

    run(scenario())


def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_ones(run: Any, path: Path) -> None:
    async def scenario() -> None:
        owner = SlowOwner()
        async with await asyncio.start_unix_server(owner, str(path)):
            way = Channel(path)
            with pytest.raises(UnavailableError) as late:
                await way.call("first", timeout_s=0.05)
            assert late.value.code == "owner_timeout"
            second = asyncio.create_task(way.call("second", timeout_s=5))
            await asyncio.sleep(0.01)
            owner.go_on.set()
            assert await second == "answer to second"
            assert owner.calls == ["first", "second"]

    run(scenario())


def test_a_caller_that_gives_up_leaves_no_answer_behind(run: Any, path: Path) -> None:
    async def scenario() -> None:
        owner = SlowOwner()
        async with await asyncio.start_unix_server(owner, str(path)):
            way = Channel(path)
            first = asyncio.create_task(way.call("first", timeout_s=5))
            await asyncio.sleep(0.01)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            owner.go_on.set()
            assert await way.call("second", timeout_s=5) == "answer to second"

    run(scenario())


def test_more_calls_than_an_owner_will_ever_answer_in_time_are_refused(
    run: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MAX_CALLS", 3)

    async def scenario() -> None:
        owner = SlowOwner()
        async with await asyncio.start_unix_server(owner, str(path)):
            way = Channel(path)
            waiting = [asyncio.create_task(way.call(number, timeout_s=5)) for number in range(3)]
            await asyncio.sleep(0.01)
            with pytest.raises(OverloadedError):
                await way.call("one too many", timeout_s=5)
            owner.go_on.set()
            assert await asyncio.gather(*waiting) == ["answer to 0", "answer to 1", "answer to 2"]

    run(scenario())


def test_an_owner_that_takes_nothing_is_not_given_more_and_more(
    run: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MAX_UNSENT_BYTES", 1 << 20)

    async def scenario() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(60)

        server = await asyncio.start_unix_server(deaf, str(path))
        way = Channel(path)
        calls = [asyncio.create_task(way.call("x" * 500_000, timeout_s=60)) for _ in range(10)]
        await asyncio.sleep(0.05)
        refused = [task for task in calls if task.done()]
        assert 0 < len(refused) < 10
        assert all(isinstance(task.exception(), OverloadedError) for task in refused)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        server.close()

    run(scenario())


def test_an_answer_that_nobody_asked_for_closes_the_connection(run: Any, path: Path) -> None:
    async def scenario() -> None:
        async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            frame = marshal.dumps((0, "unasked"))
            writer.write(2 * (len(frame).to_bytes(4, "little") + frame))
            await reader.read()
            writer.close()

        async with await asyncio.start_unix_server(talkative, str(path)):
            way = Channel(path)
            with suppress(UnavailableError):
                await way.call("first", timeout_s=5)
            assert way._client is not None and not way._client.open

    run(scenario())


def test_a_frame_larger_than_any_of_ours_closes_the_connection(run: Any, path: Path) -> None:
    async def scenario() -> None:
        handled: list[Any] = []
        async with await serve(path, handled.append):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write((channel.MAX_FRAME_BYTES + 1).to_bytes(4, "little"))
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert handled == []

    run(scenario())


def test_neither_end_talks_to_another_user(run: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with await serve(path, lambda value: value):
            monkeypatch.setattr(channel, "_user_of", lambda _: os.getuid() + 1)
            with pytest.raises(NoChannelError):
                await Channel(path).call(1, timeout_s=5)

    run(scenario())


def test_only_its_own_user_can_enter_the_folder_or_use_the_socket(run: Any, path: Path) -> None:
    async def scenario() -> None:
        async with await serve(path, lambda value: value):
            assert path.stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240

    run(scenario())
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o755)
    with pytest.raises(PermissionError):
        private_folder(path.parent)
    link = path.parent.parent / "link"
    link.symlink_to(path.parent)
    with pytest.raises(PermissionError):
        private_folder(link)
