"""/v1/sessions and /v1/delegations: one run of one agent, opened, continued by a user's turn, delegated from, ended."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import orjson

from actors.api_keys import Caller
from actors.ids import subject_of_key
from actors.messages import DelegationRequest, SessionRequest
from controlplane.errors import ForbiddenError, InputError, NotFoundError
from controlplane.service.authorization import refuse_foreign
from controlplane.service.bundles import BundleCache
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.routing import DECIDING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339
from controlplane.wire.digest import keyed_digest
from policies.asked.basis import Basis
from policies.asked.lexicons import english
from policies.asked.scope import read_scope
from policies.origin.telling import told_by_task

_AT_ONCE = 4_096
"""Characters of a text that is read without leaving the event loop: a fraction of a millisecond."""


class SessionDoors:
    """Sessions live with the owner of the agent that began their workflow, which a session id and a token name."""

    def __init__(
        self,
        fleet: Fleet,
        bundles: BundleCache,
        calls: OwnerCalls,
        limiter: RateLimiter,
        *,
        digest_key: bytes,
    ) -> None:
        self._fleet = fleet
        self._bundles = bundles
        self._calls = calls
        self._limiter = limiter
        self._digest_key = digest_key

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/sessions", roles=DECIDING, door=self.open_session),
            Route(method="POST", path="/v1/delegations", roles=DECIDING, door=self.delegate),
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
        if body.scope is not None and not caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` says what a session is for",
                code="scope_needs_workflows",
            )
        request = SessionRequest(
            tenant=caller.tenant,
            subject_type=body.subject_type,
            subject_id=body.agent,
            task_digest=self._text_digest(body.task) if body.task is not None else None,
            new_workflow=caller.starts_workflows and body.parent is None,
            key_id=caller.key_id,
            principal=body.principal,
            parent=body.parent,
            told=await self._told(body.task) if body.task is not None else None,
            basis=_basis(body.task, body.scope),
        )
        if body.parent is not None:
            opened = await self._open_child(call, request, body.parent)
        else:
            _refuse_principal(caller, body)
            owner = self._fleet.owner_of(caller.tenant, body.subject_type, body.agent)
            opened = await self._calls.call_by(call.deadline_us, owner, "open_session", tuple(request))
        expires_at = rfc3339(opened.pop("expires_us"))
        return json_reply(opened | {"agent": body.agent, "expires_at": expires_at}, 201)

    async def _open_child(self, call: Call, request: SessionRequest, token: str) -> dict[str, Any]:
        """Open a session where its workflow lives, once its agent's home owner has said that there is such an agent."""
        if request.subject_type != "agent":
            raise InputError(f"only an agent is delegated to, not a `{request.subject_type}`")
        owner = self._fleet.owner_of_delegation(token)
        home = self._fleet.owner_of(request.tenant, "agent", request.subject_id)
        if home != owner:
            asked = (request.tenant, request.subject_id)
            vouch = await self._calls.call_by(call.deadline_us, home, "vouch_for_agent", *asked)
            request = request._replace(vouch=vouch)
        opened: dict[str, Any] = await self._calls.call_by(
            call.deadline_us, owner, "open_child", tuple(request)
        )
        return opened

    async def delegate(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewDelegation, call.body)
        owner = await self._own_session(call, body.session)
        request = DelegationRequest(
            tenant=call.caller.tenant,
            session=body.session,
            to=body.to,
            tools=None if body.tools is None else tuple(body.tools),
            depth=body.depth,
            expires_in_us=body.expires_in_s * 1_000_000,
            principal=body.principal,
            key_id=call.caller.key_id,
        )
        given = await self._calls.call_by(call.deadline_us, owner, "delegate", tuple(request))
        expires_at = rfc3339(given.pop("expires_us"))
        return json_reply(given | {"expires_at": expires_at}, 201)

    async def add_task(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewTask, call.body)
        if not call.caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` adds a user's turn", code="task_needs_workflows"
            )
        told = await self._told(body.task)
        return await self._with_session(
            call, "add_task", self._text_digest(body.task), told, _basis(body.task, body.scope)
        )

    async def end_session(self, call: Call) -> Reply:
        if not call.caller.starts_workflows:
            raise ForbiddenError(
                "only a key with the grant `workflows` ends a session", code="end_needs_workflows"
            )
        return await self._with_session(call, "end_session")

    async def _with_session(self, call: Call, method: str, *arguments: Any) -> Reply:
        name = call.path[0]
        owner = await self._own_session(call, name)
        return json_reply(
            await self._calls.call_by(call.deadline_us, owner, method, name, *arguments, call.caller.key_id)
        )

    async def _own_session(self, call: Call, name: str) -> str:
        """The owner of a session whose subject is one that the caller may speak for; for others there is none."""
        owner = self._fleet.owner_of_session(name)
        key = await self._calls.call_by(call.deadline_us, owner, "session_subject", name)
        tenant, subject_type, subject_id = subject_of_key(key)
        if tenant != call.caller.tenant or not call.caller.may_speak_for(subject_type, subject_id):
            raise NotFoundError(f"no session `{name}`", code="unknown_session")
        self._limiter.count(call.caller, subject_type, subject_id)
        return owner

    async def _told(self, task: str) -> tuple[Any, ...]:
        """What a task says, as digests: whatever bundle comes, it was asked for."""
        if len(task) < _AT_ONCE:
            return tuple(told_by_task(task, self._bundles.hasher))
        return tuple(await asyncio.to_thread(told_by_task, task, self._bundles.hasher))

    def _text_digest(self, text: str) -> bytes:
        return keyed_digest(self._digest_key, hashlib.sha256(text.encode()).digest())


def _basis(task: str | None, scope: dict[str, Any] | None) -> bytes | None:
    """What a session is opened for, as its owner keeps it. Raises: InputError: no scope."""
    if task is None and scope is None:
        return None
    declared = None if scope is None else read_scope(scope)
    estimate = None if task is None else english().estimate(task)
    return orjson.dumps(Basis(scope=declared, estimate=estimate).plain())


def _refuse_principal(caller: Caller, body: bodies.NewSession) -> None:
    """Raises: ForbiddenError: this is not for the caller to say, or a user would act for somebody else."""
    if body.principal is None:
        return
    if not caller.starts_workflows:
        raise ForbiddenError(
            "only a key with the grant `workflows` says on whose behalf an agent acts",
            code="principal_needs_workflows",
        )
    own = f"{body.subject_type}:{body.agent}"
    if body.subject_type != "agent" and body.principal != own:
        raise ForbiddenError(
            f"`{own}` acts on its own behalf, not of `{body.principal}`",
            code="principal_mismatch",
            expected=own,
            found=body.principal,
        )
