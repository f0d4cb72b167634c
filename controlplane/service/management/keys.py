"""/v1/keys and /v1/principals: who may call, and whom policies may speak of."""

from __future__ import annotations

from typing import Any

from controlplane.errors import InputError
from controlplane.service.actor_calls import call_control
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339


class KeyDoors:
    """Keys and principals live in the control store; every change leaves evidence there."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/keys", roles=OPERATING, door=self.create_key),
            Route(method="GET", path="/v1/keys", roles=READING, door=self.list_keys),
            Route(method="DELETE", path="/v1/keys/{id}", roles=OPERATING, door=self.revoke_key),
            Route(method="POST", path="/v1/principals", roles=OPERATING, door=self.set_principal),
            Route(method="GET", path="/v1/principals", roles=READING, door=self.list_principals),
        ]

    async def create_key(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewKey, call.body)
        if body.role in ("agent", "gateway") and not (body.agents or body.subjects):
            raise InputError(
                f"a key with the role `{body.role}` speaks for somebody: give `agents` or `subjects`"
            )
        if body.role == "agent":
            if len(body.agents) != 1 or body.subjects or "*" in body.agents[0]:
                raise InputError(
                    "an agent's key speaks for that agent alone: give one id in `agents`, no pattern"
                )
            if body.grants:
                raise InputError(
                    "an agent's key takes no grants: it may neither start workflows nor be a witness"
                )
        if body.role == "approver":
            whose = body.subjects[0] if len(body.subjects) == 1 else ""
            kind, colon, _ = whose.partition(":")
            nobody = not colon or "*" in whose or kind in ("agent", "role", "group")
            if body.agents or body.grants or nobody:
                raise InputError(
                    "an approver's key stands for one person: give their `type:id` in `subjects`, such as `user:anna`, "
                    "and nothing else"
                )
        created = await call_control(
            "create_key",
            tenant=call.caller.tenant,
            role=body.role,
            agents=body.agents,
            subjects=body.subjects,
            grants=list(body.grants),
            note=body.note,
            expires_in_s=body.expires_in_s,
            rate_per_s=body.rate_per_s,
            by=call.caller.key_id,
        )
        return json_reply(_key_shown(created), 201)

    async def list_keys(self, call: Call) -> Reply:
        keys = await call_control("keys", tenant=call.caller.tenant)
        return json_reply({"keys": [_key_shown(key) for key in keys]})

    async def revoke_key(self, call: Call) -> Reply:
        revoked = await call_control(
            "revoke_key", identity=call.path[0], tenant=call.caller.tenant, by=call.caller.key_id
        )
        await self._fleet.refresh()
        return json_reply(_key_shown(revoked))

    async def set_principal(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewPrincipal, call.body)
        if body.type == "agent":
            raise InputError("an agent is registered with POST /v1/agents, not as a principal")
        entry = await call_control(
            "set_principal",
            tenant=call.caller.tenant,
            subject_type=body.type,
            subject_id=body.id,
            roles=body.roles,
            groups=body.groups,
            attributes=body.attributes,
            by=call.caller.key_id,
        )
        return json_reply(_principal_shown(entry), 201)

    async def list_principals(self, call: Call) -> Reply:
        entries = await call_control("principals", tenant=call.caller.tenant)
        return json_reply({"principals": [_principal_shown(entry) for entry in entries]})


def _key_shown(entry: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in entry.items() if not name.endswith("_us")}
    for name in ("created", "expires", "revoked"):
        moment = entry.get(f"{name}_us")
        shown[f"{name}_at"] = rfc3339(moment) if moment else None
    return shown


def _principal_shown(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("type", "id", "roles", "groups", "attributes")}
