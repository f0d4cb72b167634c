"""Bad input over real sockets: a 4xx or a closed connection, and the service answers the next one as ever."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from integration.plane import Running, decode
from unit.service.bad_json import BODIES, INSIDE, MEMBERS, with_member

pytestmark = pytest.mark.ray

PATIENCE_S = 20.0
KEY = b"Authorization: Bearer %s\r\n"
ROUTES = (
    "/access/v1/evaluation",
    "/access/v1/evaluations",
    "/v1/agents",
    "/v1/keys",
    "/v1/sessions",
    "/v1/bundles",
)


def question(agent: str) -> dict[str, object]:
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.pay"},
        "context": {"arguments": {"to": "a", "amount": 1}},
    }


@pytest.fixture(scope="module")
def agent(running: Running) -> str:
    name = f"bad-input-{time.monotonic_ns()}"
    running.client().request("POST", "/v1/agents", {"id": name})
    return name


@pytest.fixture(autouse=True)
def goes_on(running: Running, agent: str) -> Iterator[None]:
    """After each of these tests the service decides as before."""
    yield
    with running.http() as http:
        answer = http.post("/access/v1/evaluation", json=question(agent))
        assert answer.status_code == 200 and decode(answer)["decision"] is True
        assert http.get("/readyz").status_code == 200


def said(running: Running, *parts: bytes, closes: bool = False, to_the_end: bool = False) -> bytes:
    """Send bytes and read what comes, until a whole answer is there or the connection is closed.

    Args:
        closes: whether we say that nothing more will come; else it is for the other side to end it.
        to_the_end: read all answers, until the connection is closed.
    """
    with socket.create_connection(("127.0.0.1", running.settings.port), timeout=PATIENCE_S) as connection:
        found = b""
        try:
            for part in parts:
                connection.sendall(part)
            if closes:
                connection.shutdown(socket.SHUT_WR)
            deadline_s = time.monotonic() + PATIENCE_S
            while to_the_end or not _is_whole(found):
                assert time.monotonic() < deadline_s, f"neither an answer nor an end: {found!r}"
                piece = connection.recv(65_536)
                if not piece:
                    break
                found += piece
        except TimeoutError:
            raise AssertionError(f"neither an answer nor an end: {found!r}") from None
        except OSError:
            # Whoever does not read on may cut the connection before we have sent everything.
            pass
        return found


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and length is not None and len(body) >= int(length[1])


def refused(answer: bytes) -> None:
    """Nothing at all, or a 4xx that tells nothing of the inside."""
    if not answer:
        return
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer), answer[:400]
    _, _, body = answer.partition(b"\r\n\r\n")
    assert INSIDE.search(body.decode("latin-1")) is None, answer[:400]


def head(running: Running, *more: bytes, path: bytes = b"/access/v1/evaluation") -> bytes:
    lines = b"".join(line + b"\r\n" for line in more)
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + KEY % running.key.encode() + lines + b"\r\n"


GARBAGE = {
    "bytes": b"\x00\xff\xfe garbage \x01\r\n\r\n",
    "words": b"please let me in\r\n\r\n",
    "only a method": b"GET\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a version that is none": b"GET / HTTX/1.1\r\nHost: x\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
    "a header with a NUL": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "a very long line": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_request_is_refused_or_cut_off(running: Running, what: str) -> None:
    refused(said(running, GARBAGE[what], closes=True))


@pytest.mark.parametrize(
    "headers",
    [
        (b"X-Large: " + b"x" * 200_000,),
        tuple(b"X-%d: x" % number for number in range(2_000)),
        (b"X-Deadline-Ms: " + b"9" * 5_000,),
        (b"Content-Length: -1",),
        (b"Content-Length: abc",),
        (b"Content-Length: 5, 6",),
        (b"Content-Length: 5", b"Content-Length: 6"),
        (b"Content-Length: " + b"9" * 30,),
        (b"Content-Length: 2097152",),
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Content-Length: 10\r\n continued: yes",),
    ],
    ids=lambda headers: headers[0][:40].decode(),
)
def test_headers_that_are_too_large_or_contradict_each_other_are_refused(
    running: Running, headers: tuple[bytes, ...]
) -> None:
    refused(said(running, head(running, *headers), b"0\r\n\r\n", closes=True))


def test_a_body_in_chunks_without_end_is_refused_without_being_kept(running: Running) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = said(running, head(running, b"Transfer-Encoding: chunked"), *[chunk] * 40, b"0\r\n\r\n")
    refused(answer)
    assert not answer or b" 413 " in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("size", [b"zz", b"-5", b"ffffffffffffffffffff", b"5;" + b"x" * 1_000, b""])
def test_chunks_of_no_size_are_refused(running: Running, size: bytes) -> None:
    body = size + b"\r\nhello\r\n0\r\n\r\n"
    refused(said(running, head(running, b"Transfer-Encoding: chunked"), body, closes=True))


def test_a_body_that_breaks_off_decides_nothing(running: Running) -> None:
    agent = f"broken-off-{time.monotonic_ns()}"
    running.client().request("POST", "/v1/agents", {"id": agent})
    body = json.dumps(question(agent)).encode()
    refused(said(running, head(running, b"Content-Length: %d" % (len(body) + 10)), body, closes=True))
    # Nor what is longer than was said: its rest is a request of its own, and garbage.
    answer = said(running, head(running, b"Content-Length: %d" % (len(body) - 5)), body, closes=True)
    refused(answer)
    running.wait_until_landed()
    assert running.table_rows(
        f"SELECT count(*) AS n FROM evidence WHERE agent_id = '{agent}' AND event_type = 'decision'"
    ) == [{"n": 0}]


def test_garbage_behind_a_good_request_is_none_of_its_business(running: Running, agent: str) -> None:
    body = json.dumps(question(agent)).encode()
    good = head(running, b"Content-Length: %d" % len(body)) + body
    answer = said(running, good + b"\x00\x01 no request at all\r\n\r\n" + good, to_the_end=True)
    first, *rest = [part for part in re.split(rb"(?=HTTP/1\.1 \d)", answer) if part]
    assert first.startswith(b"HTTP/1.1 200") and b'"decision":true' in first, answer
    # What follows the garbage is read by nobody.
    assert len(rest) <= 1
    for other in rest:
        refused(other)


def test_json_that_two_readers_could_read_differently_is_refused_over_http_as_well(running: Running) -> None:
    with running.http() as http:
        for route in ROUTES:
            for name, member in MEMBERS.items():
                answer = http.post(route, content=with_member(question("nobody"), member))
                assert answer.status_code == 400, (route, name, answer.text[:300])
                assert decode(answer)["error"]["code"] == "invalid_request"
                assert INSIDE.search(answer.text) is None
            for name, body in BODIES.items():
                answer = http.post(route, content=body)
                assert (answer.status_code, decode(answer)["error"]["code"]) == (400, "invalid_request"), name


def test_a_body_that_is_too_large_is_refused_over_http(running: Running) -> None:
    with running.http() as http:
        for route in ROUTES[:-1]:
            answer = http.post(route, content=b'{"x":"' + b"x" * (1 << 20) + b'"}')
            assert (answer.status_code, decode(answer)["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_without_a_key_every_path_is_a_401(running: Running, method: str) -> None:
    for path in (
        *ROUTES,
        "/",
        "/v1/nothing",
        "/v1/../v1/agents",
        "/%00",
        "/%2e%2e/etc/passwd",
        "/v1/agents/%ff",
    ):
        answer = httpx.request(method, running.url + path, trust_env=False, timeout=PATIENCE_S)
        assert answer.status_code == 401, (path, answer.text)
        assert decode(answer)["error"]["code"] == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
