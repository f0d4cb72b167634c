"""/v1/evidence: what was encrypted for a data subject is shown, with a reason, or made unreadable for good."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from actors.placement import EVIDENCE_WRITER
from controlplane.errors import NotFoundError, UnavailableError
from controlplane.privacy.data_keys import EFFECTIVE_S, DataKeys
from controlplane.privacy.keeping import Found, encrypted
from controlplane.privacy.sealing import DataKey, Situation, unseal
from controlplane.service.actor_calls import call_actor, call_control
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from evidence.errors import NoEvidenceError
from evidence.lookup import find_event
from evidence.place import is_object_uri
from evidence.record import EvidenceRow

NOT_REACHED: Final = (
    "what the catalog keeps in clear or as a digest, and ids of subjects that stand in other columns",
    "copies of the control store's journal that were made before (backups, snapshots): whoever has one and the "
    "wrapping key has the destroyed key",
    "the arguments that a request for approval holds until it is over, and what the agent and its tools keep",
)
"""What an erasure leaves as it is; an operator is told each time."""

_COLUMNS: Final = (
    "event_id", "event_type", "tenant_id", "agent_id", "action", "resource_type", "resource_id", "tool_name",
    "authorization_boundary", "arguments", "arguments_digest",
)  # fmt: skip
_ABOUT: Final = ("agent_id", "action", "resource_type", "resource_id", "tool_name")
_POINTERS_TOLD: Final = 64


class PrivacyDoors:
    """Rows are read from the table, keys from the control store; each act leaves evidence there before it is answered.

    Args: table: folder of the evidence table; "" = there is none here.
    """

    def __init__(self, keys: DataKeys, table: str) -> None:
        self._keys = keys
        self._table = table

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/evidence/erasures", roles=OPERATING, door=self.erase),
            Route(method="POST", path="/v1/evidence/{id}/reveal", roles=READING, door=self.reveal),
        ]

    async def erase(self, call: Call) -> Reply:
        """Destroy a data subject's key: whatever was encrypted for it opens for nobody any more."""
        body = bodies.read_body(bodies.NewErasure, call.body)
        tenant = call.caller.tenant
        subject = self._keys.digest(tenant, body.subject)
        erased = await call_control(
            "erase_subject", tenant=tenant, subject=subject, reason=body.reason, by=call.caller.key_id
        )
        self._keys.forget(tenant, body.subject)
        shown = {"subject_digest": subject, "effective_within_s": EFFECTIVE_S, "not_reached": NOT_REACHED}
        return json_reply(erased | shown)

    async def reveal(self, call: Call) -> Reply:
        """The arguments of one decision that evidence keeps encrypted, for whoever says why."""
        body = bodies.read_body(bodies.Revealing, call.body)
        identity = call.path[0]
        row = await self._row(identity, call.caller.tenant)
        found = list(encrypted(row["arguments"])) if row["arguments"] else []
        if not found:
            raise NotFoundError(
                f"no argument of `{identity}` is kept encrypted: the others are masked, or stand in the table",
                code="nothing_encrypted",
            )
        ids = list(dict.fromkeys(one.sealed.key for one in found))
        keys = dict(zip(ids, await self._keys.by_id(call.caller.tenant, ids), strict=True))
        opened, unreadable = _opened(found, keys, _situation(row))
        if opened:
            # INVARIANT (event first): nobody sees a value before the event that says so is durable.
            await call_control(
                "record_reveal",
                tenant=call.caller.tenant,
                details={
                    "decision": row["event_id"],
                    "reason": body.reason,
                    "by": call.caller.key_id,
                    "revealed": sorted(opened)[:_POINTERS_TOLD],
                    "count": len(opened),
                },
                about=_about(row),
            )
        return json_reply({"decision": row["event_id"], "arguments": opened, "unreadable": unreadable})

    async def _row(self, identity: str, tenant: str) -> dict[str, Any]:
        if not self._table:
            raise UnavailableError("no evidence table is configured here", code="no_evidence")
        try:
            row = await self._find(identity)
        except NoEvidenceError:
            row = None
        if row is None or row["tenant_id"] != tenant or row["event_type"] != "decision":
            raise NotFoundError(
                f"no decision `{identity[:64]}` in the evidence table; a fresh one lands within seconds"
            )
        return row

    async def _find(self, identity: str) -> dict[str, Any] | None:
        if not is_object_uri(self._table):
            return await asyncio.to_thread(find_event, self._table, identity, _COLUMNS)
        # The evidence writer alone has what an object store is reached with (`controlplane.lifecycle.store_access`).
        row: dict[str, Any] | None = await call_actor(EVIDENCE_WRITER, "find_event", identity, list(_COLUMNS))
        return row


def _situation(row: dict[str, Any]) -> Situation:
    boundary = orjson.loads(row["authorization_boundary"])
    return Situation(
        row["tenant_id"],
        boundary["subject_type"],
        row["agent_id"],
        row["resource_type"],
        row["resource_id"],
        row["arguments_digest"].hex(),
    )


def _opened(
    found: list[Found], keys: dict[str, DataKey | None], situation: Situation
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """(values by pointer, what does not open and why)."""
    opened: dict[str, Any] = {}
    unreadable = []
    for one in found:
        key = keys[one.sealed.key]
        plain = None if key is None else unseal(key, one.sealed, situation, one.pointer)
        if plain is not None:
            opened[one.pointer] = orjson.loads(plain)
        else:
            because = "its key was destroyed" if key is None else "it was altered, or moved from another row"
            unreadable.append({"pointer": one.pointer, "because": because})
    return opened, unreadable


def _about(row: dict[str, Any]) -> EvidenceRow:
    """The columns of the event that say what it is about."""
    about = EvidenceRow()
    for name in _ABOUT:
        if row[name] is not None:
            about[name] = row[name]
    return about
