"""A control plane that only remembers what it was asked, and the command line run against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner, Result
from unit.cli.fake_control_plane import KEY, FakeControlPlane

from controlplane.cli.app import app


@pytest.fixture
def remote() -> Iterator[FakeControlPlane]:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append((self.command, self.path, body))
            missing = {"error": {"code": "not_found", "message": f"no `{self.path}`"}}
            status, answer = fake.answers.get((self.command, self.path), (404, missing))
            if self.headers["authorization"] != f"Bearer {KEY}":
                status, answer = 401, {"error": {"code": "unauthenticated", "message": "unknown key"}}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    fake = FakeControlPlane(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line without anything from this machine's environment."""
    for name in ("CONTROLPLANE_DATA", "CONTROLPLANE_URL", "CONTROLPLANE_KEY"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *words: runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def ask(remote: FakeControlPlane, run: Callable[..., Result]) -> Callable[..., Result]:
    """Run a command against the fake control plane."""
    return lambda *words: run(*words, "--url", remote.url, "--key", KEY)
