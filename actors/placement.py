"""Which owner an agent lives with: a stable hash over a number of hosts that never changes."""

from __future__ import annotations

import hashlib

NAMESPACE = "controlplane"
CONTROL_STORE = "control-store"
EVIDENCE_WRITER = "evidence-writer"
CONTROL_LOG = "control"

# Ordinals 0 … 4095 belong to hosts and the control store's log; dedicated agents are numbered from here on.
CONTROL_ORDINAL = 4095
FIRST_DEDICATED_ORDINAL = 4096


def host_name(index: int) -> str:
    """The Ray actor's and the journal's name of one host, e.g. ``host-003``."""
    return f"host-{index:03d}"


def host_of(agent_key: str, hosts: int) -> int:
    """The host that owns this agent.

    Stable across processes, machines and versions of Python (`hash()` is none of these): SHA-256, first 8 bytes.
    """
    return int.from_bytes(hashlib.sha256(agent_key.encode()).digest()[:8], "big") % hosts


def dedicated_name(agent_key: str) -> str:
    """The Ray actor's and the journal's name of an agent registered with `isolation: dedicated`."""
    return "agent-" + hashlib.sha256(agent_key.encode()).hexdigest()[:16]
