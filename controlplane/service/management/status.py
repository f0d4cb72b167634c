"""/v1/status: how every part of the fleet is doing."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.placement import CONTROL_STORE, EVIDENCE_WRITER, NOTIFIER
from controlplane.errors import GovernanceError
from controlplane.service.actor_calls import call_actor
from controlplane.service.fleet import Fleet
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import READING, Call, Reply, Route


class StatusDoor:
    """Asks every part; one that does not answer is listed with why."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def routes(self) -> list[Route]:
        return [Route(method="GET", path="/v1/status", roles=READING, door=self.status)]

    async def status(self, _: Call) -> Reply:
        return json_reply(await look_at(self._fleet))


async def look_at(fleet: Fleet) -> dict[str, Any]:
    """What every part says of itself. Cost: one call to each."""
    names = fleet.owner_names()
    hosts, store, writer, notifier = await asyncio.gather(
        asyncio.gather(*(_status_of(name) for name in names)),
        _status_of(CONTROL_STORE),
        _status_of(EVIDENCE_WRITER),
        _status_of(NOTIFIER),
    )
    pending = sum(host.get("pending_rows", 0) for host in [*hosts, store])
    active = fleet.directory.activation.digest
    return {
        "bundle": active,
        # Those that do not decide with the active bundle, as far as they say anything.
        "lagging": [host["name"] for host in hosts if host.get("bundle") != active],
        "hosts": list(hosts),
        "control_store": store,
        "evidence": writer | {"pending_rows": pending},
        "notifier": notifier,
    }


async def _status_of(name: str) -> dict[str, Any]:
    try:
        status: dict[str, Any] = await call_actor(name, "status", timeout_s=2.0)
        return {"name": name, "ready": True} | status
    except GovernanceError as error:
        return {"name": name, "ready": False, "reason": error.message}
