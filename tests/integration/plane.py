"""A real control plane on real Ray: what the integration tests hold in their hands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from controlplane.evidence_settings import evidence_place
from controlplane.lifecycle.ports import any_free
from controlplane.settings import Settings
from controlplane_sdk import ControlPlane

# The AuthZEN todo interop as policies of our own: asked for in process and over HTTP.
TODO = Path(__file__).parents[1] / "conformance" / "todo" / "todo.yaml"

CATALOG_AND_POLICY = """
kind: Catalog
tools:
  ledger.read: {system: ledger, effects: [read], data: [financial], boundary: internal, args: {account: {type: string}}}
  ledger.pay:
    system: ledger
    effects: [pay, write]
    boundary: external
    data: []
    args: {to: {type: string, role: destination}, amount: {type: decimal, role: quantity}}
systems:
  ledger: {jurisdiction: EU}
---
kind: Policy
name: spine
rules:
  - id: everyday
    on: {tool: [ledger.read, ledger.pay]}
    then: allow
  - id: too-much
    on: {tool: ledger.pay}
    when: args.amount > 1000.0
    then: deny
    because: more than a thousand
    controls: [sox/itgc]
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A control plane that is up."""

    settings: Settings
    url: str
    key: str

    def client(self, key: str | None = None, *, timeout_s: float = 10.0) -> ControlPlane:
        return ControlPlane(self.url, key or self.key, timeout_s=timeout_s)

    def http(self, key: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key or self.key}"},
            timeout=20,
            trust_env=False,
        )

    def table_rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the evidence table, read without the control plane."""
        from evidence.query import query

        rows: list[dict[str, Any]] = query(evidence_place(self.settings), sql, max_rows=5_000_000).to_pylist()
        return rows

    def wait_until_landed(self, *, timeout_s: float = 30.0) -> None:
        """Until no journal holds evidence that is not in the table."""

        def nothing_pending() -> bool:
            status = self.client().request("GET", "/v1/status")
            return bool(status["evidence"]["ready"]) and status["evidence"]["pending_rows"] == 0

        wait_until(nothing_pending, timeout_s=timeout_s, what="evidence to land")


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Poll until a condition holds. A failing test says what it waited for."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except Exception as error:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"waited {timeout_s} s for {what}") from error
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(0.05)


@contextmanager
def brought_up(data: Path, *, hosts: int = 2, options: Sequence[str] = ()) -> Iterator[Running]:
    """A control plane with the policies above, on a free port; whatever happens, it is brought down again.

    Args: options: further ones for `up`.
    """
    port = any_free("127.0.0.1")
    try:
        controlplane("up", "--port", str(port), "--hosts", str(hosts), *options, data=data)
        settings = Settings.open(data, port=port)
        plane = Running(settings, f"http://127.0.0.1:{port}", settings.operator_key.read_text().strip())
        sources = [
            {"name": "spine.yaml", "text": CATALOG_AND_POLICY},
            {"name": TODO.name, "text": TODO.read_text()},
        ]
        activated = plane.client(timeout_s=60).request(
            "POST", "/v1/bundles", {"sources": sources, "activate": True}
        )
        assert activated["lagging"] == []
        yield plane
    finally:
        down = controlplane("down", data=data, check=False)
        assert down.returncode == 0, down.stdout + down.stderr


def controlplane(*arguments: str, data: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line, as an operator would."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CONTROLPLANE_"))}
    return subprocess.run(
        [sys.executable, "-m", "controlplane", *arguments, "--data", str(data)],
        env=environment,
        check=check,
        capture_output=True,
        text=True,
        timeout=180,
    )


def decode(response: httpx.Response) -> dict[str, Any]:
    value = json.loads(response.content)
    assert isinstance(value, dict)
    return value
