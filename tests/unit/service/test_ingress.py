"""The HTTP door without Ray: what reaches a door, and what never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from actors.api_keys import Caller
from controlplane.errors import ConflictError, UnauthenticatedError
from controlplane.limits import Limits
from controlplane.service import ingress, slow_bodies
from controlplane.service.ingress import Ingress
from controlplane.service.rate_limits import KEY_BODIES_BYTES, RateLimiter
from controlplane.service.routing import Call, Reply, Route, Router


class FixedCaller:
    """Stands for the authenticator: one key is good."""

    async def caller(self, authorization: str | None) -> Caller:
        if authorization != "Bearer good":
            raise UnauthenticatedError("this key is unknown")
        return Caller(
            key_id="k", tenant="default", role="gateway", agents=("a",), subjects=(), grants=frozenset()
        )


async def echo(call: Call) -> Reply:
    return Reply(body=json.dumps({"path": call.path, "body": call.body, "query": call.query}).encode())


async def conflict(_: Call) -> Reply:
    raise ConflictError("taken already", expected=1, found=2)


async def broken(_: Call) -> Reply:
    raise ZeroDivisionError("secret detail")


ROUTES = [
    Route(method="POST", path="/echo", roles=frozenset({"gateway"}), door=echo, limit_bytes=100),
    Route(method="GET", path="/things/{id}", roles=frozenset({"gateway"}), door=echo),
    Route(method="POST", path="/things/{id}/end", roles=frozenset({"gateway"}), door=echo),
    Route(method="GET", path="/conflict", roles=frozenset({"gateway"}), door=conflict),
    Route(method="GET", path="/broken", roles=frozenset({"gateway"}), door=broken),
    Route(method="GET", path="/operators", roles=frozenset({"operator"}), door=echo),
]


def ingress_with(limiter: RateLimiter, large: asyncio.Lock | None = None) -> Ingress:
    async def startup() -> None: ...

    return Ingress(
        Router(ROUTES),
        FixedCaller(),  # type: ignore[arg-type]
        {},
        limiter,
        large or asyncio.Lock(),
        startup,
        startup,
    )


def scope(method: str, path: str, headers: dict[str, str], query: str = "") -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def call(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str | None = "good",
    headers: dict[str, str] | None = None,
    limiter: RateLimiter | None = None,
    large: asyncio.Lock | None = None,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Send one request through the ASGI application: (status, body, headers)."""
    sent: list[MutableMapping[str, Any]] = []
    path, _, query = path.partition("?")
    given = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    chunks = [body[at : at + 40] for at in range(0, len(body), 40)] or [b""]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    application = ingress_with(limiter or RateLimiter(Limits()), large)
    asyncio.run(application(scope(method, path, given, query), receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], json.loads(sent[1]["body"]), answered


def test_whoever_asks_too_often_is_told_when_to_come_back_and_nothing_is_read() -> None:
    limiter = RateLimiter(Limits(key_per_s=1))
    answers = [call("POST", "/echo", b"no json at all", limiter=limiter) for _ in range(4)]
    assert [status for status, _, _ in answers] == [400, 400, 429, 429]
    _, body, headers = answers[-1]
    assert body["error"]["code"] == "rate_limited"
    assert headers["retry-after"] == "1"


def test_a_request_that_is_answered_is_on_its_way_no_more() -> None:
    limiter = RateLimiter(Limits(key_per_s=0))
    for method, path in (("POST", "/echo"), ("GET", "/broken"), ("GET", "/conflict"), ("GET", "/nowhere")):
        call(method, path, b"{}", limiter=limiter)
    assert limiter._in_flight == {}


def test_a_body_in_many_parts_reaches_its_door_whole() -> None:
    status, body, _ = call("POST", "/echo", json.dumps({"text": "x" * 80}).encode())
    assert (status, body["body"]) == (200, {"text": "x" * 80})


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status", "code"),
    [
        ("POST", "/echo", b"{}", None, 401, "unauthenticated"),
        ("POST", "/echo", b"{}", "bad", 401, "unauthenticated"),
        ("POST", "/nowhere", b"{}", "bad", 401, "unauthenticated"),
        ("POST", "/nowhere", b"{}", "good", 404, "no_route"),
        ("DELETE", "/echo", b"", "good", 404, "no_route"),
        ("GET", "/operators", b"", "good", 403, "role_not_permitted"),
        ("POST", "/echo", b"x" * 101, "good", 413, "too_large"),
        ("POST", "/echo", b'{"a":1,"a":2}', "good", 400, "invalid_request"),
        ("POST", "/echo", b"", "good", 400, "invalid_request"),
        ("GET", "/conflict", b"", "good", 409, "conflict"),
        ("GET", "/things/a?" + "&".join(f"f{n}=1" for n in range(21)), b"", "good", 400, "invalid_request"),
    ],
)
def test_what_may_not_pass_is_answered_with_a_clear_code(
    method: str, path: str, body: bytes, key: str | None, status: int, code: str
) -> None:
    found, answer, _ = call(method, path, body, key=key)
    assert (found, answer["error"]["code"]) == (status, code)


def test_a_body_announced_too_large_is_refused_before_it_is_read() -> None:
    status, _, _ = call("POST", "/echo", b"{}", headers={"content-length": "101"})
    assert status == 413


@pytest.mark.parametrize(
    ("headers", "held_bytes"),
    [
        ({"content-length": "20000"}, 20_000),
        ({"content-length": "4096"}, 0),
        ({"transfer-encoding": "chunked"}, 1 << 20),
        ({}, 0),
    ],
)
def test_a_large_body_is_held_until_its_request_is_answered(
    headers: dict[str, str], held_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RateLimiter(Limits())
    held: list[int] = []
    parse = ingress.json_input.parse

    def look(raw: bytes, *, limit_bytes: int) -> Any:
        held.append(limiter._all_held_bytes)
        return parse(raw, limit_bytes=limit_bytes)

    monkeypatch.setattr(ingress.json_input, "parse", look)
    assert call("POST", "/things/a/end", b"{}", headers=headers, limiter=limiter)[0] == 200
    assert call("POST", "/things/a/end", b"no json", headers=headers, limiter=limiter)[0] == 400
    assert held == [held_bytes] * 2
    assert (limiter._all_held_bytes, limiter._held_bytes) == (0, {})


def test_with_too_large_bodies_on_their_way_the_next_is_refused_before_it_is_read() -> None:
    limiter = RateLimiter(Limits())
    caller = asyncio.run(FixedCaller().caller("Bearer good"))
    limiter.hold(caller, KEY_BODIES_BYTES)
    large = {"content-length": "20000"}
    status, answer, headers = call("POST", "/things/a/end", b"no json", headers=large, limiter=limiter)
    assert (status, answer["error"]["code"], headers["retry-after"]) == (429, "too_many_in_flight", "1")
    # Small ones are not held up by large ones.
    assert call("POST", "/things/a/end", b"{}", limiter=limiter)[0] == 200
    assert limiter._in_flight == {} and limiter._all_held_bytes == KEY_BODIES_BYTES


def test_a_large_body_whose_turn_does_not_come_in_time_is_not_read_but_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, limiter = asyncio.Lock(), RateLimiter(Limits())
    asyncio.run(busy.acquire())
    parsed: list[bytes] = []
    monkeypatch.setattr(ingress.json_input, "parse", lambda raw, limit_bytes: parsed.append(raw))
    body = json.dumps({"text": "x" * 5_000}).encode()
    headers = {"content-length": str(len(body)), "x-deadline-ms": "20"}
    status, answer, _ = call("POST", "/things/a/end", body, headers=headers, limiter=limiter, large=busy)
    assert (status, answer["error"]["code"], parsed) == (503, "deadline_passed", [])
    assert (limiter._in_flight, limiter._all_held_bytes) == ({}, 0)


async def _with_a_body_that_never_comes(application: Ingress, first: list[bytes]) -> tuple[int, str]:
    """Status and code of the answer to a request whose body ends after `first`."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if first:
            return {"type": "http.request", "body": first.pop(0), "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await application(scope("POST", "/echo", {"authorization": "Bearer good"}), receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"]


@pytest.mark.parametrize("first", [[], [b'{"a"']])
def test_a_body_that_does_not_come_holds_its_place_no_longer_than_a_request_may_take(
    first: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_bodies, "MOST_BODY_S", 0.02)
    monkeypatch.setattr(slow_bodies, "_SWEEP_S", 0.01)
    limiter = RateLimiter(Limits())
    answered = asyncio.run(_with_a_body_that_never_comes(ingress_with(limiter), first))
    assert answered == (503, "deadline_passed")
    assert limiter._in_flight == {}


def test_whoever_goes_away_while_their_body_is_read_is_let_go() -> None:
    limiter = RateLimiter(Limits())
    application = ingress_with(limiter)

    async def leave() -> None:
        asked = asyncio.create_task(_with_a_body_that_never_comes(application, []))
        await asyncio.sleep(0.01)
        assert limiter._in_flight == {"k": 1}
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(leave())
    assert limiter._in_flight == {} and application._slow_bodies._until_s == {}


def test_what_nobody_foresaw_is_a_503_that_tells_nothing() -> None:
    status, answer, headers = call("GET", "/broken")
    assert (status, answer["error"]["code"]) == (503, "internal_error")
    assert "secret" not in json.dumps(answer)
    assert headers["retry-after"] == "1"


def test_ids_in_paths_may_contain_slashes() -> None:
    assert call("GET", "/things/a/b")[1]["path"] == ["a/b"]
    assert call("POST", "/things/a/b/end")[1]["path"] == ["a/b"]


@pytest.mark.parametrize("deadline", ["0", "-1", "30001", "soon", ""])
def test_a_deadline_that_is_none_is_refused(deadline: str) -> None:
    assert call("GET", "/things/a", headers={"x-deadline-ms": deadline})[0] == 400
