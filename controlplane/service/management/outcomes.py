"""/v1/decisions: what was decided, and what became of it."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import Any

import orjson

from actors.messages import Decided, DecidedAction, Outcome, Settlement
from controlplane.errors import NotFoundError
from controlplane.service.bundles import BundleCache
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.routing import DECIDING, READING, Call, Reply, Route
from controlplane.service.settling import Settling
from controlplane.service.turns import left_s
from controlplane.wire.authzen import rfc3339
from controlplane.wire.digest import keyed_digest
from policies.origin.telling import told_by_result
from policies.origin.trust import result_trust

_AT_ONCE = 4_096
"""Bytes of a result that is read without leaving the event loop: a fraction of a millisecond."""


class OutcomeDoors:
    """A decision id says which owner holds it."""

    def __init__(
        self,
        fleet: Fleet,
        bundles: BundleCache,
        calls: OwnerCalls,
        settling: Settling,
        limiter: RateLimiter,
        *,
        digest_key: bytes,
    ) -> None:
        self._fleet = fleet
        self._bundles = bundles
        self._calls = calls
        self._settling = settling
        self._limiter = limiter
        self._digest_key = digest_key

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/decisions/{id}/outcome", roles=DECIDING, door=self.report_outcome),
            Route(method="GET", path="/v1/decisions/{id}", roles=READING | DECIDING, door=self.show_decision),
        ]

    async def report_outcome(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewOutcome, call.body)
        decision_id = call.path[0]
        owner = self._fleet.owner_of_decision(decision_id)
        _, action = await self._own_decision(call, owner, decision_id)
        self._limiter.count(call.caller, action.subject_type, action.subject_id)
        result = None if body.result is None else orjson.dumps(body.result)
        outcome = Outcome(
            decision_id=decision_id,
            status=body.status,
            complete=body.complete,
            labels=tuple(body.labels),
            executed_digest=bytes.fromhex(body.executed_digest) if body.executed_digest else None,
            result_digest=None
            if result is None
            else keyed_digest(self._digest_key, hashlib.sha256(result).digest()),
            key_id=call.caller.key_id,
            witness=call.caller.witnesses,
            told=await self._told(body, action, size=len(result or b"")),
        )
        shown = await self._calls.call_by(call.deadline_us, owner, "report_outcome", tuple(outcome))
        told = shown.pop("settlement", None)
        if told is not None:
            # What it allows there, the next action is to find; what it cannot be told now is told in the background.
            await self._settling.told([Settlement._make(told)], within_s=left_s(call.deadline_us))
        return json_reply(shown)

    async def _told(
        self, body: bodies.NewOutcome, action: DecidedAction, *, size: int
    ) -> tuple[Any, ...] | None:
        """What a result says, where the action's values were traced; a report without one says nothing of it."""
        if action.looked_up is None or (body.result is None and body.status == "succeeded"):
            return None
        preparer = self._bundles.ready(self._fleet.directory.activation.digest)
        catalog = None if preparer is None else preparer.bundle.catalog
        facts = None if catalog is None else catalog.facts(action.resource_type, action.resource_id)
        returns, default, _ = result_trust(facts)
        read = partial(
            told_by_result,
            body.result,
            returns,
            hasher=self._bundles.hasher,
            default=default,
            complete=body.complete,
        )
        return tuple(read() if size < _AT_ONCE else await asyncio.to_thread(read))

    async def show_decision(self, call: Call) -> Reply:
        decision_id = call.path[0]
        owner = self._fleet.owner_of_decision(decision_id)
        described, action = await self._own_decision(call, owner, decision_id)
        answer = Decided._make(described["answer"])
        permitted = answer.effect in ("allow", "modify")
        shown: dict[str, Any] = {
            "id": answer.id,
            "decision": permitted,
            "effect": answer.effect,
            "reason_code": answer.reason_code,
            "reasons": [{"rule": r, "because": b, "controls": c} for r, b, c in answer.reasons],
            "bundle": answer.bundle,
            "session": answer.session,
            "workflow": action.workflow_id,
            "subject": {"type": action.subject_type, "id": action.subject_id},
            "action": {"name": action.action},
            "resource": {"type": action.resource_type, "id": action.resource_id},
            "arguments_digest": action.arguments_digest,
            "outcome": described["outcome"],
            "outcome_overdue": described["overdue"],
        }
        if answer.operations:
            # Its arguments are not kept: what was made of them is.
            shown["modify"] = orjson.loads(answer.operations)
        if answer.detail:
            shown["detail"] = answer.detail
        if permitted:
            shown["expires_at"] = rfc3339(answer.expires_us)
        return json_reply(shown)

    async def _own_decision(
        self, call: Call, owner: str, decision_id: str
    ) -> tuple[dict[str, Any], DecidedAction]:
        """The decision, if it is the caller's business; for anybody else there is no such decision."""
        described = await self._calls.call_by(call.deadline_us, owner, "describe_decision", decision_id)
        action = DecidedAction(**described["action"])
        caller = call.caller
        reads_all = caller.role in READING
        if action.tenant != caller.tenant or not (
            reads_all or caller.may_speak_for(action.subject_type, action.subject_id)
        ):
            raise NotFoundError(f"no decision `{decision_id}`")
        return described, action
