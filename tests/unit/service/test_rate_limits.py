"""Who may ask how often, and what is left behind of those who may not."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.api_keys import Caller
from actors.control import Control, open_control_journal
from actors.world import REAL
from controlplane.errors import OverloadedError
from controlplane.limits import Limits, LimitsError
from controlplane.service import application, refusals
from controlplane.service.rate_limits import (
    ALL_BODIES_BYTES,
    ALL_IN_FLIGHT,
    KEY_BODIES_BYTES,
    MOST_IN_FLIGHT,
    Clock,
    RateLimiter,
)
from controlplane.service.token_buckets import TokenBuckets

MINUTE_US = 60_000_000
START_US = 1_790_000_040_000_000 // MINUTE_US * MINUTE_US


@dataclass(slots=True)
class Now:
    """A clock that a test moves."""

    s: float = 0.0
    wall_shift_us: int = 0

    def clock(self) -> Clock:
        return Clock(
            monotonic_s=lambda: self.s, wall_us=lambda: START_US + self.wall_shift_us + int(self.s * 1e6)
        )


def caller(key_id: str = "k", rate_per_s: int | None = None) -> Caller:
    return Caller(
        key_id=key_id,
        tenant="default",
        role="gateway",
        agents=("*",),
        subjects=(),
        grants=frozenset(),
        rate_per_s=rate_per_s,
    )


def limiter(now: Now, **limits: int) -> RateLimiter:
    return RateLimiter(Limits(**limits), now.clock())


def ask(of: RateLimiter, who: Caller, times: int) -> int:
    """How many of some requests are let in."""
    admitted = 0
    for _ in range(times):
        try:
            of.enter(who)
        except OverloadedError:
            continue
        admitted += 1
        of.leave(who)
    return admitted


def test_a_key_gets_its_burst_at_once_and_then_its_rate() -> None:
    now = Now()
    of = limiter(now, key_per_s=10)
    assert ask(of, caller(), 100) == 20
    now.s += 1
    assert ask(of, caller(), 100) == 10
    now.s += 1000
    assert ask(of, caller(), 100) == 20


def test_keys_do_not_take_from_one_another() -> None:
    of = limiter(Now(), key_per_s=10)
    assert ask(of, caller("mad"), 1000) == 20
    assert ask(of, caller("calm"), 5) == 5


def test_a_key_may_have_a_rate_of_its_own_or_none() -> None:
    of = limiter(Now(), key_per_s=10)
    assert ask(of, caller("fast", 50), 1000) == 100
    assert ask(of, caller("free", 0), 1000) == 1000


def test_the_wait_that_is_told_is_enough_and_not_much_too_long() -> None:
    now = Now()
    of = limiter(now, key_per_s=2)
    ask(of, caller(), 100)
    of_batch = caller()
    with pytest.raises(OverloadedError) as refused:
        of.enter(of_batch)
    assert refused.value.code == "rate_limited"
    now.s += refused.value.fields["retry_after_s"]  # type: ignore[operator]
    assert ask(of, caller(), 1) == 1


def test_a_batch_passes_whole_and_the_next_ones_wait_for_its_debt() -> None:
    now = Now()
    of = limiter(now, key_per_s=10)
    of.enter(caller())
    of.charge(caller(), 99)
    of.leave(caller())
    now.s += 8
    assert ask(of, caller(), 1) == 0
    now.s += 0.2
    assert ask(of, caller(), 1) == 1


def test_an_agent_is_counted_whichever_key_asks_for_it() -> None:
    now = Now()
    of = limiter(now, agent_per_s=1)
    answers = [of.charge_agent(caller(f"k{n}"), "agent", "mad") for n in range(15)]
    assert [answer is None for answer in answers] == [True] * 10 + [False] * 5
    assert of.charge_agent(caller(), "agent", "calm") is None
    assert of.charge_agent(caller(), "user", "mad") is None
    now.s += 1
    assert of.charge_agent(caller(), "agent", "mad") is None


def test_subjects_whose_names_read_alike_do_not_take_from_one_another() -> None:
    one = limiter(Now(), agent_per_s=1, key_per_s=0)
    while one.charge_agent(caller(), "agent/x", "y") is None:
        pass
    assert one.charge_agent(caller(), "agent", "x/y") is None


def test_a_key_that_does_not_wait_for_answers_is_stopped() -> None:
    of = limiter(Now(), key_per_s=0)
    for _ in range(MOST_IN_FLIGHT):
        of.enter(caller("flood"))
    with pytest.raises(OverloadedError) as refused:
        of.enter(caller("flood"))
    assert refused.value.code == "too_many_in_flight"
    of.enter(caller("other"))
    of.leave(caller("flood"))
    of.enter(caller("flood"))


def test_requests_of_all_keys_together_are_fewer_than_a_replica_takes() -> None:
    of = limiter(Now(), key_per_s=0)
    keys = [f"k{n % 4}" for n in range(ALL_IN_FLIGHT)]
    for key in keys:
        of.enter(caller(key))
    with pytest.raises(OverloadedError) as refused:
        of.enter(caller("calm"))
    assert (refused.value.code, refused.value.fields["retry_after_s"]) == ("overloaded", 1)
    of.leave(caller("k0"))
    of.enter(caller("calm"))
    of.leave(caller("calm"))
    for key in keys[1:]:
        of.leave(caller(key))
    assert (of._in_flight, of._all_in_flight) == ({}, 0)
    assert ALL_IN_FLIGHT < 2_000  # `max_ongoing_requests`: the rest is for readiness and health


def test_a_summary_whose_minute_comes_twice_counts_both_times() -> None:
    now = Now()
    of = limiter(now, key_per_s=1)
    for _ in range(2):
        of.charge(caller("k"), 2)
        with pytest.raises(OverloadedError):
            of.charge(caller("k"), 1)
        kept = of.refusals.take(before_us=START_US + 2 * MINUTE_US)
        of.refusals.put_back(kept)
        now.s += 100  # time goes on, and the wall clock is set back
        now.wall_shift_us -= 100_000_000
    (summary,) = of.refusals.take(before_us=START_US + 2 * MINUTE_US)
    assert summary.count == 2


def test_one_body_of_a_key_may_be_as_large_as_its_door_takes() -> None:
    of = limiter(Now(), key_per_s=0)
    of.hold(caller("uploads"), 4 * KEY_BODIES_BYTES)
    with pytest.raises(OverloadedError):
        of.hold(caller("uploads"), 1)
    of.let_go(caller("uploads"), 4 * KEY_BODIES_BYTES)
    of.hold(caller("uploads"), 1)


def test_large_bodies_of_one_key_and_of_all_are_bounded_in_bytes() -> None:
    now = Now()
    of = limiter(now, key_per_s=0)
    large = KEY_BODIES_BYTES // 4
    for _ in range(4):
        of.hold(caller("flood"), large)
    with pytest.raises(OverloadedError, match="on their way would have") as refused:
        of.hold(caller("flood"), 1)
    assert (refused.value.code, refused.value.fields["retry_after_s"]) == ("too_many_in_flight", 1)
    others = ALL_BODIES_BYTES // KEY_BODIES_BYTES - 1
    for n in range(others):
        for _ in range(4):
            of.hold(caller(f"k{n}"), large)
    with pytest.raises(OverloadedError) as refused:
        of.hold(caller("calm"), 1)
    assert refused.value.code == "overloaded"
    of.let_go(caller("flood"), large)
    of.hold(caller("calm"), large)
    for _ in range(3):
        of.let_go(caller("flood"), large)
    of.let_go(caller("calm"), large)
    for n in range(others):
        for _ in range(4):
            of.let_go(caller(f"k{n}"), large)
    assert (of._held_bytes, of._all_held_bytes) == ({}, 0)
    now.s += 60
    (summary,) = of.refusals.take(before_us=START_US + MINUTE_US)
    assert (summary.key_id, summary.limits) == ("flood", {"in_flight"})


def test_what_was_refused_is_one_summary_a_key_and_minute() -> None:
    now = Now()
    of = limiter(now, key_per_s=1, agent_per_s=1)
    ask(of, caller("a"), 12)
    ask(of, caller("b"), 7)
    for n in range(40):
        of.charge_agent(caller("a"), "agent", f"agent-{n % 30}")
        for _ in range(10):
            of.charge_agent(caller("a"), "agent", f"agent-{n % 30}")
    assert of.refusals.take(before_us=START_US + MINUTE_US - 1) == []
    now.s += 60
    ask(of, caller("a"), 3)
    found = {one.key_id: one for one in of.refusals.take(before_us=START_US + MINUTE_US)}
    assert (found["b"].count, found["b"].limits, found["b"].agents) == (5, {"key"}, set())
    assert found["a"].limits == {"key", "agent"}
    assert len(found["a"].agents) == 20  # bounded, however many there were
    now.s += 60
    (second,) = of.refusals.take(before_us=START_US + 2 * MINUTE_US)
    assert (second.key_id, second.count, second.minute_us) == ("a", 1, START_US + MINUTE_US)
    assert of.refusals.take(before_us=START_US + 10 * MINUTE_US) == []


def test_a_summary_that_is_sent_twice_is_one_row(tmp_path: Path) -> None:
    now = Now()
    of = limiter(now, key_per_s=1)
    ask(of, caller(), 5)
    summaries = of.refusals.take(before_us=START_US + MINUTE_US)
    control = Control(open_control_journal(tmp_path / "c.db", new_log_id="control.x"), REAL)
    sent = [one.to_json() for one in summaries]
    assert control.record_refusals(summaries=sent) == 1
    of.refusals.put_back(summaries)
    again = [one.to_json() for one in of.refusals.take(before_us=START_US + MINUTE_US)]
    assert again == sent
    assert control.record_refusals(summaries=again) == 0
    (row,) = control.journal.pending(after_seq=-1, limit=10)
    assert b'"event_type":"rate_limited"' in row[1].replace(b" ", b"")
    assert b'\\"refused\\":3' in row[1].replace(b" ", b"")


def test_what_nobody_foresaw_neither_loses_a_summary_nor_ends_their_keeping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[BaseException | None] = [RuntimeError("unforeseen"), None, asyncio.CancelledError()]
    sent: list[int] = []

    async def answer(method: str, *, summaries: list[dict[str, Any]]) -> None:
        sent.append(sum(each["details"]["refused"] for each in summaries))
        now.s += 60
        one._note(caller(), "key")
        if (error := answers.pop(0)) is not None:
            raise error

    monkeypatch.setattr(application, "call_control", answer)
    monkeypatch.setattr(application, "_REFUSALS_S", 0)
    now = Now()
    one = limiter(now)
    one._note(caller(), "key", count=7)
    replica = object.__new__(application.Application)
    replica._limiter = one
    monkeypatch.setattr(time, "time_ns", lambda: (START_US + 3 * MINUTE_US) * 1000)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(replica._keep_record_of_refusals())
    assert sent == [7, 7 + 1, 1] and answers == []


def test_summaries_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_SUMMARIES_KEPT", 100)
    now = Now()
    of = limiter(now, key_per_s=1)
    for minute in range(1, 5):
        waiting = of.refusals.take(before_us=START_US + minute * MINUTE_US)
        for n in range(90):  # while the control store was asked
            ask(of, caller(f"k{minute}-{n}"), 3)
        of.refusals.put_back(waiting)
        now.s += 60
    assert len(of.refusals.take(before_us=START_US + 10 * MINUTE_US)) == 100


def test_the_names_that_are_remembered_are_bounded_and_the_emptiest_are_kept() -> None:
    buckets = TokenBuckets(burst_s=10, kept=100)
    for _ in range(1000):
        buckets.take("mad", 1, rate_per_s=1, now_s=0)
    for n in range(10_000):
        buckets.take(f"passing-{n}", 1, rate_per_s=1, now_s=0)
        assert len(buckets) <= 101
    assert buckets.take("mad", 1, rate_per_s=1, now_s=0) > 0


@given(
    rate=st.integers(1, 1000),
    burst_s=st.floats(0.1, 20),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_over_any_time_a_name_gets_no_more_than_its_rate_its_burst_and_one_batch(
    rate: int, burst_s: float, steps: list[tuple[float, int]]
) -> None:
    buckets = TokenBuckets(burst_s=burst_s)
    now_s, granted = 0.0, []
    for gap_s, tokens in steps:
        now_s += gap_s
        wait_s = buckets.take("n", tokens, rate_per_s=rate, now_s=now_s)
        if not wait_s:
            granted.append((now_s, tokens))
        else:
            # Coming back after the time that was told, and not before, finds a token.
            assert (
                TokenBuckets.take(_copy(buckets), "n", 1, rate_per_s=rate, now_s=now_s + wait_s + 1e-6) == 0
            )
            assert TokenBuckets.take(_copy(buckets), "n", 1, rate_per_s=rate, now_s=now_s + wait_s * 0.9) > 0
    burst = rate * max(burst_s, 1 / rate)
    for first in range(len(granted)):
        total = 0
        for at_s, tokens in granted[first:]:
            total += tokens
            assert total <= rate * (at_s - granted[first][0]) + burst + 50 + 1e-3


def _copy(of: TokenBuckets) -> TokenBuckets:
    copy = TokenBuckets(burst_s=of._burst_s)
    copy._full_at_s = dict(of._full_at_s)
    return copy


def test_limits_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    assert Limits.read(path) == Limits()
    Limits(key_per_s=5, agent_per_s=0).write(path)
    assert Limits.read(path) == Limits(key_per_s=5, agent_per_s=0)


@pytest.mark.parametrize("text", ["", "[]", '{"key_per_s": -1}', '{"key_per_s": 1.5}', '{"nobody": 1}'])
def test_limits_that_are_none_are_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.json"
    path.write_text(text)
    with pytest.raises(LimitsError, match=r"limits\.json"):
        Limits.read(path)
