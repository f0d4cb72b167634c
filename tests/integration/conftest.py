"""One control plane for the whole suite, brought up through the front door, and agents to ask it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.plane import CATALOG_AND_POLICY, TODO, Running, controlplane

from controlplane.lifecycle.ports import any_free
from controlplane.settings import Settings


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One control plane for the whole suite, with two hosts, an active bundle and nothing else."""
    data = tmp_path_factory.mktemp("data") / "cp"
    port = any_free("127.0.0.1")
    try:
        controlplane("up", "--port", str(port), "--hosts", "2", data=data)
        settings = Settings.open(data, port=port)
        plane = Running(settings, f"http://127.0.0.1:{port}", settings.operator_key.read_text().strip())
        activated = plane.client().request(
            "POST",
            "/v1/bundles",
            {
                "sources": [
                    {"name": "spine.yaml", "text": CATALOG_AND_POLICY},
                    {"name": TODO.name, "text": TODO.read_text()},
                ],
                "activate": True,
            },
        )
        assert activated["lagging"] == []
        yield plane
    finally:
        down = controlplane("down", data=data, check=False)
        assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture
def bot(running: Running, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A fresh agent, and a key of its own: (agent id, key)."""
    agent = (
        "bot-"
        + request.node.name.replace("[", "-").replace("]", "")[:80]
        + f"-{time.monotonic_ns() % 100_000}"
    )
    client = running.client()
    client.request("POST", "/v1/agents", {"id": agent, "owner": "tests", "tools": ["ledger.read"]})
    made = client.request("POST", "/v1/keys", {"role": "agent", "agents": [agent]})
    return agent, made["key"]
