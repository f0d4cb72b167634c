"""What the supervisor makes of the answers at the door."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from controlplane.lifecycle.readiness import Readiness, ask

Serve = Callable[[int, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(status: int, body: bytes) -> str:
        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Door)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "readiness", "reason"),
    [
        (200, b'{"status": "ready"}', Readiness.READY, ""),
        (503, b'{"status": "starting", "reason": "no lease"}', Readiness.STARTING, "no lease"),
        (
            503,
            b'{"status": "starting", "hosts": {"host-000": "ready", "host-001": "starting"}}',
            Readiness.STARTING,
            "not ready: host-001",
        ),
        (503, b'{"status": "starting"}', Readiness.STARTING, "says that it is not ready"),
        (500, b"{}", Readiness.SILENT, "answered 500"),
        (503, b"{}", Readiness.SILENT, "answered 503"),
        (404, b"Path '/readyz' not found.", Readiness.SILENT, "is not our service"),
        (200, b"<html>", Readiness.SILENT, "is not our service"),
    ],
)
def test_only_our_own_200_is_ready(
    serve: Serve, status: int, body: bytes, readiness: Readiness, reason: str
) -> None:
    answer = ask(serve(status, body))
    assert answer.readiness is readiness
    assert reason in answer.reason


def test_parts_that_do_not_answer_behind_a_service_that_does_are_named(serve: Serve) -> None:
    body = b"""{"status": "ready", "hosts": {"host-000": "ready", "host-001": "owner_timeout"},
                "evidence": "owner_failed", "notifier": "owner_unreachable"}"""
    assert ask(serve(200, body)).silent == ("host-001", "evidence writer", "notifier")
    assert (
        ask(serve(200, b'{"status": "ready", "hosts": {}, "evidence": "ready", "notifier": "ready"}')).silent
        == ()
    )


def test_nobody_at_the_door_is_silence() -> None:
    answer = ask("http://127.0.0.1:1")
    assert answer.readiness is Readiness.SILENT
    assert "no answer from http://127.0.0.1:1" in answer.reason
