"""From owners' outboxes to channels: once into the journal, at least once to the receiver, nobody held up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from unit.actors.notifications.samples import World, deliveries, hook, notice, outbox_entry

from actors.notifications import delivery_journal
from actors.notifications.attempt import Attempt
from actors.notifications.channels import NoticeChannel
from actors.notifications.delivery_journal import delivery_id
from actors.notifications.notice import Notice
from actors.notifications.notifier import Notifier
from actors.notifications.retries import ATTEMPTS
from actors.notifications.sending import AT_ONCE
from controlplane.errors import ConflictError, NotFoundError, UnavailableError

OK = Attempt(delivered=True, status=204)
FAILED = Attempt(delivered=False, status=500, error="answered 500")


class Outbox:
    """An owner that keeps the contract."""

    def __init__(self, *entries: bytes) -> None:
        self.entries = dict(enumerate(entries, 1))
        self.deaf = False

    async def call(self, owner: str, method: str, *arguments: int) -> Any:
        if method == "approval_notices":
            after, limit = arguments
            return [(seq, body) for seq, body in sorted(self.entries.items()) if seq > after][:limit]
        assert method == "forget_approval_notices"
        if self.deaf:
            raise UnavailableError("the owner went away")
        (up_to,) = arguments
        self.entries = {seq: body for seq, body in self.entries.items() if seq > up_to}
        return None


async def nothing_new() -> None:
    """The channels are as they were."""


class Receivers:
    """Answers by channel id; remembers what came."""

    def __init__(self, **answers: Attempt | Callable[[], Awaitable[Attempt]]) -> None:
        self.answers = answers
        self.received: list[tuple[str, str]] = []

    async def send(self, channel: NoticeChannel, notice: Notice, *, delivery: str, now_s: int) -> Attempt:
        self.received.append((channel.id, delivery))
        answer = self.answers.get(channel.id, OK)
        return answer if isinstance(answer, Attempt) else await answer()


def run(
    work: Callable[..., Coroutine[Any, Any, None]],
    folder: Path,
    *channels: NoticeChannel,
    **answers: Any,
) -> Receivers:
    """Run a test's coroutine with a notifier over a journal in `folder`."""
    receivers, world = Receivers(**answers), World()

    async def main() -> None:
        kept = deliveries(folder)
        notifier = Notifier(kept, channels, receivers.send, world.surroundings)
        try:
            await work(notifier, world)
        finally:
            await notifier.end()
            kept.journal.close()

    asyncio.run(main())
    return receivers


async def deliver(notifier: Notifier) -> None:
    notifier.start_due()
    await notifier.settled()


def test_a_notice_is_delivered_once_to_each_channel_that_wants_it(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        outbox = Outbox(outbox_entry(1), outbox_entry(2, "approval_granted"))
        assert await notifier.take_from("host-000", outbox.call, nothing_new) == 2
        assert outbox.entries == {}
        for _ in range(3):
            await deliver(notifier)

    receivers = run(
        work,
        tmp_path,
        hook("all"),
        hook("granted", events=frozenset({"approval_granted"})),
        hook("cfo", approvers=frozenset({"user:cfo"})),
        hook("legal", approvers=frozenset({"role:legal"})),
    )
    assert sorted(channel for channel, _ in receivers.received) == ["all", "all", "cfo", "cfo", "granted"]
    assert len({delivery for _, delivery in receivers.received}) == 5


def test_another_tenant_s_channel_hears_nothing(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        await deliver(notifier)

    other = NoticeChannel(tenant="other", id="hook", target=hook().target)
    assert run(work, tmp_path, other).received == []


def test_an_owner_that_was_not_told_to_forget_makes_no_second_delivery(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        outbox = Outbox(outbox_entry(1), outbox_entry(2))
        outbox.deaf = True
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await notifier.take_from("host-000", outbox.call, nothing_new)
        outbox.deaf = False
        await notifier.take_from("host-000", outbox.call, nothing_new)
        assert outbox.entries == {}
        await deliver(notifier)

    assert len(run(work, tmp_path, hook()).received) == 2


def test_a_channel_that_was_added_before_something_happened_is_told_of_it(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        async def learn() -> None:
            notifier.adopt([hook()])

        await notifier.take_from("host-000", Outbox(outbox_entry()).call, learn)
        await deliver(notifier)

    assert len(run(work, tmp_path).received) == 1


def test_an_owner_forgets_nothing_while_nobody_knows_the_channels(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        async def away() -> None:
            raise UnavailableError("the control store is away")

        outbox = Outbox(outbox_entry())
        with pytest.raises(UnavailableError):
            await notifier.take_from("host-000", outbox.call, away)
        assert len(outbox.entries) == 1

    run(work, tmp_path, hook())


def test_an_outbox_of_any_length_is_emptied(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        outbox = Outbox(*(outbox_entry(seq) for seq in range(1, 451)))
        assert await notifier.take_from("host-000", outbox.call, nothing_new) == 450
        assert outbox.entries == {}
        assert notifier.deliveries.counts() == {"default/hook": {"waiting": 450}}

    run(work, tmp_path, hook())


def test_what_is_no_notice_stands_in_nobodys_way(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        outbox = Outbox(b"{}", outbox_entry(2))
        await notifier.take_from("host-000", outbox.call, nothing_new)
        assert outbox.entries == {}
        await deliver(notifier)

    assert len(run(work, tmp_path, hook()).received) == 1


def test_a_failed_delivery_comes_back_under_its_id_until_it_is_a_dead_letter(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        for _ in range(ATTEMPTS):
            await deliver(notifier)
            await deliver(notifier)  # not before its time
            world.pass_s(7 * 3600)
        await deliver(notifier)
        (dead,) = notifier.deliveries.latest("default/hook", limit=9, state="dead")
        assert (dead.attempts, dead.status, dead.error) == (ATTEMPTS, 500, "answered 500")

    received = run(work, tmp_path, hook(), hook=FAILED).received
    assert received == [("hook", delivery_id(notice().id, "default/hook"))] * ATTEMPTS


def test_what_cannot_succeed_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        await deliver(notifier)
        assert notifier.deliveries.counts() == {"default/hook": {"dead": 1}}

    run(work, tmp_path, hook(), hook=Attempt(delivered=False, error="refused", for_good=True))


def test_a_receiver_says_when_to_come_back(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        for wait_s in (0, 299, 1):
            world.pass_s(wait_s)
            await deliver(notifier)

    busy = Attempt(delivered=False, status=429, error="answered 429", retry_after_s=300)
    assert len(run(work, tmp_path, hook(), hook=busy).received) == 2


def test_a_process_that_ends_between_delivery_and_note_sends_the_same_delivery_again(tmp_path: Path) -> None:
    hangs = asyncio.Event()

    async def arrives_and_hangs() -> Attempt:
        hangs.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def dies(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        notifier.start_due()
        await hangs.wait()

    first = run(dies, tmp_path, hook(), hook=arrives_and_hangs).received

    async def comes_back(notifier: Notifier, world: World) -> None:
        await deliver(notifier)
        await deliver(notifier)

    again = run(comes_back, tmp_path, hook()).received
    assert first == again and len(again) == 1


def test_a_slow_channel_delays_no_other_and_has_two_under_way_at_most(tmp_path: Path) -> None:
    free = asyncio.Event()

    async def slow() -> Attempt:
        await free.wait()
        return OK

    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(*map(outbox_entry, range(1, 6))).call, nothing_new)
        for _ in range(5):
            notifier.start_due()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        counts = notifier.deliveries.counts()
        assert counts["default/quick"] == {"delivered": 5}
        assert counts["default/slow"] == {"waiting": 5}
        assert len(notifier._under_way["default/slow"]) == AT_ONCE
        free.set()
        for _ in range(3):
            await deliver(notifier)
        assert notifier.deliveries.counts()["default/slow"] == {"delivered": 5}

    run(work, tmp_path, hook("slow"), hook("quick"), slow=slow)


def test_the_queue_of_a_channel_is_bounded_and_what_is_beyond_it_is_not_lost_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_journal, "MOST_WAITING", 3)

    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(*map(outbox_entry, range(1, 6))).call, nothing_new)
        assert notifier.deliveries.counts() == {"default/hook": {"waiting": 3, "dead": 2}}
        dead = notifier.deliveries.latest("default/hook", limit=9, state="dead")
        assert {one.error for one in dead} == {"too many deliveries wait"}

    run(work, tmp_path, hook())


def test_a_dead_letter_is_delivered_after_all_under_its_id(tmp_path: Path) -> None:
    answers = [Attempt(delivered=False, error="refused", for_good=True), OK]

    async def one_after_the_other() -> Attempt:
        return answers.pop(0)

    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        await deliver(notifier)
        identity = delivery_id(notice().id, "default/hook")
        for tenant, name in (("other", identity), ("default", "msg_none")):
            with pytest.raises(NotFoundError):
                notifier.retry(tenant, name)
        assert notifier.retry("default", identity).state == "waiting"
        await notifier.settled()
        with pytest.raises(ConflictError, match="only dead letters"):
            notifier.retry("default", identity)
        assert notifier.deliveries.counts() == {"default/hook": {"delivered": 1}}

    received = run(work, tmp_path, hook(), hook=one_after_the_other).received
    assert received[0] == received[1]


def test_each_dead_letter_is_handed_out_for_evidence_once_and_again_when_it_dies_again(
    tmp_path: Path,
) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        kept = notifier.deliveries
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        assert kept.given_up(limit=9) == []
        await deliver(notifier)
        (first,) = kept.given_up(limit=9)
        world.pass_s(1)
        notifier.retry("default", first.id)
        await notifier.settled()
        kept.note_evidence([first])  # told of the first death after the second one
        (second,) = kept.given_up(limit=9)
        assert (second.id, second.changed_us) == (first.id, first.changed_us + 1_000_000)
        kept.note_evidence([second])
        assert kept.given_up(limit=9) == []

    run(work, tmp_path, hook(), hook=Attempt(delivered=False, error="refused", for_good=True))


def test_what_waits_for_a_channel_that_is_removed_becomes_a_dead_letter(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        notifier.adopt([])
        await deliver(notifier)
        (dead,) = notifier.deliveries.latest("default/hook", limit=9)
        assert (dead.state, dead.error) == ("dead", "the channel was removed")
        with pytest.raises(ConflictError, match="removed"):
            notifier.retry("default", dead.id)
        notifier.adopt([hook()])
        assert notifier.retry("default", dead.id).state == "waiting"

    run(work, tmp_path, hook())


def test_a_channel_that_was_removed_while_nobody_was_there_is_noticed(tmp_path: Path) -> None:
    async def takes(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)

    async def looks(notifier: Notifier, world: World) -> None:
        assert notifier.deliveries.counts() == {"default/hook": {"dead": 1}}

    run(takes, tmp_path, hook())
    run(looks, tmp_path)


def test_a_trial_is_sent_once_and_stands_in_no_log(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        assert await notifier.try_out("default", "hook") == FAILED
        assert notifier.deliveries.counts() == {}
        for tenant, name in (("other", "hook"), ("default", "none")):
            with pytest.raises(NotFoundError):
                await notifier.try_out(tenant, name)

    ((_, delivery),) = run(work, tmp_path, hook(), hook=FAILED).received
    assert delivery.startswith("msg_test_")


def test_an_attempt_that_breaks_in_an_unforeseen_way_is_one_that_failed(tmp_path: Path) -> None:
    async def broken() -> Attempt:
        raise RuntimeError("https://hooks.example/s3cret")

    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        await deliver(notifier)
        (found,) = notifier.deliveries.latest("default/hook", limit=9)
        assert (found.state, found.attempts, found.error) == ("waiting", 1, "RuntimeError")

    run(work, tmp_path, hook(), hook=broken)


def test_the_log_forgets_after_thirty_days_what_is_over_and_nothing_that_waits(tmp_path: Path) -> None:
    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(outbox_entry()).call, nothing_new)
        await deliver(notifier)
        notifier.deliveries.forget(now_us=world.now_us)
        assert notifier.deliveries.counts() == {
            "default/hook": {"delivered": 1},
            "default/slow": {"waiting": 1},
        }
        world.pass_s(31 * 86_400)
        notifier.deliveries.forget(now_us=world.now_us)
        assert notifier.deliveries.counts() == {"default/slow": {"waiting": 1}}
        (left,) = notifier.deliveries.latest("default/", limit=9)
        assert left.notice == notice()

    run(work, tmp_path, hook(), hook("slow"), slow=FAILED)


def test_dead_letters_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_journal, "MOST_DEAD", 2)

    async def work(notifier: Notifier, world: World) -> None:
        await notifier.take_from("host-000", Outbox(*map(outbox_entry, range(1, 6))).call, nothing_new)
        for _ in range(3):
            await deliver(notifier)
        notifier.deliveries.forget(now_us=world.now_us)
        world.pass_s(31 * 86_400)
        notifier.deliveries.forget(now_us=world.now_us)
        # Evidence does not know of them yet.
        assert notifier.deliveries.counts() == {"default/hook": {"dead": 5}}
        notifier.deliveries.note_evidence(notifier.deliveries.given_up(limit=9))
        notifier.deliveries.forget(now_us=world.now_us - 31 * 86_400_000_000)
        assert notifier.deliveries.counts() == {"default/hook": {"dead": 2}}

    run(work, tmp_path, hook(), hook=Attempt(delivered=False, error="refused", for_good=True))
