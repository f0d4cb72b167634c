from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.evidence.s3_server import BUCKET, SECRET, S3Server, serving
from unit.service.in_process_plane import InProcessPlane, in_process_plane

from controlplane.service.management import privacy
from evidence.query import query

PLACE = f"s3://{BUCKET}/fleet/decisions"
POLICY = """
kind: Catalog
tools:
  ledger.pay:
    {system: ledger, effects: [pay], boundary: external, data: [], args: {to: {type: string}, amount: {type: decimal}}}
systems: {ledger: {jurisdiction: EU}}
---
kind: Policy
name: everyday
rules: [{id: pay, on: {tool: ledger.pay}, then: allow}]
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving(monkeypatch) as server:
        yield server


def until(condition: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, f"waited for {what}"
        time.sleep(0.05)


def status(plane: InProcessPlane) -> dict[str, Any]:
    evidence: dict[str, Any] = plane.send("GET", "/v1/status").json["evidence"]
    return evidence


def decided(plane: InProcessPlane) -> list[str]:
    rows = query(PLACE, "SELECT event_id FROM evidence WHERE event_type = 'decision'").to_pylist()
    return sorted(row["event_id"] for row in rows)


def test_decisions_go_on_while_the_store_is_gone_and_land_once_when_it_is_back(
    server: S3Server, tmp_path: Path
) -> None:
    with in_process_plane(tmp_path, evidence=PLACE) as plane:
        body = {"sources": [{"name": "p.yaml", "text": POLICY}], "activate": True}
        assert plane.send("POST", "/v1/bundles", body).status == 201
        assert plane.send("POST", "/v1/agents", {"id": "bot"}).status == 201
        ids = [plane.ask().json["context"]["id"] for _ in range(20)]
        until(lambda: status(plane)["pending_rows"] == 0, "evidence to land")
        assert decided(plane) == sorted(ids)

        server.stop()
        more = [plane.ask() for _ in range(20)]
        assert all(answer.json["decision"] is True for answer in more)
        until(lambda: "table" in status(plane)["trouble"], "the trouble to be told")
        assert "s3://" in status(plane)["trouble"]["table"]
        assert SECRET not in str(status(plane))
        assert status(plane)["pending_rows"] >= 20

        server.start()
        until(lambda: status(plane)["pending_rows"] == 0, "evidence to land again")
        assert decided(plane) == sorted([*ids, *(answer.json["context"]["id"] for answer in more)])
        assert status(plane)["trouble"] == {}


ENCRYPTING = POLICY.replace(
    "amount: {type: decimal}}}",
    "amount: {type: decimal}},\n     evidence: {subject: payee:acme, arguments: {/to: encrypt}}}",
)


def test_what_is_encrypted_is_revealed_through_the_writer_which_alone_reaches_the_store(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_process_plane(tmp_path, evidence=PLACE) as plane:
        body = {"sources": [{"name": "p.yaml", "text": ENCRYPTING}], "activate": True}
        assert plane.send("POST", "/v1/bundles", body).status == 201
        assert plane.send("POST", "/v1/agents", {"id": "bot"}).status == 201
        decision = plane.ask(arguments={"to": "DE89", "amount": 1}).json["context"]["id"]
        until(lambda: status(plane)["pending_rows"] == 0, "evidence to land")

        def no_access(*_: object) -> None:
            raise OSError("a replica has no credentials of the store")

        monkeypatch.setattr(privacy, "find_event", no_access)
        shown = plane.send("POST", f"/v1/evidence/{decision}/reveal", {"reason": "complaint"})
        assert shown.json["arguments"] == {"/to": "DE89"}
        gone = plane.send("POST", "/v1/evidence/01a20461-44aa-761c-8000-029521cbf8a7/reveal", {"reason": "x"})
        assert gone.status == 404
