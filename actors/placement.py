"""Which owner an agent lives with, and which node an owner's journal lies on: neither ever changes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

Node = TypeVar("Node")

NAMESPACE = "controlplane"
CONTROL_STORE = "control-store"
EVIDENCE_WRITER = "evidence-writer"
NOTIFIER = "notifier"
CONTROL_LOG = "control"
DEDICATED_PREFIX = "agent-"

# Ordinals 0 … 4095 belong to hosts and the control store's log; dedicated agents are numbered from here on.
CONTROL_ORDINAL = 4095
FIRST_DEDICATED_ORDINAL = 4096

_REMEMBERED = 1 << 16


def host_name(index: int) -> str:
    """The Ray actor's and the journal's name of one host, e.g. ``host-003``."""
    return f"host-{index:03d}"


@lru_cache(maxsize=_REMEMBERED)
def host_of(agent_key: str, hosts: int) -> int:
    """The host that owns this agent.

    Stable across processes, machines and versions of Python (`hash()` is none of these): SHA-256, first 8 bytes.
    """
    return int.from_bytes(hashlib.sha256(agent_key.encode()).digest()[:8], "big") % hosts


def dedicated_name(agent_key: str) -> str:
    """The Ray actor's and the journal's name of an agent registered with `isolation: dedicated`."""
    return DEDICATED_PREFIX + hashlib.sha256(agent_key.encode()).hexdigest()[:16]


def journals_resource(node: str) -> str:
    """The Ray resource by which a node says that its disk holds the journals of `node`, e.g. ``journals-head``.

    The operator gives it when Ray starts on the machine, so it survives a restart, which a Ray node id does not.
    """
    return f"journals-{node}"


def node_of(ordinal: int, nodes: Sequence[Node]) -> Node:
    """The node whose disk holds the journal of the owner with this ordinal: round robin over a list that is fixed when
    the data directory is created."""
    return nodes[ordinal % len(nodes)]
