"""What moves with each decision is exactly what it was, wherever the process ends and whoever rests."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from actors import housekeeping, uses
from actors.agent_host import AgentHost
from actors.agent_journal import forget_what_is_over
from actors.deciding import decide
from actors.live_agent import DAY_US, IDLE_LIMIT_US, standing_name
from actors.messages import SessionRequest
from actors.owner import Owner
from actors.registration import describe_agent
from actors.sessions import add_task, end_session, open_session
from policies.origin.hashing import TokenHasher
from policies.origin.telling import told_by_task
from tests.unit.actors.owners import Bench

KEY = "default/agent/bot"
TOLD = tuple(told_by_task("go on", TokenHasher(bytes(32))))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host.db")
    bench.register("bot")
    return bench


def opened(bench: Bench, agent: str = "bot") -> str:
    request = SessionRequest(
        tenant="default",
        subject_type="agent",
        subject_id=agent,
        task_digest=None,
        new_workflow=True,
        key_id="k",
        principal=None,
    )
    name: str = open_session(bench.owner, request)["session"]
    return name


def used(bench: Bench, session: str, tool: str = "ledger.pay", **more: Any) -> None:
    bench.world.pass_s(1)
    bench.renew_lease()
    bench.decided(bench.request(tool=tool, session=session, **more))


def shown(owner: Owner, key: str = KEY) -> dict[str, Any]:
    """What management answers, and what the owner holds."""
    agent = owner.agent(key)
    return {
        "described": describe_agent(owner, key),
        "seen": {name: (one.first_us, one.last_us, one.count) for name, one in agent.seen.items()},
    }


def restarted(bench: Bench, copy: Path) -> Bench:
    """A process that was killed now, and started anew: another owner over the files as they are."""
    for end in ("", "-wal"):
        if (file := bench.path.with_name(bench.path.name + end)).exists():
            shutil.copy(file, copy.with_name(copy.name + end))
    again = Bench.__new__(Bench)
    for name in ("world", "directory", "awake_limit", "evidence_backlog", "ordinal", "bundle"):
        setattr(again, name, getattr(bench, name))
    again.path = copy
    again.reopen()
    return again


def rows(bench: Bench) -> tuple[Any, ...]:
    journal = bench.owner.journal
    return (
        journal.read("SELECT name, last_us, actions FROM sessions ORDER BY name"),
        journal.read("SELECT resource_id, last_us, count FROM seen ORDER BY resource_id"),
        journal.read("SELECT count(*) FROM uses")[0][0],
    )


def test_a_use_is_one_row_beside_the_decision_and_its_rows_follow(bench: Bench) -> None:
    session = opened(bench)
    used(bench, session)  # first seen: its row is written at once
    ((_, since_us, _),), ((_, first_us, count),), waiting = rows(bench)
    assert (count, waiting) == (1, 1)
    used(bench, session)
    used(bench, session)
    assert rows(bench) == ([(session, since_us, 0)], [("ledger.pay", first_us, 1)], 3)
    assert not bench.owner.uses.carry_out()
    now_us = bench.world.wall_us
    assert rows(bench) == ([(session, now_us, 3)], [("ledger.pay", now_us, 3)], 0)
    assert not bench.owner.uses.carry_out() and bench.owner.uses.waiting() == 0


def test_wherever_the_process_ends_the_next_one_knows_the_same(bench: Bench, tmp_path: Path) -> None:
    sessions = [opened(bench) for _ in range(3)]
    copies = iter(range(1000))

    def same() -> None:
        # First as it was killed: looking would bring rows up to date.
        again = restarted(bench, tmp_path / f"copy-{next(copies)}.db")
        twice = restarted(again, tmp_path / f"copy-{next(copies)}.db")
        truth = shown(again.owner)
        assert truth == shown(twice.owner)
        live = bench.owner.agent(KEY)
        seen = {name: (one.first_us, one.last_us, one.count) for name, one in live.seen.items()}
        assert truth["seen"] == seen
        assert {
            one["session"]: (one["last_us"], one["actions"]) for one in truth["described"]["sessions"]
        } == {one.name: (one.last_us, one.actions) for one in live.sessions.values()}

    for turn in range(4):
        for session in sessions[: turn + 1]:
            used(bench, session, ["ledger.pay", "ledger.read"][turn % 2])
            same()
        used(bench, sessions[0], "unknown.tool")  # denied: a use of the session, nothing that was seen
        same()
        bench.owner.uses.carry_out(limit=1)
        same()
        used(bench, sessions[1])  # while a round is half done
        same()
        add_task(
            bench.owner, sessions[2], task_digest=b"t" * 32, told=TOLD, basis=None, key_id="k"
        )  # a row that is newer than its use
        same()
    while bench.owner.uses.carry_out(limit=1):
        same()
    while bench.owner.uses.carry_out():
        pass
    same()
    assert rows(bench)[2] == 0


def test_a_use_that_is_carried_out_late_takes_nothing_back(bench: Bench) -> None:
    session = opened(bench)
    used(bench, session)
    used(bench, session)
    bench.world.pass_s(60)
    add_task(bench.owner, session, task_digest=b"t" * 32, told=TOLD, basis=None, key_id="k")
    now_us = bench.world.wall_us
    bench.owner.uses.carry_out()
    assert rows(bench)[0] == [(session, now_us, 2)]
    used(bench, session)
    end_session(bench.owner, session, key_id="k")
    bench.owner.uses.carry_out()
    (found,) = bench.owner.journal.read("SELECT actions, turns, ended_us FROM sessions")
    assert found == (3, 1, bench.world.wall_us)


def test_an_agent_that_rests_wakes_with_every_use(bench: Bench) -> None:
    session = opened(bench)
    for number in range(3):
        used(bench, session)
        if number == 1:
            bench.owner.uses.carry_out(limit=1)
    truth = (bench.owner.agent(KEY).seen, bench.owner.agent(KEY).sessions[session])
    bench.owner.settings = type(bench.owner.settings)(
        name="host-000", ordinal=0, session_key=b"s" * 32, awake_limit=0
    )
    bench.owner.rest_surplus()
    assert bench.owner.awake() == 0 and rows(bench)[2] > 0
    agent = bench.owner.agent(KEY)
    assert (agent.seen, bench.owner.find_session(agent, session)) == truth
    assert truth[1].actions == 3 and truth[1].last_us == bench.world.wall_us


def test_a_batch_that_fails_leaves_no_use(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(bench)
    used(bench, session)
    used(bench, session)
    truth = shown(bench.owner)
    waiting = bench.owner.journal.read("SELECT * FROM uses")
    bench.world.pass_s(5)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no more memory")

    request = tuple(bench.request(session=session))
    with monkeypatch.context() as patched:
        patched.setattr("actors.keeping.save_decisions", broken)
        with pytest.raises(RuntimeError, match="no more memory"):
            decide(bench.owner, bench.bundle.digest, [request])
    assert bench.owner.journal.read("SELECT * FROM uses") == waiting
    assert shown(bench.owner) == truth
    used(bench, session)
    assert bench.owner.agent(KEY).sessions[session].actions == 3


def test_a_round_that_fails_is_done_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(bench)
    used(bench, session)
    used(bench, session)

    def broken(*_: Any) -> None:
        raise RuntimeError("no more memory")

    with monkeypatch.context() as patched:
        patched.setattr(uses, "_update", broken)
        with pytest.raises(RuntimeError, match="no more memory"):
            bench.owner.uses.carry_out()
    assert rows(bench)[2] == 2
    used(bench, session)  # belongs to the next round
    bench.owner.uses.carry_out()
    assert (rows(bench)[0][0][2], rows(bench)[2]) == (2, 1)
    bench.owner.uses.carry_out()
    assert (rows(bench)[0][0][2], rows(bench)[2]) == (3, 0)


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("killed", [True, False])
def test_seven_idle_days_are_counted_from_the_last_use(
    bench: Bench, tmp_path: Path, carried_out: bool, killed: bool
) -> None:
    session = opened(bench)
    bench.world.pass_s(5 * DAY_US / 1e6)
    used(bench, session, "unknown.tool")  # a denial is a use, too
    if carried_out:
        bench.owner.uses.carry_out()
    bench.world.pass_s(5 * DAY_US / 1e6)
    if killed:
        bench = restarted(bench, tmp_path / "again.db")
    bench.renew_lease()
    assert bench.decided(bench.request(session=session))[0].effect == "allow"
    bench.world.pass_s(IDLE_LIMIT_US / 1e6 + 1)
    bench.renew_lease()
    assert bench.decided(bench.request(session=session))[0].reason_code == "session_expired"
    # A use that was refused is none.
    last_us = bench.world.wall_us - IDLE_LIMIT_US - 1_000_000
    bench.owner.let_rest(KEY)
    found = bench.owner.find_session(bench.owner.agent(KEY), session)
    assert found is not None and (found.last_us, found.actions) == (last_us, 1)


def test_what_was_used_is_not_forgotten_once_rows_are_up_to_date(bench: Bench) -> None:
    session, idle = opened(bench), opened(bench)
    bench.world.pass_s(6 * DAY_US / 1e6)
    used(bench, session)
    bench.world.pass_s(3 * DAY_US / 1e6)
    bench.owner.uses.carry_out()
    forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=100)
    assert [name for name, _, _ in rows(bench)[0]] == [session] and idle != session


def test_what_waits_is_bounded_and_carried_out_by_whoever_adds_to_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "MOST_WAITING", 12)
    monkeypatch.setattr(uses.Uses.carry_out, "__defaults__", (3,))
    sessions = [opened(bench) for _ in range(10)]
    for turn in range(60):
        used(bench, sessions[turn % 10], ["ledger.pay", "ledger.read"][turn % 2])
        # Two a decision; a round goes on beside what waits for the next.
        assert rows(bench)[2] <= 24 and bench.owner.uses.waiting() <= 24
    assert shown(bench.owner)["seen"]["call", "tool", "ledger.pay"][2] == 30


def test_a_host_carries_out_once_enough_waits_and_before_it_forgets(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "_DUE", 4)
    monkeypatch.setattr(uses.Uses.carry_out, "__defaults__", (1,))
    sessions = [opened(bench) for _ in range(3)]

    async def background() -> None:
        host = AgentHost("host-009", 9, str(tmp_path), str(tmp_path / "none.json"))
        for task in host._tasks:
            task.cancel()
        host._owner = bench.owner
        for number, session in enumerate(sessions):
            used(bench, session)
            await housekeeping.index(host._current)
            # The first saw the resource for the first time: one use instead of two.
            assert rows(bench)[2] == [1, 2, 0][number]
        used(bench, sessions[0])
        bench.world.pass_s(8 * DAY_US / 1e6)
        bench.renew_lease()
        await housekeeping.tidy(host._current)
        assert bench.owner.uses.waiting() == rows(bench)[2] == 0
        assert {name: actions for name, _, actions in rows(bench)[0]}[sessions[0]] == 2

    asyncio.run(background())


def test_an_agents_standing_session_gets_its_row_with_its_first_use(bench: Bench, tmp_path: Path) -> None:
    bench.register("loner", standing=True)
    key = "default/agent/loner"
    bench.decided(bench.request("loner", dry_run=True))  # leaves nothing, and the session in memory
    assert rows(bench)[0] == []
    bench.decided(bench.request("loner"), bench.request("loner"))
    name = standing_name(key)
    assert [(one, actions) for one, _, actions in rows(bench)[0]] == [(name, 2)]
    bench.decided(bench.request("loner"))
    assert [(one, actions) for one, _, actions in rows(bench)[0]] == [(name, 2)]
    again = restarted(bench, tmp_path / "again.db")
    found = again.owner.find_session(again.owner.agent(key), name)
    assert found is not None and found.actions == 3


def test_management_sees_the_last_used_sessions_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.register("other")
    monkeypatch.setattr("actors.registration._SESSIONS_SHOWN", 2)
    first, second, third = (opened(bench) for _ in range(3))
    used(bench, second)
    used(bench, first)
    described = describe_agent(bench.owner, KEY)["sessions"]
    assert [(one["session"], one["actions"]) for one in described] == [(first, 1), (second, 1)]
    used(bench, third)
    assert [one["session"] for one in describe_agent(bench.owner, KEY)["sessions"]] == [third, first]
