"""What `up` decides before anything starts, and what it tells of what it finds. No Ray."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controlplane.errors import ConflictError
from controlplane.lifecycle import status as status_module
from controlplane.lifecycle import up as up_module
from controlplane.lifecycle.bounded_log import BOUND_BYTES, open_bounded, tail
from controlplane.lifecycle.ports import draw
from controlplane.lifecycle.processes import Identity
from controlplane.lifecycle.readiness import Answer, Readiness
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.lifecycle.status import Health, look
from controlplane.lifecycle.supervisor_lock import hold
from controlplane.lifecycle.up import Request, bring_up, run_in_foreground, settle
from controlplane.limits import Limits, LimitsError
from controlplane.settings import Settings
from controlplane.stopping import Stopping, StoppingError

GONE = Identity(pid=1, create_time=0.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.create_or_open(tmp_path / "cp")


def running(
    settings: Settings, *, supervisor: Identity | None = None, head: Identity | None = None
) -> RunState:
    state = RunState(
        instance=settings.instance,
        host="127.0.0.1",
        port=9999,
        url="http://127.0.0.1:9999",
        stage=Stage.READY,
        message="ready",
        supervisor=supervisor or Identity.of(os.getpid()),
        head=head,
        ports=draw(random.Random(1)),
        started_at="2026-01-01T00:00:00Z",
    )
    state.write(settings.run_state)
    return state


def test_a_state_is_read_as_it_was_written(settings: Settings) -> None:
    state = running(settings, head=GONE)
    assert RunState.read(settings.run_state) == state
    assert settings.run_state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": "unheard of"}'])
def test_a_state_that_cannot_be_read_is_none(settings: Settings, text: str) -> None:
    settings.run_state.write_text(text)
    assert RunState.read(settings.run_state) is None


def test_up_takes_the_default_port_and_loopback(settings: Settings) -> None:
    settled = settle(Request(data=settings.data))
    assert (settled.host, settled.port) == ("127.0.0.1", 8470)


def test_port_0_is_any_free_one(settings: Settings) -> None:
    assert settle(Request(data=settings.data, port=0)).port > 1023


def test_up_finds_what_runs_at_its_address(settings: Settings) -> None:
    state = running(settings)
    found = bring_up(Request(data=settings.data), progress=lambda state: None)
    assert found.already
    assert found.state == state
    assert found.settings.port == 9999


def test_up_never_starts_anything_beside_what_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_module, "_spawn", lambda settings: pytest.fail("started a second supervisor"))
    running(settings)
    bring_up(Request(data=settings.data), progress=lambda state: None)


def test_asking_for_another_address_than_what_runs_is_refused(settings: Settings) -> None:
    running(settings)
    with pytest.raises(ConflictError, match=r"already runs at http://127\.0\.0\.1:9999") as caught:
        settle(Request(data=settings.data, port=8470))
    assert caught.value.code == "runs_elsewhere"


def test_a_cluster_whose_supervisor_died_keeps_its_address(settings: Settings) -> None:
    running(settings, supervisor=GONE, head=Identity.of(os.getpid()))
    assert settle(Request(data=settings.data)).port == 9999


def test_the_address_of_what_ended_binds_nobody(settings: Settings) -> None:
    running(settings, supervisor=GONE, head=GONE)
    assert settle(Request(data=settings.data, port=8471)).port == 8471


def test_limits_are_remembered_each_by_itself_and_only_if_asked_for(settings: Settings) -> None:
    settle(Request(data=settings.data))
    assert not settings.limits.exists()
    settle(Request(data=settings.data, evidence_backlog=700))
    settle(Request(data=settings.data, key_rate=5))
    settle(Request(data=settings.data, agent_rate=0))
    settle(Request(data=settings.data, outcome_timeout_s=90))
    settle(Request(data=settings.data, evidence_lag_s=30))
    settle(Request(data=settings.data, disk_low_bytes=0))
    assert Limits.read(settings.limits) == Limits(
        key_per_s=5,
        agent_per_s=0,
        evidence_backlog=700,
        outcome_timeout_s=90,
        evidence_lag_s=30,
        disk_low_bytes=0,
    )


@pytest.mark.parametrize("backlog", [0, -1, 10**9 + 1])
def test_a_backlog_without_a_bound_is_refused(settings: Settings, backlog: int) -> None:
    with pytest.raises(LimitsError, match="from 1 to 1000000000"):
        settle(Request(data=settings.data, evidence_backlog=backlog))
    assert not settings.limits.exists()


def test_ways_of_stopping_are_remembered_each_by_itself_and_not_changed_while_it_runs(
    settings: Settings,
) -> None:
    settle(Request(data=settings.data))
    assert not settings.stopping.exists() and Stopping.read(settings.stopping) == Stopping()
    settle(Request(data=settings.data, second_operator=True))
    settle(Request(data=settings.data, stop_on_mismatch=False))
    chosen = Stopping(release_needs_second_operator=True, stop_on_mismatch=False)
    assert Stopping.read(settings.stopping) == chosen
    running(settings)
    settle(Request(data=settings.data, second_operator=True))
    with pytest.raises(ConflictError, match="controlplane down") as caught:
        settle(Request(data=settings.data, second_operator=False))
    assert caught.value.code == "runs_with_other_stopping"
    assert Stopping.read(settings.stopping) == chosen


@pytest.mark.parametrize("text", ["", "[]", '{"stop_on_mismatch": 1}', '{"stop_on": true}'])
def test_ways_of_stopping_that_cannot_be_read_are_told_by_file(settings: Settings, text: str) -> None:
    settings.stopping.write_text(text)
    with pytest.raises(StoppingError, match=str(settings.stopping)):
        settle(Request(data=settings.data))


@pytest.mark.parametrize("timeout_s", [-1, 20 * 3_600 + 1])
def test_outcomes_are_awaited_for_as_long_as_decisions_are_remembered_at_most(
    settings: Settings, timeout_s: int
) -> None:
    with pytest.raises(LimitsError, match="from 0"):
        settle(Request(data=settings.data, outcome_timeout_s=timeout_s))
    assert not settings.limits.exists()


def test_limits_of_what_runs_are_changed_by_nobody(settings: Settings) -> None:
    settle(Request(data=settings.data, evidence_backlog=700))
    running(settings)
    settle(Request(data=settings.data, evidence_backlog=700))
    with pytest.raises(ConflictError, match="a backlog of 700 rows of evidence") as caught:
        settle(Request(data=settings.data, evidence_backlog=800))
    assert caught.value.code == "runs_with_other_limits"
    assert Limits.read(settings.limits).evidence_backlog == 700


def test_only_one_holds_a_supervisors_lock(settings: Settings) -> None:
    with hold(settings.lock) as first, hold(settings.lock) as second:
        assert (first, second) == (True, False)
    with hold(settings.lock) as again:
        assert again


def test_foreground_beside_a_supervisor_is_refused(settings: Settings) -> None:
    with hold(settings.lock), pytest.raises(ConflictError, match="already supervised"):
        run_in_foreground(Request(data=settings.data))


def test_a_supervisor_that_ends_at_once_is_reported_with_its_last_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_module, "supervisor_environment", lambda settings, base: {"PATH": base["PATH"]})
    with pytest.raises(up_module.StartError, match=r"KeyError: 'CONTROLPLANE_SETTINGS'.*supervisor\.log"):
        bring_up(Request(data=settings.data, port=0), progress=lambda state: None)


def test_nothing_running_is_not_an_error_of_status(settings: Settings) -> None:
    assert look(settings, key=None).health is Health.NOT_RUNNING


def test_status_tells_why_the_last_start_failed(settings: Settings) -> None:
    replace(running(settings, supervisor=GONE), stage=Stage.FAILED, message="port 1 is taken").write(
        settings.run_state
    )
    assert look(settings, key=None).reason == "the last start failed: port 1 is taken"


@pytest.mark.parametrize(
    ("stage", "health"),
    [
        (Stage.PREPARING, Health.STARTING),
        (Stage.DOOR, Health.STARTING),
        (Stage.RESTARTING, Health.UNHEALTHY),
        (Stage.STOPPING, Health.UNHEALTHY),
        (Stage.READY, Health.UNHEALTHY),
    ],
)
def test_a_start_that_is_not_over_is_not_unhealthy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stage: Stage, health: Health
) -> None:
    monkeypatch.setattr(status_module, "ours", lambda settings: [psutil.Process()])
    silent = Answer(readiness=Readiness.SILENT, reason="no answer", body={})
    monkeypatch.setattr(status_module, "ask", lambda url: silent)
    replace(running(settings), stage=stage).write(settings.run_state)
    assert look(settings, key=None).health is health


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_supervisor_that_has_not_reported_yet_is_starting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, left_behind: bool
) -> None:
    if left_behind:
        running(settings, supervisor=GONE)
    monkeypatch.setattr(status_module, "ours", lambda settings: [psutil.Process()])
    command = ["/usr/bin/python3", "-m", "controlplane.lifecycle.supervisor"]
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: command)
    monkeypatch.setattr(psutil.Process, "name", lambda process: "python3")
    assert look(settings, key=None).health is Health.STARTING


def test_a_log_stops_growing(tmp_path: Path) -> None:
    path = tmp_path / "ray.log"
    path.write_bytes(b"x" * (BOUND_BYTES + 1))
    with open_bounded(path) as log:
        log.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "ray.log.1").stat().st_size == BOUND_BYTES + 1


def test_the_tail_of_a_log_leaves_out_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "ray.log"
    path.write_text("one\n\ntwo\n\n")
    assert tail(path, lines=1) == "two"
    assert tail(tmp_path / "none", lines=1) == ""
