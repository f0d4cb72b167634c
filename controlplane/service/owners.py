"""Starting the actors: named, detached, restarted by Ray for as long as the cluster lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import ray

from actors.agent_host import AgentHost
from actors.bounds import DISK_LOW_BYTES, EVIDENCE_BACKLOG, EVIDENCE_LAG_S, OUTCOME_TIMEOUT_S
from actors.control_store import ControlStore
from actors.evidence_writer import EvidenceWriter
from actors.journal_folder import Place
from actors.notifier_actor import NotifierActor
from actors.placement import (
    CONTROL_STORE,
    EVIDENCE_WRITER,
    NAMESPACE,
    NOTIFIER,
    host_name,
    journals_resource,
    node_of,
)
from actors.world import monotonic_s
from controlplane.errors import UnavailableError
from controlplane.service.actor_calls import NODE_LOST
from controlplane.service.nodes import present_nodes
from controlplane.stopping import Stopping
from evidence.signing_keys import KeyFiles

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
# The least that Ray counts: what matters is where, not how much. A node that gives 1 carries ten thousand owners.
_PRESENCE = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Makes the fleet's actors; asking twice gives the same ones.

    Attributes:
        journals: folder of the journals.
        evidence: where the evidence table lies, a folder or `s3://bucket/prefix`.
        evidence_keys: where the writer reads the key that it signs with; the key itself never travels through Ray.
        checkpoint_files: where each landing's checkpoints go as a file, in the same forms.
        store_access: file in which the writer finds how to reach an object store; the credentials never travel through
            Ray.
        hosts: how many hosts there are.
        places: every node that keeps journals, and the mark of its folder; the head's first.
        channels: folder, on each node, for the sockets by which owners answer replicas of the same node.
        evidence_backlog, outcome_timeout_s, evidence_lag_s, disk_low_bytes: see `Limits`.
        stopping: how stops are released, and what stops an agent.
        secrets_file: where owners read the session key; the key itself never travels through Ray.
    """

    journals: str
    evidence: str
    hosts: int
    secrets_file: str
    evidence_keys: KeyFiles
    checkpoint_files: str
    places: tuple[Place, ...]
    channels: str = ""
    store_access: str = ""
    evidence_backlog: int = EVIDENCE_BACKLOG
    outcome_timeout_s: int = OUTCOME_TIMEOUT_S
    evidence_lag_s: int = EVIDENCE_LAG_S
    disk_low_bytes: int = DISK_LOW_BYTES
    stopping: Stopping = field(default_factory=Stopping)

    def start_control_store(self) -> Any:
        return (
            ray.remote(ControlStore)
            .options(name=CONTROL_STORE, **_pinned(self.places[0]))
            .remote(
                self.journals,
                self.hosts,
                tuple(self.places[0]),
                second_operator=self.stopping.release_needs_second_operator,
                evidence_backlog=self.evidence_backlog,
            )
        )

    def start_evidence_writer(self) -> Any:
        return (
            ray.remote(EvidenceWriter)
            .options(name=EVIDENCE_WRITER, **_pinned(self.places[0]))
            .remote(
                self.evidence,
                self.hosts,
                self.evidence_keys,
                self.checkpoint_files,
                lag_s=self.evidence_lag_s,
                disk_low_bytes=self.disk_low_bytes,
                store_access=self.store_access,
            )
        )

    def start_notifier(self) -> Any:
        return (
            ray.remote(NotifierActor)
            .options(name=NOTIFIER, **_pinned(self.places[0]))
            .remote(self.journals, self.hosts, tuple(self.places[0]))
        )

    def start_hosts(self) -> list[Any]:
        return [self._start_owner(host_name(index), index) for index in range(self.hosts)]

    async def start_dedicated(self, name: str, ordinal: int) -> None:
        """Start the owner of one dedicated agent and wait until it decides.

        Raises: UnavailableError: it does not in 30 s; it goes on starting. Or its node is lost: it starts with it.
        """
        handle = self._start_owner(name, ordinal)
        node = self.place_of(ordinal).node
        if node not in await asyncio.to_thread(present_nodes):
            raise UnavailableError(
                f"`{name}` lives on the node `{node}`, which is not in the cluster now; it decides once that is back",
                code=NODE_LOST,
            )
        deadline_s = monotonic_s() + _DEDICATED_TIMEOUT_S
        while not (status := await _status(handle))["ready"]:
            if monotonic_s() > deadline_s:
                raise UnavailableError(
                    f"`{name}` is not ready in {_DEDICATED_TIMEOUT_S:g} s: {status['reason']}",
                    code="owner_starting",
                )
            await asyncio.sleep(0.05)

    def start_dedicated_again(self, name: str, ordinal: int) -> Any:
        """Start the owner of a dedicated agent that is already in the index, at start-up."""
        return self._start_owner(name, ordinal)

    def place_of(self, ordinal: int) -> Place:
        """Where the journal of the owner with this ordinal lies."""
        return node_of(ordinal, self.places)

    def _start_owner(self, name: str, ordinal: int) -> Any:
        place = self.place_of(ordinal)
        return (
            ray.remote(AgentHost)
            .options(name=name, **_pinned(place))
            .remote(
                name,
                ordinal,
                self.journals,
                self.secrets_file,
                self.channels,
                tuple(place),
                evidence_backlog=self.evidence_backlog,
                outcome_timeout_s=self.outcome_timeout_s,
                stop_on_mismatch=self.stopping.stop_on_mismatch,
            )
        )


def _pinned(place: Place) -> dict[str, Any]:
    # INVARIANT (pinned): Ray starts an owner, and starts it again, only on a node that says it has the journals.
    return {**_DETACHED, "resources": {journals_resource(place.node): _PRESENCE}}


async def _status(handle: Any) -> dict[str, Any]:
    async with asyncio.timeout(_DEDICATED_TIMEOUT_S):
        status: dict[str, Any] = await handle.status.remote()
        return status
