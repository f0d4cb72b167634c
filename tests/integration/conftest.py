"""One control plane for the whole suite, brought up through the front door, and agents to ask it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.plane import Running, brought_up


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One control plane for the whole suite, with two hosts, an active bundle and nothing else."""
    with brought_up(tmp_path_factory.mktemp("data") / "cp", hosts=2) as plane:
        yield plane


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
