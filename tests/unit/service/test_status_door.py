"""/v1/status names the owners that do not decide with the active bundle, also those that say nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from controlplane.errors import UnavailableError
from controlplane.service.fleet import Fleet
from controlplane.service.management import status
from controlplane.service.management.status import StatusDoor

HOSTS = [f"host-{n:03}" for n in range(3)]


def asked(monkeypatch: pytest.MonkeyPatch, active: str | None, bundles: dict[str, str | None]) -> Any:
    """What the door answers over hosts that decide with these bundles; who is not among them is silent."""

    async def answer(name: str, method: str, timeout_s: float) -> dict[str, Any]:
        if name in HOSTS and name not in bundles:
            raise UnavailableError(f"`{name}` did not answer", code="owner_timeout")
        return {"name": name, "pending_rows": 2, "bundle": bundles.get(name)}

    monkeypatch.setattr(status, "call_actor", answer)
    fleet = Fleet(len(HOSTS))
    fleet.directory.apply(1, (active, 1), [], sent_s=0.0)
    (route,) = StatusDoor(fleet).routes()
    reply = asyncio.run(route.door(None))  # type: ignore[arg-type]
    return json.loads(reply.body)


@pytest.mark.parametrize(
    ("active", "bundles", "lagging"),
    [
        ("b", {"host-000": "b", "host-001": "b", "host-002": "b"}, []),
        ("b", {"host-000": "b", "host-001": "a", "host-002": None}, ["host-001", "host-002"]),
        ("b", {"host-000": "b", "host-001": "b"}, ["host-002"]),
        (None, {"host-000": None, "host-001": None, "host-002": None}, []),
    ],
)
def test_who_does_not_decide_with_the_active_bundle_is_named(
    monkeypatch: pytest.MonkeyPatch, active: str | None, bundles: dict[str, str | None], lagging: list[str]
) -> None:
    shown = asked(monkeypatch, active, bundles)
    assert (shown["bundle"], shown["lagging"]) == (active, lagging)
    assert [host["name"] for host in shown["hosts"]] == HOSTS
    assert shown["evidence"]["pending_rows"] == 2 * len(bundles) + 2
