"""Starting the actors: named, detached, restarted by Ray for as long as the cluster lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import ray

from actors.agent_host import AgentHost
from actors.control_store import ControlStore
from actors.evidence_writer import EvidenceWriter
from actors.placement import CONTROL_STORE, EVIDENCE_WRITER, NAMESPACE, host_name
from actors.world import monotonic_s
from controlplane.errors import UnavailableError

_DETACHED: dict[str, Any] = {
    "namespace": NAMESPACE,
    "lifetime": "detached",
    "get_if_exists": True,
    "max_restarts": -1,
    # A call that failed may have run: whoever made it denies, and never runs it a second time.
    "max_task_retries": 0,
    "num_cpus": 0,
    "max_concurrency": 1000,
}


_DEDICATED_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Makes the fleet's actors; asking twice gives the same ones.

    Attributes:
        journals: folder of the journals.
        evidence: folder of the evidence table.
        hosts: how many hosts there are.
        channels: folder, on each node, for the sockets by which owners answer replicas of the same node.
        secrets_file: where owners read the session key; the key itself never travels through Ray.
    """

    journals: str
    evidence: str
    hosts: int
    secrets_file: str
    channels: str = ""

    def start_control_store(self) -> Any:
        return (
            ray.remote(ControlStore)
            .options(name=CONTROL_STORE, **_DETACHED)
            .remote(self.journals, self.hosts)
        )

    def start_evidence_writer(self) -> Any:
        return (
            ray.remote(EvidenceWriter)
            .options(name=EVIDENCE_WRITER, **_DETACHED)
            .remote(self.evidence, self.hosts)
        )

    def start_hosts(self) -> list[Any]:
        return [self._start_owner(host_name(index), index) for index in range(self.hosts)]

    async def start_dedicated(self, name: str, ordinal: int) -> None:
        """Start the owner of one dedicated agent and wait until it decides.

        Raises: UnavailableError: it does not in 30 s; it goes on starting.
        """
        handle = self._start_owner(name, ordinal)
        deadline_s = monotonic_s() + _DEDICATED_TIMEOUT_S
        while not (status := await asyncio.wait_for(handle.status.remote(), _DEDICATED_TIMEOUT_S))["ready"]:
            if monotonic_s() > deadline_s:
                raise UnavailableError(
                    f"`{name}` is not ready in {_DEDICATED_TIMEOUT_S:g} s: {status['reason']}",
                    code="owner_starting",
                )
            await asyncio.sleep(0.05)

    def start_dedicated_again(self, name: str, ordinal: int) -> Any:
        """Start the owner of a dedicated agent that is already in the index, at start-up."""
        return self._start_owner(name, ordinal)

    def _start_owner(self, name: str, ordinal: int) -> Any:
        return (
            ray.remote(AgentHost)
            .options(name=name, **_DETACHED)
            .remote(name, ordinal, self.journals, self.secrets_file, self.channels)
        )
