"""A control plane of the benchmark's own: empty data, loopback, always shut down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bundles import sources
from controlplane.lifecycle import processes
from controlplane.settings import Settings
from controlplane_sdk import ControlPlane

HOSTS = max(1, (os.cpu_count() or 2) // 2)
"""One for two cores: an owner has one thread, and larger batches cost less a decision than more owners gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A running control plane.

    Attributes:
        key: of a gateway that speaks for the agents.
    """

    settings: Settings
    url: str
    operator: ControlPlane
    operator_key: str
    key: str

    @property
    def port(self) -> int:
        return self.settings.port

    def processes(self) -> dict[int, str]:
        """Process ids of the instance and what each does."""
        found = {}
        for process in processes.ours(self.settings):
            try:
                found[process.pid] = _role(process)
            except psutil.Error:
                continue
        return found

    def deploy_noop(self, answer: bytes) -> None:
        """Bring up the yardsticks (`benchmarks.noop`) beside the service; returns when they answer.

        In a process of its own: Ray reads its environment when it is imported.
        """
        state = json.loads(self.settings.run_state.read_text())
        environment = _environment() | {
            "RAY_ADDRESS": f"127.0.0.1:{state['ports']['gcs']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.settings.ray_token),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.noop"], env=environment, input=answer, capture_output=True
        )
        if done.returncode != 0:
            sys.exit(f"the no-op could not be deployed:\n{done.stderr.decode()}")


@contextmanager
def running(*, rules: int, agents: Sequence[str], hosts: int = HOSTS) -> Iterator[Plane]:
    """Start a control plane with a bundle of `rules` rules and these agents; shut it down whatever happens inside.

    Raises: SystemExit: it does not start; what it said is printed.
    """
    # What is measured is what can be done, so this key may ask for as much as it likes.
    gateway = {"role": "gateway", "agents": ["bench-*"], "grants": ["workflows"], "rate_per_s": 0}
    with governed_by(sources(rules), gateway=gateway, hosts=hosts) as plane:
        for agent in agents:
            plane.operator.request("POST", "/v1/agents", {"id": agent, "owner": "benchmark"})
        yield plane


@contextmanager
def governed_by(
    texts: Sequence[tuple[str, str]], *, gateway: Mapping[str, Any], hosts: int = HOSTS
) -> Iterator[Plane]:
    """Start a control plane with a bundle of these (name, text) pairs; shut it down whatever happens inside.

    Args:
        gateway: what `Plane.key` may do, as `POST /v1/keys` takes it.
    Raises: SystemExit: it does not start; what it said is printed.
    """
    data = Path(tempfile.mkdtemp(prefix="controlplane-bench-")) / "cp"
    try:
        where = json.loads(_controlplane("up", data, "--port", "0", "--hosts", str(hosts), "--json"))
        settings = Settings.open(data, port=int(where["url"].rsplit(":", 1)[1]))
        operator_key = Path(where["operator_key"]).read_text().strip()
        operator = ControlPlane(where["url"], operator_key, timeout_s=60)
        bundle = [{"name": name, "text": text} for name, text in texts]
        operator.request("POST", "/v1/bundles", {"sources": bundle, "activate": True})
        key = operator.request("POST", "/v1/keys", dict(gateway))["key"]
        yield Plane(
            settings=settings, url=where["url"], operator=operator, operator_key=operator_key, key=key
        )
    finally:
        if (data / "instance.json").exists():
            _controlplane("down", data)
        shutil.rmtree(data.parent, ignore_errors=True)


def _controlplane(command: str, data: Path, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "controlplane", command, "--data", str(data), *more],
        env=_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"`controlplane {command}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CONTROLPLANE_"))}


def _role(process: psutil.Process) -> str:
    title = " ".join(process.cmdline())
    for word, role in (
        ("ServeReplica:controlplane", "replica"),
        ("ServeReplica:noop", "no-op replica"),
        ("AgentHost", "agent hosts"),
        ("EvidenceWriter", "evidence writer"),
        ("ControlStore", "control store"),
        ("ServeController", "serve controller"),
        ("haproxy", "haproxy"),
        ("DashboardAgent", "ray metrics agent"),
        ("lifecycle.supervisor", "supervisor"),
    ):
        if word in title:
            return role
    return "rest of ray"
