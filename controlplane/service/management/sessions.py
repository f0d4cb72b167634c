"""/v1/sessions: one run of one agent, opened, continued by a user's turn, ended."""

from __future__ import annotations

import hashlib
from typing import Any

from actors.ids import subject_of_key
from actors.messages import SessionRequest
from controlplane.errors import ForbiddenError, NotFoundError
from controlplane.service.authorization import refuse_foreign
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.routing import DECIDING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339
from controlplane.wire.digest import keyed_digest


class SessionDoors:
    """Sessions live with their agent's owner, which a session id names."""

    def __init__(self, fleet: Fleet, calls: OwnerCalls, limiter: RateLimiter, *, digest_key: bytes) -> None:
        self._fleet = fleet
        self._calls = calls
        self._limiter = limiter
        self._digest_key = digest_key

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/sessions", roles=DECIDING, door=self.open_session),
            Route(method="POST", path="/v1/sessions/{id}/task", roles=DECIDING, door=self.add_task),
            Route(method="POST", path="/v1/sessions/{id}/end", roles=DECIDING, door=self.end_session),
        ]

    async def open_session(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewSession, call.body)
        caller = call.caller
        refuse_foreign(call.caller, body.subject_type, body.agent)
        self._limiter.count(caller, body.subject_type, body.agent)
        if body.task is not None and not caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` says what the user asked for: an agent cannot set its own task",
                code="task_needs_workflows",
            )
        request = SessionRequest(
            tenant=caller.tenant,
            subject_type=body.subject_type,
            subject_id=body.agent,
            task_digest=self._text_digest(body.task) if body.task is not None else None,
            new_workflow=caller.starts_workflows,
            key_id=caller.key_id,
        )
        owner = self._fleet.owner_of(caller.tenant, body.subject_type, body.agent)
        opened = await self._calls.call_by(call.deadline_us, owner, "open_session", tuple(request))
        expires_at = rfc3339(opened.pop("expires_us"))
        return json_reply(opened | {"agent": body.agent, "expires_at": expires_at}, 201)

    async def add_task(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewTask, call.body)
        if not call.caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` adds a user's turn", code="task_needs_workflows"
            )
        return await self._with_session(call, "add_task", self._text_digest(body.task))

    async def end_session(self, call: Call) -> Reply:
        if not call.caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` ends a session", code="end_needs_workflows"
            )
        return await self._with_session(call, "end_session")

    async def _with_session(self, call: Call, method: str, *arguments: Any) -> Reply:
        """Act on a session, if its subject is one that the caller may speak for; for others there is none."""
        name = call.path[0]
        owner = self._fleet.owner_of_session(name)
        key = await self._calls.call_by(call.deadline_us, owner, "session_subject", name)
        tenant, subject_type, subject_id = subject_of_key(key)
        if tenant != call.caller.tenant or not call.caller.may_speak_for(subject_type, subject_id):
            raise NotFoundError(f"no session `{name}`", code="unknown_session")
        self._limiter.count(call.caller, subject_type, subject_id)
        return json_reply(
            await self._calls.call_by(call.deadline_us, owner, method, name, *arguments, call.caller.key_id)
        )

    def _text_digest(self, text: str) -> bytes:
        return keyed_digest(self._digest_key, hashlib.sha256(text.encode()).digest())
