"""What every process of an instance inherits, and how HAProxy is kept on loopback."""

from __future__ import annotations

import random
import socket
import subprocess
from pathlib import Path

import pytest

from controlplane.errors import UnavailableError
from controlplane.lifecycle import ports as ports_module
from controlplane.lifecycle import ray_head
from controlplane.lifecycle.environment import cluster_environment, supervisor_environment
from controlplane.lifecycle.loopback_haproxy import shim_text
from controlplane.lifecycle.loopback_replica import keep_on_loopback
from controlplane.lifecycle.ports import INGRESS_PORTS, Ports, draw, is_free
from controlplane.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, instance="0123abcd", hosts=2)


@pytest.fixture
def ports() -> Ports:
    return draw(random.Random(7))


def test_settings_of_another_cluster_do_not_leak_in(settings: Settings) -> None:
    base = {
        "PATH": "/bin",
        "RAY_ADDRESS": "10.0.0.1:6379",
        "RAY_SERVE_X": "1",
        "CONTROLPLANE_KEY": "cp_secret",
    }
    environment = supervisor_environment(settings, base)
    assert environment["PATH"] == "/bin"
    assert not {"RAY_ADDRESS", "RAY_SERVE_X", "CONTROLPLANE_KEY"} & set(environment)


def test_every_process_carries_our_tag_and_settings(settings: Settings, ports: Ports) -> None:
    for environment in (
        supervisor_environment(settings, {}),
        cluster_environment(settings, ports, {}, haproxy="/bin/false"),
    ):
        assert environment["CONTROLPLANE_INSTANCE"] == settings.tag
        assert Settings.from_environment(environment) == settings


def test_no_two_things_of_an_instance_share_a_port(ports: Ports) -> None:
    singles = [number for name, number in ports.to_dict().items() if not name.startswith("ingress_")]
    ranges = [*range(ports.ingress_http, ports.ingress_http + INGRESS_PORTS)]
    ranges += range(ports.ingress_grpc, ports.ingress_grpc + INGRESS_PORTS)
    assert len(set(singles + ranges)) == len(singles) + 2 * INGRESS_PORTS


def test_a_taken_port_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    first = draw(random.Random(7)).gcs
    monkeypatch.setattr(ports_module, "is_free", lambda port: port != first + 5)
    assert draw(random.Random(7)).gcs != first


def test_no_free_ports_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "is_free", lambda port: False)
    with pytest.raises(UnavailableError, match="free TCP ports"):
        draw(random.Random(7))


def test_a_listener_on_loopback_makes_its_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        assert not is_free(port, "127.0.0.1")


def test_the_head_takes_no_default_port_of_ray(settings: Settings, ports: Ports) -> None:
    words = ray_head.command(settings, ports)
    for option in ("port", "ray-client-server-port", "dashboard-agent-listen-port", "runtime-env-agent-port"):
        assert any(word.startswith((f"--{option}=2", f"--{option}=3")) for word in words)
    assert "--node-ip-address=127.0.0.1" in words
    assert f"--temp-dir={settings.ray_temp}" in words


CONFIG = """\
defaults
    stats timeout 30s
    timeout client 60s
frontend prometheus
    bind :{metrics}
frontend http_frontend
    bind *:8470
frontend other
    bind 0.0.0.0:8470
listen stats
  bind *:{stats}
  stats uri /stats
"""


def test_the_shim_narrows_statistics_and_metrics_and_becomes_haproxy(tmp_path: Path, ports: Ports) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(metrics=ports.haproxy_metrics, stats=ports.haproxy_stats))
    shim = tmp_path / "shim"
    shim.write_text(shim_text(ports, binary="/bin/echo"))
    words = ["-db", "-f", str(config), "-sf", "1", "2"]
    done = subprocess.run(["/bin/sh", str(shim), *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == words
    bound = [line.split()[1] for line in config.read_text().splitlines() if line.strip().startswith("bind")]
    # What the operator chose for the door itself stays.
    assert bound == [
        f"127.0.0.1:{ports.haproxy_metrics}",
        "*:8470",
        "0.0.0.0:8470",
        f"127.0.0.1:{ports.haproxy_stats}",
    ]
    subprocess.run(
        ["/bin/sh", str(shim), *words], capture_output=True, check=True
    )  # a reload writes nothing twice
    timeouts = [line.strip() for line in config.read_text().splitlines() if "timeout" in line]
    assert timeouts == [
        "stats timeout 30s",
        "timeout client 60s",
        "timeout http-request 10s",
        "timeout http-keep-alive 60s",
    ]


def test_a_replicas_inner_servers_bind_loopback_when_the_door_does(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = pytest.importorskip("ray.serve._private.replica")
    default_impl = pytest.importorskip("ray.serve._private.default_impl")
    bound: list[str] = []

    def bind(server: object, address: str) -> None:
        bound.append(address)

    monkeypatch.setattr(replica, "add_port_to_grpc_server", bind)
    monkeypatch.setattr(default_impl, "add_grpc_address", bind)
    keep_on_loopback("0.0.0.0")
    replica.add_port_to_grpc_server(None, "[::]:0")
    keep_on_loopback("127.0.0.1")
    keep_on_loopback("127.0.0.1")
    replica.add_port_to_grpc_server(None, "[::]:0")
    default_impl.add_grpc_address(None, "[::]:40000")
    default_impl.add_grpc_address(None, "10.0.0.1:1")
    assert bound == ["[::]:0", "127.0.0.1:0", "127.0.0.1:40000", "10.0.0.1:1"]
