"""The supervisor's side of a Ray cluster that somebody else runs: nothing of Ray is started or ended."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from controlplane.cli import nodes as nodes_command
from controlplane.errors import ConflictError, UnavailableError
from controlplane.lifecycle import attached as attached_module
from controlplane.lifecycle import up as up_module
from controlplane.lifecycle.attached import AttachedCluster
from controlplane.lifecycle.cluster import StartError, StoppedError
from controlplane.lifecycle.environment import attached_environment, node_environment
from controlplane.lifecycle.run_state import Stage
from controlplane.lifecycle.up import Request, attach_in_foreground, bring_up, run_in_foreground
from controlplane.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.create_or_open(tmp_path / "cp", nodes=["a", "b"])


def cluster(settings: Settings, address: str, said: list[str] | None = None) -> AttachedCluster:
    def report(stage: Stage, message: str) -> None:
        if said is not None:
            said.append(f"{stage}: {message}")

    return AttachedCluster(settings=settings, stop=threading.Event(), report=report, ray_address=address)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_up_refuses_a_directory_for_several_nodes_and_says_what_to_do(settings: Settings) -> None:
    request = Request(data=settings.data)
    for start in (lambda: bring_up(request, progress=lambda _: None), lambda: run_in_foreground(request)):
        with pytest.raises(ConflictError, match="controlplane attach --data") as refused:
            start()
        assert refused.value.code == "several_nodes"
    assert not settings.run_state.exists()


def test_attach_becomes_the_supervisor_in_our_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setenv("RAY_ADDRESS", "somebody-elses:1")
    monkeypatch.setattr(up_module.os, "execve", lambda path, words, environ: became.append((words, environ)))
    attach_in_foreground(Request(data=settings.data, port=9000), "10.0.0.1:6379")
    ((words, environ),) = became
    assert words == [
        sys.executable,
        "-m",
        "controlplane.lifecycle.supervisor",
        "--foreground",
        "--attach",
        "10.0.0.1:6379",
    ]
    assert environ["CONTROLPLANE_INSTANCE"] == settings.tag
    assert Settings.from_environment(environ).port == 9000
    assert "RAY_ADDRESS" not in environ


def test_the_starter_gets_the_nodes_environment_and_the_clusters_address(settings: Settings) -> None:
    environment = attached_environment(settings, "10.0.0.1:6379", {"RAY_SERVE_X": "1"})
    needed = node_environment(
        token=str(settings.ray_token), sockets=str(settings.private_temp), state=str(settings.run / "haproxy")
    )
    assert needed.items() <= environment.items()
    assert environment["RAY_ADDRESS"] == "10.0.0.1:6379"
    # Ray would take a loopback address for the machine's; a real cluster's address stays what it is.
    switch = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    assert switch not in environment
    assert attached_environment(settings, "127.0.0.1:6379", {})[switch] == "0"


def test_it_lives_as_long_as_rays_control_service_takes_connections(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        host, port = gcs.getsockname()
        attached = cluster(settings, f"{host}:{port}")
        assert attached.lives
        assert attached.adopt(None)
    assert not attached.lives
    assert f"{host}:{port} takes no connections" in attached.death


def test_without_ray_it_gives_up_and_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached_module, "HEAD_TIMEOUT_S", 0.0)
    said: list[str] = []
    with pytest.raises(StartError, match="ray up"):
        cluster(settings, free_address(), said).start()
    assert said[0].startswith("ray: waiting for Ray at 127.0.0.1:")


def test_it_stops_waiting_when_told_to(settings: Settings) -> None:
    attached = cluster(settings, free_address())
    attached.stop.set()
    with pytest.raises(StoppedError):
        attached.start()


def test_ending_it_without_ray_starts_nothing(settings: Settings) -> None:
    assert cluster(settings, free_address()).end() == 0
    assert not (settings.logs / "starter.log").exists()


def test_the_address_is_the_one_that_ray_start_left_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_command, "_CURRENT_CLUSTER", tmp_path / "ray_current_cluster")
    with pytest.raises(UnavailableError, match="belongs to no Ray cluster"):
        nodes_command._address_of_this_machines_cluster()
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert nodes_command._address_of_this_machines_cluster() == "10.0.0.1:6379"
