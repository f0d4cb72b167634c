"""/v1/approvals: asking for an escalated action to be approved, waiting for it, deciding on it.

A task lives with the owner that escalated, which its id names. The field names follow AuthZEN's *Access Request and
Approval* draft where that has one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from actors.approvals.messages import ApprovalAct, ApprovalRequest, Narrowed, Viewer
from actors.approvals.requests import unknown_token
from actors.approvals.task import APPROVED, OPEN, STATES
from actors.approvals.values import value_ordinal
from actors.ids import approval_ordinal, bound_decision
from actors.messages import Decided, DecidedAction
from controlplane.errors import (
    ConflictError,
    ForbiddenError,
    GovernanceError,
    InputError,
    NotFoundError,
    TooLargeError,
)
from controlplane.privacy.keeping import masked
from controlplane.service.approval_watch import ApprovalWatch
from controlplane.service.bundles import BundleCache
from controlplane.service.fleet import Fleet
from controlplane.service.management import approval_bodies as bodies
from controlplane.service.management.bodies import read_body
from controlplane.service.management.replies import json_reply
from controlplane.service.modifying import as_decided
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.routing import DECIDING, READING, Call, Reply, Route
from controlplane.wire.authzen_answer import APPROVALS
from controlplane.wire.digest import arguments_digest, canonical_json, keyed_digest
from controlplane.wire.narrowing import narrowed
from policies.keeping import ArgumentKeeping

MOST_ARGUMENTS_BYTES: Final = 65_536
"""That a task keeps for its approvers to see."""
LONGEST_WAIT_S: Final = 30
_PAGE: Final = 50
_LARGEST_PAGE: Final = 200
_AT_ONCE: Final = 64
"""Owners that are asked for a list at a time."""
_LIST_TIMEOUT_S: Final = 5.0
_APPROVER: Final = frozenset({"approver"})


class ApprovalDoors:
    """Who may see and decide what is the owner's to say; the doors know whose key it is."""

    def __init__(
        self,
        fleet: Fleet,
        calls: OwnerCalls,
        limiter: RateLimiter,
        *,
        bundles: BundleCache,
        digest_key: bytes,
    ) -> None:
        self._fleet = fleet
        self._bundles = bundles
        self._calls = calls
        self._limiter = limiter
        self._digest_key = digest_key
        self._watch = ApprovalWatch(calls)

    def routes(self) -> list[Route]:
        everybody = DECIDING | READING | _APPROVER
        on = "/v1/approvals/{id}"
        return [
            Route(method="POST", path="/v1/approvals", roles=DECIDING, door=self.request),
            Route(method="GET", path="/v1/approvals", roles=everybody, door=self.list_tasks),
            Route(
                method="GET", path="/v1/approvals/values", roles=READING | _APPROVER, door=self.list_values
            ),
            Route(
                method="DELETE",
                path="/v1/approvals/values/{id}",
                roles=frozenset({"operator"}) | _APPROVER,
                door=self.revoke_value,
            ),
            Route(method="GET", path=on, roles=everybody, door=self.show),
            Route(method="POST", path=f"{on}/approve", roles=_APPROVER, door=self.approve),
            Route(method="POST", path=f"{on}/deny", roles=_APPROVER, door=self.deny),
            Route(method="POST", path=f"{on}/delegate", roles=_APPROVER, door=self.delegate),
            Route(method="POST", path=f"{on}/comment", roles=DECIDING | _APPROVER, door=self.comment),
            Route(method="POST", path=f"{on}/cancel", roles=DECIDING, door=self.cancel),
        ]

    # -- who asks ----------------------------------------------------------------------------------------------------

    async def request(self, call: Call) -> Reply:
        """Ask for an escalated decision to be approved: 201, and 200 with the same task when asked again."""
        body = read_body(bodies.NewApproval, call.body)
        decision = bound_decision(body.token)
        if decision is None:
            raise unknown_token()
        owner = self._fleet.owner_of_decision(decision)
        described = await self._calls.call_by(call.deadline_us, owner, "describe_decision", decision)
        action = DecidedAction(**described["action"])
        caller = call.caller
        if action.tenant != caller.tenant or not caller.may_speak_for(action.subject_type, action.subject_id):
            raise unknown_token()
        _refuse_another(body, action)
        self._limiter.count(caller, action.subject_type, action.subject_id)
        arguments, digest = None, None
        if body.arguments is not None:
            # Approved is what would be executed, and only we know what rules made of what was asked.
            decided = as_decided(Decided(*described["answer"]), body.arguments)
            arguments, digest = canonical_json(decided), arguments_digest(decided)
            if len(arguments) > MOST_ARGUMENTS_BYTES:
                raise TooLargeError(
                    f"a task keeps at most {MOST_ARGUMENTS_BYTES} bytes of arguments, found {len(arguments)}; without "
                    "`arguments`, approvers see their masked form",
                    expected=MOST_ARGUMENTS_BYTES,
                    found=len(arguments),
                )
        asked = ApprovalRequest(
            tenant=caller.tenant,
            token=body.token,
            arguments=arguments,
            arguments_digest=digest,
            justification=body.justification,
            key_id=caller.key_id,
        )
        answer = await self._calls.call_by(call.deadline_us, owner, "approval_request", tuple(asked))
        return json_reply(_with_handle(answer["task"]), 201 if answer["created"] else 200)

    async def cancel(self, call: Call) -> Reply:
        body = read_body(bodies.Cancellation, call.body)
        return await self._with_task(
            call, "approval_cancel", _viewer(call), call.path[0], call.caller.key_id, body.comment
        )

    async def comment(self, call: Call) -> Reply:
        body = read_body(bodies.NewComment, call.body)
        return await self._with_task(
            call, "approval_comment", _viewer(call), call.path[0], call.caller.key_id, body.comment
        )

    async def show(self, call: Call) -> Reply:
        """One task; with `?wait_s=30` once it changes, or after so long, if it waits for somebody."""
        identity = call.path[0]
        wait_s = _number(call, "wait_s", 0, LONGEST_WAIT_S)
        owner = self._owner_of(identity)
        asked = ("approval_look", _viewer(call), identity)
        shown = await self._calls.call_by(call.deadline_us, owner, *asked)
        if wait_s and shown["state"] in OPEN:
            await self._watch.changed(owner, identity, shown["version"], within_s=wait_s)
            shown = await self._calls.call(owner, *asked, timeout_s=_LIST_TIMEOUT_S)
        return json_reply(_with_handle(shown))

    async def list_tasks(self, call: Call) -> Reply:
        """The tasks that the caller may see, the newest first, from all owners.

        `?state=` one or more, or `all` (pending and partial without it), `?mine=true`, `?agent=`, `?limit=`, `?after=`.
        """
        states = _states(call.query.get("state", ""))
        limit = _number(call, "limit", _PAGE, _LARGEST_PAGE) or _PAGE
        mine = call.query.get("mine", "") == "true"
        after = call.query.get("after", "")
        arguments = (_viewer(call), states, call.query.get("agent"), after, limit, mine)
        answers, silent = await self._ask_all("approval_list", *arguments)
        # What is older than where one of them left off comes with the next page: whoever pages on misses nothing.
        left = max((str(answer["left"]) for answer in answers), default="")
        found = [task for answer in answers for task in answer["found"] if task["id"] >= left]
        found.sort(key=lambda task: str(task["id"]), reverse=True)
        page = found[:limit]
        end = page[-1]["id"] if len(found) >= limit else left or None
        return json_reply({"approvals": page, "next": end, "unavailable": silent})

    # -- who decides -------------------------------------------------------------------------------------------------

    async def approve(self, call: Call) -> Reply:
        body = read_body(bodies.Approval, call.body)
        less = None if body.narrow is None else await self._narrowed(call, body.narrow)
        act = _act(call, body.comment)._replace(
            narrowed=less,
            seen_digest=body.arguments_digest,
            remember_until_us=bodies.moment_us(body.remember_until, "remember_until"),
            remember_scope=body.remember_scope,
        )
        return await self._with_task(call, "approval_approve", tuple(act))

    async def deny(self, call: Call) -> Reply:
        body = read_body(bodies.Denial, call.body)
        return await self._with_task(call, "approval_deny", tuple(_act(call, body.comment)))

    async def delegate(self, call: Call) -> Reply:
        body = read_body(bodies.ApproverDelegation, call.body)
        act = _act(call, body.comment)._replace(to=body.to, until_us=bodies.moment_us(body.until, "until"))
        return await self._with_task(call, "approval_delegate", tuple(act))

    async def _narrowed(self, call: Call, narrow: dict[str, Any]) -> tuple[str | bytes, ...]:
        """What is to be approved instead, of the arguments as they are approved now."""
        identity = call.path[0]
        owner = self._owner_of(identity)
        shown = await self._calls.call_by(call.deadline_us, owner, "approval_look", _viewer(call), identity)
        arguments = shown.get("arguments")
        if arguments is None:
            raise ConflictError(
                "the task holds no arguments: only who sees them can approve less of them",
                code="no_arguments",
            )
        less = narrowed(arguments, narrow)
        digest = arguments_digest(less)
        return tuple(
            Narrowed(
                arguments=canonical_json(less),
                digest=digest.hex(),
                evidence_digest=keyed_digest(self._digest_key, digest).hex(),
                masked=masked(less, self._keeping(shown["resource"])),
                of_digest=arguments_digest(arguments).hex(),
            )
        )

    def _keeping(self, resource: dict[str, Any]) -> ArgumentKeeping | None:
        """What the catalog in force says of how evidence keeps the arguments of a resource."""
        preparer = self._bundles.ready(self._bundles.best(self._fleet.directory.activation.digest))
        facts = preparer and preparer.bundle.catalog.facts(resource["type"], resource["id"])
        return facts.keeping if facts else None

    # -- values ------------------------------------------------------------------------------------------------------

    async def list_values(self, call: Call) -> Reply:
        """The values that are approved for rules, from all owners, in the order of their ids."""
        limit = _number(call, "limit", _PAGE, _LARGEST_PAGE) or _PAGE
        after = call.query.get("after", "")
        found, silent = await self._ask_all("approval_values", call.caller.tenant, after, limit)
        found.sort(key=lambda value: str(value["id"]))
        page = found[:limit]
        more = len(found) >= limit
        reply = {"values": page, "next": page[-1]["id"] if more and page else None, "unavailable": silent}
        return json_reply(reply)

    async def revoke_value(self, call: Call) -> Reply:
        identity = call.path[0]
        ordinal = value_ordinal(identity)
        owner = None if ordinal is None else self._fleet.named(ordinal)
        if owner is None:
            raise NotFoundError(f"no approved value `{identity[:64]}`", code="unknown_value")
        revoked = await self._calls.call_by(
            call.deadline_us, owner, "approval_value_revoke", _viewer(call), identity, call.caller.key_id
        )
        return json_reply(revoked)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _with_task(self, call: Call, method: str, *arguments: Any) -> Reply:
        owner = self._owner_of(call.path[0])
        return json_reply(await self._calls.call_by(call.deadline_us, owner, method, *arguments))

    def _owner_of(self, identity: str) -> str:
        ordinal = approval_ordinal(identity)
        owner = None if ordinal is None else self._fleet.named(ordinal)
        if owner is None:
            raise NotFoundError(f"no approval `{identity[:64]}`", code="unknown_approval")
        return owner

    async def _ask_all(self, method: str, *arguments: Any) -> tuple[list[dict[str, Any]], list[str]]:
        """What every owner answers, together; and which did not."""
        found: list[dict[str, Any]] = []
        silent: list[str] = []
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(name: str) -> None:
            async with turns:
                try:
                    found.extend(await self._calls.call(name, method, *arguments, timeout_s=_LIST_TIMEOUT_S))
                except GovernanceError:
                    silent.append(name)

        await asyncio.gather(*(ask(name) for name in self._fleet.owner_names()))
        return found, sorted(silent)


def _viewer(call: Call) -> tuple[Any, ...]:
    return tuple(Viewer.of(call.caller))


def _act(call: Call, comment: str) -> ApprovalAct:
    caller = call.caller
    if caller.principal is None:
        raise ForbiddenError(
            "this key stands for nobody: an approver's key names one principal in `subjects`",
            code="no_principal",
        )
    return ApprovalAct(
        id=call.path[0],
        tenant=caller.tenant,
        approver=caller.principal,
        key_id=caller.key_id,
        comment=comment,
    )


def _refuse_another(body: bodies.NewApproval, action: DecidedAction) -> None:
    """Who says what was asked says what was decided. Raises: ConflictError."""
    said = (
        (body.subject and (body.subject.type, body.subject.id), (action.subject_type, action.subject_id)),
        (
            body.resource and (body.resource.type, body.resource.id),
            (action.resource_type, action.resource_id),
        ),
        (body.action and body.action.name, action.action),
    )
    if any(sent is not None and sent != decided for sent, decided in said):
        raise ConflictError(
            "`subject`, `action` and `resource` are not those of the decision that the binding token names",
            code="denial_mismatch",
        )


def _with_handle(shown: dict[str, Any]) -> dict[str, Any]:
    """A task with the draft's members beside ours: a handle, and what to do once it is approved.

    The draft's `partial` ends a task of several requests; ours goes on, so there it is `pending`.
    """
    path = f"{APPROVALS}/{shown['id']}"
    handle = {
        "id": shown["id"],
        "status": "pending" if shown["state"] in OPEN else shown["state"],
        "status_endpoint": path,
        "expires_at": shown["expires_at"],
        "links": {"cancel": f"{path}/cancel"},
    }
    if shown["state"] != APPROVED or "used" in shown:
        return {**shown, "task": handle}
    approval = {
        "id": shown["id"],
        "approved_at": shown["approved_at"],
        "approved_until": shown["expires_at"],
    }
    return {**shown, "task": handle, "result": {"mode": "reevaluate", "approval": approval}}


def _states(text: str) -> list[str]:
    if text == "all":
        return list(STATES)
    states = [one for one in text.split(",") if one] or sorted(OPEN)
    for one in states:
        if one not in STATES:
            known = ", ".join(f"`{state}`" for state in (*STATES, "all"))
            raise InputError(f"unknown state `{one[:40]}`; known are {known}")
    return states


def _number(call: Call, name: str, default: int, most: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:
        raise InputError(f"`{name}` must be a whole number up to {most}")
    return int(text)
