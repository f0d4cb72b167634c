"""/v1/evidence: how long evidence is kept, legal holds, and the runs that let the rest go."""

from __future__ import annotations

from typing import Any

from actors.placement import EVIDENCE_WRITER
from controlplane.errors import GovernanceError
from controlplane.service.actor_calls import call_actor, call_control
from controlplane.service.management.bodies import read_body
from controlplane.service.management.replies import json_reply
from controlplane.service.management.retention_bodies import (
    HoldRelease,
    NewHold,
    NewRetention,
    NewRetentionRun,
)
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339


class RetentionDoors:
    """What is kept is the control store's to say; the evidence writer does the work."""

    def routes(self) -> list[Route]:
        path = "/v1/evidence/"
        return [
            Route(method="GET", path=f"{path}retention", roles=READING, door=self.show),
            Route(method="POST", path=f"{path}retention", roles=OPERATING, door=self.set),
            Route(method="POST", path=f"{path}retention/runs", roles=OPERATING, door=self.run),
            Route(method="GET", path=f"{path}holds", roles=READING, door=self.list_holds),
            Route(method="POST", path=f"{path}holds", roles=OPERATING, door=self.hold),
            Route(method="POST", path=f"{path}holds/{{id}}/release", roles=OPERATING, door=self.release),
        ]

    async def show(self, call: Call) -> Reply:
        """How long evidence is kept, and the run that is under way or was the last."""
        kept = _kept(await call_control("retention"))
        try:
            return json_reply(kept | {"run": _run(await call_actor(EVIDENCE_WRITER, "retention_run"))})
        except GovernanceError as error:
            return json_reply(kept | {"run": {"state": "unknown", "error": error.message}})

    async def set(self, call: Call) -> Reply:
        body = read_body(NewRetention, call.body)
        entry = await call_control(
            "set_retention",
            tenant=call.caller.tenant,
            keep_days=body.keep_days,
            allow_shorter=body.allow_shorter,
            reason=body.reason,
            by=call.caller.key_id,
        )
        return json_reply(_kept(entry))

    async def run(self, call: Call) -> Reply:
        """Start a run; `GET /v1/evidence/retention` says what becomes of it."""
        body = read_body(NewRetentionRun, call.body)
        caller = call.caller
        started = await call_actor(
            EVIDENCE_WRITER, "start_retention", caller.key_id, caller.tenant, body.dry_run
        )
        return json_reply({"run": _run(started)}, 202)

    async def list_holds(self, call: Call) -> Reply:
        found = await call_control("holds", tenant=call.caller.tenant)
        return json_reply({"holds": [_hold(entry) for entry in found]})

    async def hold(self, call: Call) -> Reply:
        body = read_body(NewHold, call.body)
        entry = await call_control(
            "set_hold", tenant=call.caller.tenant, given=body.given(), by=call.caller.key_id
        )
        return json_reply(_hold(entry) | {"too_late": entry["too_late"]}, 201)

    async def release(self, call: Call) -> Reply:
        body = read_body(HoldRelease, call.body)
        entry = await call_control(
            "release_hold",
            tenant=call.caller.tenant,
            identity=call.path[0],
            reason=body.reason,
            by=call.caller.key_id,
        )
        return json_reply(_hold(entry))


def _kept(entry: dict[str, Any]) -> dict[str, Any]:
    set_us = entry["set_us"]
    return {
        "keep_days": entry["keep_days"],
        "reason": entry["reason"],
        "by": entry["by"],
        "set_at": None if set_us is None else rfc3339(set_us),
        "leaving": entry["leaving"],
    }


def _run(status: dict[str, Any]) -> dict[str, Any]:
    times = {
        f"{name}_at": rfc3339(status[f"{name}_us"]) for name in ("started", "ended") if f"{name}_us" in status
    }
    return {name: value for name, value in status.items() if not name.endswith("_us")} | times


def _hold(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "agent", "session", "workflow", "tenant", "first", "last", "reason", "by")
    return {name: entry[name] for name in names} | {"set_at": rfc3339(entry["set_us"])}
