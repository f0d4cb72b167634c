"""/v1/stops: taking agents, tools, systems, workflows or the whole fleet out of service, and back in."""

from __future__ import annotations

from typing import Any

from actors.placement import CONTROL_STORE
from controlplane.service.actor_calls import call_actor
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339


class StopDoors:
    """Stops live in the control store, and owners enforce them: nothing that a replica does alone depends on one."""

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/stops", roles=OPERATING, door=self.stop),
            Route(method="GET", path="/v1/stops", roles=READING, door=self.list_stops),
            Route(method="GET", path="/v1/stops/{id}", roles=READING, door=self.show_stop),
            Route(method="POST", path="/v1/stops/{id}/release", roles=OPERATING, door=self.release),
        ]

    async def stop(self, call: Call) -> Reply:
        """Set a stop; answers once every owner that can be reached enforces it."""
        body = bodies.read_body(bodies.NewStop, call.body)
        asked = {
            "tenant": call.caller.tenant,
            "target_type": body.target.type,
            "target_id": body.target.id,
            "reason": body.reason,
            "expires_in_s": body.expires_in_s,
            "by": call.caller.key_id,
        }
        if body.dry_run:
            counted = await call_actor(CONTROL_STORE, "count_stopped", asked)
            return json_reply({"dry_run": True, "target": _target(asked), **counted})
        entry = await call_actor(CONTROL_STORE, "stop", asked)
        return json_reply(
            _shown(entry) | {name: entry[name] for name in ("acknowledged", "lagging", "known")}, 201
        )

    async def list_stops(self, call: Call) -> Reply:
        """The live ones; with `?over=true` also those that were over in the last week."""
        over = call.query.get("over", "") in ("true", "1")
        found = await call_actor(CONTROL_STORE, "list_stops", {"tenant": call.caller.tenant, "over": over})
        return json_reply({"stops": [_shown(entry) for entry in found["stops"]], "more": found["more"]})

    async def show_stop(self, call: Call) -> Reply:
        asked = {"tenant": call.caller.tenant, "identity": call.path[0]}
        return json_reply(_shown(await call_actor(CONTROL_STORE, "show_stop", asked)))

    async def release(self, call: Call) -> Reply:
        """Release a stop, ask for it, or confirm it: `state` says which it has come to."""
        body = bodies.read_body(bodies.NewRelease, call.body)
        asked = {"tenant": call.caller.tenant, "identity": call.path[0], "reason": body.reason}
        entry = await call_actor(CONTROL_STORE, "release", asked | {"by": call.caller.key_id})
        return json_reply(_shown(entry) | {name: entry[name] for name in ("acknowledged", "lagging")})


def _target(entry: dict[str, Any]) -> dict[str, str]:
    target = {"type": entry["target_type"]}
    return target if entry["target_type"] == "fleet" else target | {"id": entry["target_id"]}


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    request = entry.get("release_request")
    state = entry.get("over") or ("release_requested" if request else "live")
    shown: dict[str, Any] = {
        "id": entry["id"],
        "state": state,
        "target": _target(entry),
        "reason": entry["reason"],
        "by": entry["by"],
        "created_at": rfc3339(entry["created_us"]),
        "expires_at": _moment(entry["expires_us"]),
        "decision": entry["decision"],
        "over_at": _moment(entry["over_us"]),
    }
    if request is not None:
        at = rfc3339(request["at_us"])
        shown["release_request"] = {"by": request["by"], "reason": request["reason"], "at": at}
    if state == "released":
        shown |= {"released_by": entry["released_by"], "release_reason": entry["release_reason"]}
    return shown


def _moment(at_us: int | None) -> str | None:
    return None if at_us is None else rfc3339(at_us)
