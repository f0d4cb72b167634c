"""A real S3-compatible server (moto's) on loopback, which can be made slow, refuse, forget conditions and be gone."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

BUCKET = "evidence-bucket"
REGION = "eu-central-1"
SECRET = "wJalrXUtnFEMI-this-must-be-seen-nowhere"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `key` is without the bucket; `condition` is its If-None-Match."""

    method: str
    key: str
    condition: str | None


class _Handler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are told by `S3Server.asked`."""


class S3Server:
    """Its objects outlive `stop`: a server that comes back has what it had.

    Attributes:
        asked: what it was asked for, in order.
        trouble: asked before a request is served; a status such as 503 = refused with that.
        trouble_after: asked once it has been served; a status = answered with that all the same.
        forgets_conditions: it serves a conditional PUT as if it were none, as some stores do.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.trouble: Callable[[Asked], int | None] = lambda asked: None
        self.trouble_after: Callable[[Asked], int | None] = lambda asked: None
        self.forgets_conditions = False
        self._application = DomainDispatcherApplication(create_backend_app)
        self._port = 0
        self._server: BaseWSGIServer | None = None
        self._thread = threading.Thread()
        self.start()
        self.client.create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def client(self) -> Any:
        return _client_of(self.url)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in order to reach it."""
        return environment_of(self.url)

    def start(self) -> None:
        self._server = make_server("127.0.0.1", self._port, self._serve, True, request_handler=_Handler)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def close(self) -> None:
        """Forget everything: moto keeps its state beside the server."""
        self.stop()
        get_backend("s3").reset()

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        key = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").removeprefix("/")
        asked = Asked(environ["REQUEST_METHOD"], key, environ.get("HTTP_IF_NONE_MATCH"))
        self.asked.append(asked)
        if (status := self.trouble(asked)) is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _refused(status, start_response)
        if self.forgets_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        told: list[Any] = []
        answer = list(self._application(environ, lambda *arguments: told.append(arguments)))
        if (status := self.trouble_after(asked)) is not None:
            return _refused(status, start_response)
        start_response(*told[0])
        return answer


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with an empty bucket, which this process and those that it starts know how to reach."""
    server = S3Server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving_apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same in a process of its own, for calls of delta-rs that keep Python's lock until they are answered
    (`set_table_properties`): a server in this process could not answer them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name, value in environment_of(f"http://127.0.0.1:{port}").items():
            monkeypatch.setenv(name, value)
        _client_of(f"http://127.0.0.1:{port}", retries=30).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield
    finally:
        server.kill()
        server.wait()


def environment_of(url: str) -> dict[str, str]:
    """What a process needs in order to reach a server."""
    return {
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _client_of(url: str, *, retries: int = 0) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="operator",
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": retries + 1}, connect_timeout=1),
    )


def _refused(status: int, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{status} Trouble", [("Content-Type", "application/xml")])
    return [b"<Error><Code>SlowDown</Code><Message>please slow down</Message></Error>"]
