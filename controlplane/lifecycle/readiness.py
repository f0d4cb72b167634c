"""What the decision endpoint says of itself. Standard library only: it is asked every second, and before ray loads."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

SILENT = frozenset({"owner_unreachable", "owner_timeout", "owner_failed"})
"""What /readyz says of an actor that does not answer."""


class Readiness(StrEnum):
    READY = "ready"
    STARTING = "starting"
    """The service answers, and says that it is not ready."""
    SILENT = "silent"
    """Nobody answers, or not our service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Args:
    body: the JSON object of GET /readyz, empty when silent.
    reason: why it is not ready, in words.
    """

    readiness: Readiness
    reason: str = ""
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """What does not answer behind a service that does, though its node is there: hosts, writer, notifier."""
        hosts = self.body.get("hosts")
        parts = dict(hosts) if isinstance(hosts, dict) else {}
        parts["evidence writer"] = self.body.get("evidence")
        parts["notifier"] = self.body.get("notifier")
        return tuple(name for name, state in parts.items() if state in SILENT)


def ask(url: str, *, timeout_s: float = 2.0) -> Answer:
    """GET /readyz once; never raises."""
    try:
        status, body = get_json(url, "/readyz", timeout_s=timeout_s)
    except ValueError:
        return Answer(readiness=Readiness.SILENT, reason=f"what answers at {url} is not our service")
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        return Answer(readiness=Readiness.SILENT, reason=f"no answer from {url}: {why}")
    match status:
        case 200:
            return Answer(readiness=Readiness.READY, body=body)
        case 503 if "status" in body:
            return Answer(readiness=Readiness.STARTING, reason=_why(body), body=body)
        case _:
            return Answer(readiness=Readiness.SILENT, reason=f"/readyz answered {status}")


def get_json(url: str, path: str, *, timeout_s: float, key: str | None = None) -> tuple[int, dict[str, Any]]:
    """Raises: OSError, http.client.HTTPException: no answer; ValueError: not JSON."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        response = connection.getresponse()
        body = json.loads(response.read(1 << 20))
    finally:
        connection.close()
    return response.status, body if isinstance(body, dict) else {}


def _why(body: dict[str, Any]) -> str:
    if reason := body.get("reason"):
        return str(reason)
    hosts = body.get("hosts")
    missing = [name for name, state in hosts.items() if state != "ready"] if isinstance(hosts, dict) else []
    return f"not ready: {', '.join(missing)}" if missing else "the service says that it is not ready"
