"""A control plane of the demo's own: a free port, an empty data directory, and always shut down."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane_sdk import ControlPlane
from policies.packs import pack_policy

POLICIES = Path(__file__).parent / "policies"
BUNDLE = ("bundle.yaml", "catalog.yaml", "policy.yaml")
PACK = "agent-safety"
AGENTS = tuple(f"assistant-{number:02}" for number in range(1, 5))


class ControlPlaneFailed(Exception):
    """`controlplane up` or `down` did not succeed; carries what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running control plane.

    Args:
        evidence: the Delta table.
    """

    url: str
    operator_key: str
    evidence: Path


@contextmanager
def running_control_plane(data: Path) -> Iterator[Instance]:
    """Start a control plane on `data` and a free loopback port; shut it down whatever happens inside.

    What an earlier, killed demo left in `data` is shut down and removed first.

    Raises: ControlPlaneFailed: it did not start, or did not stop cleanly.
    """
    if (data / "instance.json").exists():
        _controlplane("down", "--data", str(data))
        shutil.rmtree(data)
    try:
        where = json.loads(_controlplane("up", "--data", str(data), "--port", "0", "--json"))
        yield Instance(
            url=where["url"],
            operator_key=Path(where["operator_key"]).read_text().strip(),
            evidence=Path(where["evidence"]),
        )
    finally:
        # A second Ctrl-C must not leave a half-stopped cluster behind.
        ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            _controlplane("down", "--data", str(data))
        finally:
            signal.signal(signal.SIGINT, ignored)


def prepare_fleet(operator: ControlPlane, *, tools: Sequence[str]) -> str:
    """Activate the bank's bundle, register the agents, and make the key of the gateway that enforces.

    Returns: the gateway's key, good for these agents only. It opens sessions and says what their users asked for (grant
        `workflows`), and its word on results is taken, as no agent can steer it (grant `witness`).
    Raises: ControlPlaneError: the control plane refused.
    """
    sources = [{"name": str(POLICIES / name), "text": (POLICIES / name).read_text()} for name in BUNDLE]
    sources.append({"name": f"pack:{PACK}", "text": pack_policy(PACK)})
    operator.request("POST", "/v1/bundles", {"sources": sources, "activate": True})
    for agent in AGENTS:
        # standing: false = no action outside a session that says what the customer asked for.
        record = {"id": agent, "owner": "retail-banking", "labels": ["banking"], "tools": list(tools)}
        operator.request("POST", "/v1/agents", {**record, "standing": False})
    key = {
        "role": "gateway",
        "agents": ["assistant-*"],
        "grants": ["workflows", "witness"],
        "note": "banking demo",
    }
    return str(operator.request("POST", "/v1/keys", key)["key"])


def _controlplane(*arguments: str) -> str:
    """Run our own command line; returns what it printed on stdout."""
    command = Path(sysconfig.get_path("scripts")) / "controlplane"
    # A session of its own: Ctrl-C in the terminal is for the demo, which then shuts down in order.
    done = subprocess.run(  # noqa: S603  our own command, fixed arguments
        [str(command), *arguments], capture_output=True, text=True, start_new_session=True, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise ControlPlaneFailed(f"`controlplane {arguments[0]}` failed with {done.returncode}:\n{said}")
    return done.stdout
