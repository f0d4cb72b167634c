"""Which processes are ours: shown on real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from controlplane.lifecycle.down import bring_down
from controlplane.lifecycle.environment import INSTANCE_VARIABLE
from controlplane.lifecycle.processes import Identity, end_all, has_ended, is_ours, ours, wait_ended
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.settings import Settings

WAITING = "print('ready', flush=True); import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITING}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.create_or_open(tmp_path / "cp")


@contextmanager
def child(tag: str | None, code: str = WAITING, title: str = "python") -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if name != INSTANCE_VARIABLE}
    if tag is not None:
        environment[INSTANCE_VARIABLE] = tag
    process = subprocess.Popen(
        [title, "-c", code],
        executable=sys.executable,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_process_with_our_tag_is_ours(settings: Settings) -> None:
    with child(settings.tag) as process:
        assert [found.pid for found in ours(settings)] == [process.pid]


def test_a_descendant_of_ours_is_ours_even_as_an_orphan(settings: Settings) -> None:
    code = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {WAITING!r}], stdout=subprocess.PIPE, start_new_session=True)\n"
        "p.stdout.readline(); print('ready', flush=True); p.wait()"
    )
    with child(settings.tag, code) as process:
        grandchild = psutil.Process(process.pid).children()[0]
        process.kill()
        process.wait()
        try:
            assert [found.pid for found in ours(settings)] == [grandchild.pid]
        finally:
            grandchild.kill()


@pytest.mark.parametrize("change", ["none", "other_instance", "same_instance_elsewhere", "prefix"])
def test_a_process_of_someone_else_is_not_ours(settings: Settings, change: str) -> None:
    instance, place = settings.tag.split(":")
    tag = {
        "none": None,
        "other_instance": f"00000000:{place}",
        "same_instance_elsewhere": f"{instance}:000000000000",
        "prefix": f"{settings.tag}0",
    }[change]
    with child(tag) as process:
        assert not is_ours(psutil.Process(process.pid), settings)
        assert ours(settings) == []


def test_we_ourselves_are_never_among_those_to_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.lifecycle.processes.is_ours", lambda process, settings: True)
    assert os.getpid() not in [process.pid for process in ours(settings)]


@pytest.fixture
def temp(settings: Settings) -> Iterator[Path]:
    settings.ray_temp.mkdir(mode=0o700, parents=True)
    yield settings.ray_temp
    shutil.rmtree(settings.private_temp, ignore_errors=True)


def test_an_agent_of_ray_that_lost_its_environment_is_known_by_title_and_open_file(
    settings: Settings, temp: Path
) -> None:
    writes = f"f = open({str(temp / 'agent.log')!r}, 'w'); {WAITING}"
    with child(None, writes, title="ray::DashboardAgent") as process:
        assert is_ours(psutil.Process(process.pid), settings)
        (temp / "agent.log").unlink()
        assert is_ours(psutil.Process(process.pid), settings)


def test_an_agent_of_another_cluster_is_not_ours(settings: Settings, temp: Path) -> None:
    with child(None, title="ray::DashboardAgent") as process:
        assert not is_ours(psutil.Process(process.pid), settings)


def test_reading_our_logs_does_not_make_a_process_ours(settings: Settings, temp: Path) -> None:
    (temp / "gcs.log").touch()
    with child(None, f"f = open({str(temp / 'gcs.log')!r}); {WAITING}") as process:
        assert not is_ours(psutil.Process(process.pid), settings)


def test_what_does_not_heed_sigterm_is_killed(settings: Settings) -> None:
    with child(settings.tag, STUBBORN) as stubborn, child(settings.tag) as mild, child(None) as stranger:
        ended = end_all(lambda: ours(settings), grace_s=0.3, reap=lambda: None)
        assert ended == 2
        assert (stubborn.wait(), mild.wait()) == (-signal.SIGKILL, -signal.SIGTERM)
        assert stranger.poll() is None


def test_an_identity_finds_its_process_and_no_later_one_of_the_same_number(settings: Settings) -> None:
    with child(None) as process:
        identity = Identity.of(process.pid)
        found = identity.process()
        assert found is not None
        assert found.pid == process.pid
        assert Identity(pid=process.pid, create_time=identity.create_time - 1).process() is None
    assert identity.process() is None


def test_a_zombie_has_ended(settings: Settings) -> None:
    with child(None) as process:
        found = psutil.Process(process.pid)
        process.kill()
        assert wait_ended([found], timeout_s=10) == []
        assert found.status() == psutil.STATUS_ZOMBIE
        assert has_ended(found)


def state_of(settings: Settings, supervisor: Identity) -> RunState:
    return RunState(
        instance=settings.instance,
        host=settings.host,
        port=settings.port,
        url=settings.url,
        stage=Stage.READY,
        message="",
        supervisor=supervisor,
        started_at="2026-01-01T00:00:00Z",
    )


def test_down_ends_what_is_left_without_a_supervisor(settings: Settings) -> None:
    settings.ray_temp.mkdir(mode=0o700, parents=True)
    with child(settings.tag) as process:
        assert bring_down(settings, progress=lambda text: None).processes == 1
        assert process.wait() == -signal.SIGTERM
    assert not settings.private_temp.exists()


def test_down_with_nothing_running_ends_nothing(settings: Settings) -> None:
    assert bring_down(settings, progress=lambda text: None).processes == 0


def test_down_signals_no_stranger_that_a_stale_state_names(settings: Settings) -> None:
    with child(None) as stranger:
        state_of(settings, Identity.of(stranger.pid)).write(settings.run_state)
        bring_down(settings, progress=lambda text: None)
        assert stranger.poll() is None
    assert not settings.run_state.exists()
