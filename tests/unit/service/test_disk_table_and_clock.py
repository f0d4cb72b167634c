"""The ground gives way: a full disk, a table that takes nothing, a clock that jumps. Nothing is allowed that is not
written down, and when the ground is back everything goes on without a gap."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from unit.service.in_process_plane import (
    CATALOG_AND_POLICY,
    Answer,
    InProcessPlane,
    in_process_plane,
    question,
)

from actors.journal import Journal, JournalError
from actors.placement import host_name, host_of

HOUR_S = 3_600
INDEX = host_of("default/agent/bot", 2)


class Disk:
    """A disk that runs full under chosen journals.

    Attributes:
        full: names of the journals that find no room.
        how: ``page``: no journal may grow (what is still free inside its file, it can use); ``commit``: nothing can
            be committed; ``after``: each commit says that it failed and did not, which is what a failed fsync may mean.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.full: set[str] = set()

    def connect(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        disk = self

        def on_disk(path: Any, *arguments: Any, **more: Any) -> sqlite3.Connection:
            name = Path(str(path)).stem

            class Connection(sqlite3.Connection):
                def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
                    if sql == "BEGIN IMMEDIATE" and disk.how == "page":
                        room = 1 if name in disk.full else 2**31
                        super().execute(f"PRAGMA max_page_count = {room}")
                    if sql == "COMMIT" and name in disk.full and disk.how != "page":
                        if disk.how == "after":
                            super().execute(sql)
                        raise sqlite3.OperationalError("database or disk is full")
                    return super().execute(sql, values)

            return connect(path, *arguments, factory=Connection, **more)

        return on_disk


@pytest.fixture
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(request.param)
    monkeypatch.setattr(sqlite3, "connect", disk.connect(sqlite3.connect))
    return disk


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as plane:
        prepare(plane)
        yield plane


def prepare(plane: InProcessPlane) -> None:
    plane.activate(CATALOG_AND_POLICY)
    plane.register("bot")
    plane.register(AGENT_ELSEWHERE)
    assert plane.ask().permits and plane.ask(AGENT_ELSEWHERE).permits


AGENT_ELSEWHERE = next(f"bot-{n}" for n in range(99) if host_of(f"default/agent/bot-{n}", 2) != INDEX)


def decisions(answers: list[Answer]) -> dict[str, bool]:
    """What the callers were told: whether it was permitted, by the decision's id."""
    return {
        answer.json["context"]["id"]: answer.permits
        for answer in answers
        if answer.status == 200 and answer.json["context"].get("id")
    }


def no_gap(plane: InProcessPlane) -> None:
    for log, found in plane.sequences().items():
        assert found == list(range(len(found))), log


# -- the disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", ["page", "commit", "after"], indirect=True)
def test_on_a_full_disk_nothing_is_allowed_that_is_not_written_down(
    disk: Disk, plane: InProcessPlane
) -> None:
    answers: list[Answer] = []
    disk.full.add(host_name(INDEX))
    # What is left inside the file may still be used up.
    for number in range(400):
        answers.append(plane.ask(idempotency_key=f"full-{number}"))
        if sum(answer.status == 503 for answer in answers) >= 20:
            break
    failed = [answer for answer in answers if answer.status != 200]
    assert len(failed) >= 20
    for answer in failed:
        assert (answer.status, answer.code in ("journal_unavailable", "journal_unconfirmed")) == (503, True)
        assert answer.headers["retry-after"] == "1"
        for inside in ("Traceback", "sqlite", ".py"):
            assert inside not in answer.body.decode()
    if disk.how != "page":
        assert len(failed) == len(answers)
    # Others are not disturbed.
    assert plane.ask(AGENT_ELSEWHERE).permits

    disk.full.clear()
    plane.wait_until(lambda: plane.is_ready(host_name(INDEX)), "the host to decide again")
    after = [plane.ask(idempotency_key=f"after-{number}") for number in range(5)]
    assert all(answer.permits for answer in after)
    no_gap(plane)
    rows = {row["event_id"]: row["decision"] == "allow" for row in plane.decision_rows()}
    told = decisions(answers + after)
    assert {identity: rows.get(identity) for identity in told} == told
    if disk.how != "after":
        # What failed left nothing behind: there is the allow of the beginning, and what was told.
        of_bot = [row for row in plane.decision_rows() if row["agent_id"] == "bot"]
        assert len(of_bot) == 1 + len(told)


@pytest.mark.parametrize("disk", ["commit", "after"], indirect=True)
def test_what_failed_on_a_full_disk_can_be_asked_again_under_its_key(
    disk: Disk, plane: InProcessPlane
) -> None:
    disk.full.add(host_name(INDEX))
    assert plane.ask(idempotency_key="k").status == 503
    disk.full.clear()
    plane.wait_until(lambda: plane.is_ready(host_name(INDEX)), "the host to decide again")
    again = plane.ask(idempotency_key="k")
    assert again.permits
    # It was written down all the same, and told to nobody: now it is told.
    assert again.json["context"].get("replayed", False) is (disk.how == "after")
    ids = [row["event_id"] for row in plane.decision_rows() if row["agent_id"] == "bot"]
    assert len(ids) == 2 and again.json["context"]["id"] in ids


@pytest.mark.parametrize("disk", ["commit"], indirect=True)
def test_an_opening_that_failed_on_a_full_disk_keeps_out_no_later_one(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "host-000.db"
    disk.full.add("host-000")
    with pytest.raises(JournalError, match="disk is full") as failed:
        Journal.open(path, new_log_id="log")
    disk.full.clear()
    # The error, which a log or a task may keep, still refers to all that was there.
    assert failed.value.__traceback__ is not None
    journal = Journal.open(path, new_log_id="log")
    assert journal.usable and journal.epoch == 1
    journal.close()


@pytest.mark.parametrize("disk", ["commit"], indirect=True)
def test_on_a_full_disk_sessions_outcomes_and_registrations_fail_and_leave_nothing(
    disk: Disk, plane: InProcessPlane
) -> None:
    allowed = plane.ask().json["context"]["id"]
    name = host_name(INDEX)
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/v1/sessions", {"agent": "bot"}),
        (f"/v1/decisions/{allowed}/outcome", {"status": "succeeded"}),
        ("/v1/agents", {"id": "bot", "labels": ["new"]}),
    ]
    for path, body in requests:
        disk.full.add(name)
        answer = plane.send("POST", path, body)
        assert (answer.status, answer.code) == (503, "journal_unavailable")
        disk.full.clear()
        plane.wait_until(lambda: plane.is_ready(name), "the host to decide again")
    shown = plane.send("GET", "/v1/agents/bot").json
    assert shown["agent"]["labels"] == []
    assert all(session["session"].startswith("ses_standing_") for session in shown["sessions"])
    assert plane.send("GET", f"/v1/decisions/{allowed}").json["outcome"] is None
    for path, body in requests:
        assert plane.send("POST", path, body).status in (200, 201)
    no_gap(plane)


@pytest.mark.parametrize("disk", ["commit"], indirect=True)
def test_on_a_full_disk_the_control_store_changes_nothing_and_whoever_leases_from_it_denies(
    disk: Disk, plane: InProcessPlane
) -> None:
    active = plane.send("GET", "/v1/bundles").json["active"]
    disk.full.add("control")
    tightened = CATALOG_AND_POLICY.replace("1000.0", "10.0")
    for method, path, body in (
        ("POST", "/v1/keys", {"role": "auditor"}),
        ("POST", "/v1/principals", {"id": "ann"}),
        ("POST", "/v1/agents", {"id": "another"}),
        ("POST", "/v1/bundles", {"sources": [{"name": "a", "text": tightened}], "activate": True}),
    ):
        answer = plane.send(method, path, body)
        assert answer.status == 503, answer
        assert answer.code in ("journal_unavailable", "journal_unconfirmed", "lease_expired")
    # Its journal cannot even be opened; what the others believe is at most a lease old.
    plane.clocks.pass_s(3)
    for agent in ("bot", AGENT_ELSEWHERE):
        assert plane.ask(agent).reason == "lease_expired"
    disk.full.clear()
    plane.wait_until(plane._store_ready, "the control store")
    plane.renew_leases()
    assert plane.send("GET", "/v1/bundles").json["active"] == active
    assert [key["role"] for key in plane.send("GET", "/v1/keys").json["keys"]] == ["operator"]
    assert plane.ask().permits
    assert plane.send("POST", "/v1/keys", {"role": "auditor"}).status == 201
    no_gap(plane)


# -- the table ----------------------------------------------------------------------------------------------------


def test_while_the_table_takes_nothing_journals_keep_everything_and_it_lands_once_it_can(
    plane: InProcessPlane,
) -> None:
    no_gap(plane)
    away = plane.evidence.with_name("away")
    plane.evidence.rename(away)
    plane.evidence.write_text("not a folder")
    told = decisions([plane.ask(agent) for agent in ("bot", AGENT_ELSEWHERE) for _ in range(20)])
    assert all(told.values())
    plane.wait_until(lambda: "table" in plane.writer._trouble, "the writer to notice")
    status: dict[str, Any] = plane.send("GET", "/v1/status").json["evidence"]
    assert "table" in status["trouble"] and status["pending_rows"] >= 40
    for shown in ("Traceback", "File "):
        assert shown not in str(status["trouble"])
    readiness = plane.send("GET", "/readyz", key=None)
    assert (readiness.status, readiness.json["evidence"]) == (200, "starting")
    # Not even a restart of an owner loses what waits, but it decides only once the table has spoken of its log.
    plane.do(lambda: plane.start_owner(host_name(INDEX), INDEX))
    waiting = plane.ask()
    assert waiting.status == 503 and waiting.code in ("journal_unavailable", "journal_unconfirmed")
    assert plane.ask(AGENT_ELSEWHERE).permits

    plane.evidence.unlink()
    away.rename(plane.evidence)
    plane.wait_until(lambda: plane.is_ready(host_name(INDEX)), "the host")
    assert plane.ask().permits
    rows = [row["event_id"] for row in plane.decision_rows()]
    assert set(told) <= set(rows) and len(set(rows)) == len(rows)
    no_gap(plane)
    assert plane.send("GET", "/v1/status").json["evidence"]["trouble"] == {}


def test_a_table_that_cannot_be_opened_at_the_start_lets_nobody_decide(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder must be")
    (tmp_path / "plane").mkdir()
    with in_process_plane(tmp_path / "plane", evidence=blocked / "evidence", ready=False) as plane:
        plane.wait_until(lambda: "table" in plane.writer._trouble, "the writer to notice")
        ready = plane.send("GET", "/readyz", key=None)
        assert (ready.status, ready.json["status"]) == (503, "starting")
        answer = plane.ask()
        assert (answer.status, answer.code) == (503, "lease_expired")
        for index in range(2):
            assert plane.host(index)._not_ready() in ("journal_unconfirmed", "journal_unavailable")
        blocked.unlink()
        plane.wait_until_ready()
        prepare(plane)
        no_gap(plane)


# -- the clock ----------------------------------------------------------------------------------------------------


def times_of(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["event_time"] for row in rows]


def id_time(identity: str) -> int:
    """Milliseconds and their fraction, as an id carries them."""
    value = UUID(identity).int >> 64
    return (value >> 16) << 12 | value & 0xFFF


def in_order(plane: InProcessPlane) -> None:
    """Whatever the clock did: in each log, neither times nor the times in ids ever go back, and nothing is missing."""
    no_gap(plane)
    for log in {row["log_id"] for row in plane.decision_rows()}:
        rows = [row for row in plane.decision_rows() if row["log_id"] == log]
        assert times_of(rows) == sorted(times_of(rows))
        ids = [id_time(row["event_id"]) for row in rows]
        assert ids == sorted(ids)


@pytest.mark.parametrize("jump_s", [6, -6, HOUR_S, -HOUR_S, 400 * 24 * HOUR_S, -400 * 24 * HOUR_S])
def test_while_a_clock_stands_wrong_everything_is_denied_and_afterwards_it_goes_on(
    plane: InProcessPlane, jump_s: float
) -> None:
    before = plane.ask(idempotency_key="k")
    assert before.permits
    session = plane.send("POST", "/v1/sessions", {"agent": "bot"}).json["session"]
    plane.clocks.jump_s(jump_s)
    for answer in (
        plane.ask(),
        plane.ask(idempotency_key="k"),  # not even what was allowed before
        plane.ask(session=session),
        plane.ask(AGENT_ELSEWHERE),
        plane.ask(dry_run=True),
    ):
        assert (answer.status, answer.json["decision"], answer.reason) == (200, False, "clock_uncertain")
    opened = plane.send("POST", "/v1/sessions", {"agent": "bot"})
    assert (opened.status, opened.code) == (503, "clock_uncertain")
    assert plane.send("GET", "/readyz", key=None).json["hosts"] == dict.fromkeys(
        ("host-000", "host-001"), "clock_uncertain"
    )
    plane.clocks.jump_s(-jump_s)
    again = plane.ask(idempotency_key="k")
    assert again.permits and again.json["context"]["id"] == before.json["context"]["id"]
    assert plane.ask(session=session).permits
    in_order(plane)
    # The leap left no trace: no time in evidence lies in the wrong hour.
    span = times_of(plane.decision_rows())
    assert (max(span) - min(span)).total_seconds() < 60


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_jumps_while_an_action_is_on_its_way_denies_it(
    plane: InProcessPlane, jump_s: float
) -> None:
    name = host_name(INDEX)
    plane.hold(name, "decide")
    asked = plane.actors.calls.count((name, "decide"))
    underway = plane.begin("POST", "/access/v1/evaluation", question())
    plane.wait_until(lambda: plane.actors.calls.count((name, "decide")) > asked, "the call to the owner")
    plane.clocks.jump_s(jump_s)
    plane.let_go(name, "decide")
    answer = underway.result(20)
    assert (answer.permits, answer.reason) == (False, "clock_uncertain")
    plane.clocks.jump_s(-jump_s)
    in_order(plane)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, -23 * HOUR_S])
def test_over_a_restart_a_clock_may_be_set_but_time_never_goes_back(
    plane: InProcessPlane, jump_s: float
) -> None:
    spent, open_still = plane.ask(idempotency_key="spent"), plane.ask(idempotency_key="denied", tool="x.y")
    assert spent.permits and not open_still.permits
    plane.clocks.pass_s(31)  # the allow has expired
    plane.renew_leases()
    assert plane.ask(idempotency_key="spent").reason == "idempotency_key_spent"
    plane.clocks.jump_s(jump_s)
    plane.restart_host(INDEX)
    # What had expired before the clock was set back stays so, and a deny stays a deny.
    assert plane.ask(idempotency_key="spent").reason == "idempotency_key_spent"
    assert plane.ask(idempotency_key="denied", tool="x.y").json["context"].get("replayed") is True
    after = plane.ask()
    assert after.permits
    # It holds for half a minute of the owner's time, which is the later of the journal's and the clock's.
    rows = {row["event_id"]: row for row in plane.decision_rows()}
    expires = datetime.fromisoformat(after.json["context"]["expires_at"])
    row = rows[after.json["context"]["id"]]
    assert (expires - row["event_time"]).total_seconds() == pytest.approx(30)
    in_order(plane)


def test_a_clock_that_was_set_back_by_days_over_a_restart_decides_nothing(plane: InProcessPlane) -> None:
    assert plane.ask().permits
    plane.clocks.jump_s(-48 * HOUR_S)
    plane.do(lambda: plane.start_owner(host_name(INDEX), INDEX))
    host = plane.host(INDEX)
    plane.wait_until(lambda: host._owner is not None and host._owner.active is not None, "the host's bundle")
    assert host._not_ready() == "clock_uncertain"
    assert plane.ask().reason == "clock_uncertain"
    plane.clocks.jump_s(48 * HOUR_S)
    plane.restart_host(INDEX)
    assert plane.ask().permits
    in_order(plane)


def test_a_key_that_has_expired_stays_so_when_the_clock_is_set_back(plane: InProcessPlane) -> None:
    _, key = plane.make_key(role="operator", expires_in_s=60)
    assert plane.send("GET", "/v1/keys", key=key).status == 200
    plane.clocks.pass_s(61)
    plane.renew_leases()
    assert plane.send("GET", "/v1/keys", key=key).code == "key_expired"
    plane.clocks.jump_s(-HOUR_S)
    assert plane.send("GET", "/v1/keys", key=key).code == "key_expired"
    assert plane.send("POST", "/v1/keys", {"role": "operator"}, key=key).code == "key_expired"
