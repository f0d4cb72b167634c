"""The HTTP door: a raw ASGI application, because a framework would cost more than the decision.

Everything that reaches a door has been authenticated, is allowed for the caller's role, and has a body that follows
the input rules. Whatever goes wrong inside is answered by a clear text and never by a stack trace.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from controlplane.errors import GovernanceError, InputError, TooLargeError, UnavailableError
from controlplane.service.authentication import Authenticator
from controlplane.service.authorization import refuse_role
from controlplane.service.problems import problem, problem_details, status_of
from controlplane.service.rate_limits import SMALL_BODY_BYTES, RateLimiter
from controlplane.service.routing import Call, Reply, Router
from controlplane.service.slow_bodies import SlowBodies
from controlplane.service.turns import in_turn
from controlplane.wire import json_input
from controlplane.wire.authzen_answer import APPROVALS

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
PublicDoor = Callable[[dict[bytes, bytes]], Awaitable[Reply]]

DEFAULT_DEADLINE_MS = 5_000
MAX_DEADLINE_MS = 30_000
_WITH_BODY = ("POST", "PUT", "PATCH")
_SLOW_BODY_S = 0.5
_MAX_QUERY_FIELDS = 20
# Of a number in a header: Python refuses to read one of thousands.
_MOST_DIGITS = 18


class ClientGoneError(Exception):
    """The caller closed the connection before its request was complete: nobody is there to answer."""


class Ingress:
    """The ASGI application of one replica.

    Args:
        router: the doors behind authentication.
        public: doors without a key, by path (GET only): health, readiness, metadata.
        limiter: who has asked for too much.
        large: whoever works on a large body holds it for that time, see `Preparing`.
        startup: run once before the first request; background work is started here.
        shutdown: run once after the last.
    """

    def __init__(
        self,
        router: Router,
        authenticator: Authenticator,
        public: dict[str, PublicDoor],
        limiter: RateLimiter,
        large: asyncio.Lock,
        startup: Callable[[], Awaitable[None]],
        shutdown: Callable[[], Awaitable[None]],
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._public = public
        self._limiter = limiter
        self._large = large
        self._slow_bodies = SlowBodies()
        self._startup = startup
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        retry_after_s: object = 1
        try:
            reply = await self._answer(scope, headers, receive)
        except ClientGoneError:
            return
        except GovernanceError as error:
            reply = _refused(scope["path"], error)
            retry_after_s = error.fields.get("retry_after_s", retry_after_s)
        except Exception:
            # INVARIANT (fail closed): what nobody foresaw is a 503, which every client treats as a deny.
            log.exception("a request failed")
            failed = UnavailableError("the request could not be handled", code="internal_error")
            reply = _refused(scope["path"], failed)
        answered = [
            (b"content-type", reply.content_type),
            (b"content-length", str(len(reply.body)).encode()),
        ]
        if reply.status == 401:
            answered.append((b"www-authenticate", b'Bearer realm="controlplane"'))
        elif reply.status in (429, 503):
            answered.append((b"retry-after", str(retry_after_s).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": answered})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Reply:
        # One coroutine for all stations of a request: each further one is paid for on the way in and on the way out.
        method, path = scope["method"], scope["path"]
        public = self._public.get(path)
        if public is not None and method in ("GET", "HEAD"):
            return await public(headers)
        # Nothing is said about which routes exist to somebody without a key.
        authorization = headers.get(b"authorization")
        key = authorization.decode("latin-1") if authorization else None
        caller = await self._authenticator.caller(key)
        entered, held_bytes = caller, 0
        self._limiter.enter(entered)
        try:
            route, matched = self._router.find(method, path)
            refuse_role(route, caller)
            body: dict[str, Any] = {}
            if method in _WITH_BODY:
                announced_bytes = _announced_bytes(headers, route.limit_bytes)
                if announced_bytes > SMALL_BODY_BYTES:
                    self._limiter.hold(entered, announced_bytes)
                    held_bytes = announced_bytes
            deadline_us = _deadline_us(headers)
            if method in _WITH_BODY:
                began_s = time.monotonic()
                raw = await self._slow_bodies.bounded(_read(receive, route.limit_bytes))
                if time.monotonic() - began_s > _SLOW_BODY_S:
                    # The key may have been revoked while the body trickled in.
                    caller = await self._authenticator.caller(key)
                if len(raw) > SMALL_BODY_BYTES:
                    async with in_turn(self._large, deadline_us):
                        body = json_input.parse(raw, limit_bytes=route.limit_bytes)
                elif raw or "{" not in route.path:
                    body = json_input.parse(raw, limit_bytes=route.limit_bytes)
            sent = scope["query_string"]
            query = _query(sent) if sent else {}
            return await route.door(Call(caller, matched, body, query, deadline_us))
        finally:
            if held_bytes:
                self._limiter.let_go(entered, held_bytes)
            self._limiter.leave(entered)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._startup()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _refused(path: str, error: GovernanceError) -> Reply:
    """An error, in the shape that its door says it in."""
    status = status_of(error)
    if path == APPROVALS or path.startswith(APPROVALS + "/"):
        return Reply(problem_details(error), status, b"application/problem+json")
    return Reply(problem(error), status)


def _announced_bytes(headers: dict[bytes, bytes], limit_bytes: int) -> int:
    """How large the body is, or may be. Raises: TooLargeError: larger than the door takes; nothing is read of it."""
    announced = headers.get(b"content-length", b"")
    if not announced.isdigit():
        return limit_bytes if b"transfer-encoding" in headers else 0
    if len(announced) > _MOST_DIGITS or int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    return int(announced)


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    """The whole body, bounded: what turns out larger is refused without being kept."""
    message = await receive()
    body = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    if not message.get("more_body", False):
        whole: bytes = body
        if len(whole) > limit_bytes:
            raise _too_large(limit_bytes)
        return whole
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
    return b"".join(parts)


def _query(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        raise InputError(f"the query string has more than {_MAX_QUERY_FIELDS} fields") from None


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than the {limit_bytes} bytes that this door takes")


def _deadline_us(headers: dict[bytes, bytes]) -> int:
    """When the caller stops waiting, wall clock: `X-Deadline-Ms`, 5 s by default, 30 s at most."""
    now_us = time.time_ns() // 1000
    sent = headers.get(b"x-deadline-ms")
    if sent is None:
        return now_us + DEFAULT_DEADLINE_MS * 1000
    if not sent.isdigit() or len(sent) > _MOST_DIGITS or not 1 <= int(sent) <= MAX_DEADLINE_MS:
        raise InputError(f"`X-Deadline-Ms` must be a whole number from 1 to {MAX_DEADLINE_MS}")
    return now_us + int(sent) * 1000
