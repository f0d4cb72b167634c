"""The AuthZEN todo interop over HTTP: plain AuthZEN requests of users, against the running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.plane import Running, decode

pytestmark = pytest.mark.ray

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "authzen" / "todo-decisions.json"

# The fifth group of the PID tells the users apart (the vectors' README).
USERS = {
    "CiRmZDA2": ("rick@the-citadel.com", ["admin", "evil_genius"]),
    "CiRmZDE2": ("morty@the-citadel.com", ["editor"]),
    "CiRmZDI2": ("summer@the-smiths.com", ["editor"]),
    "CiRmZDM2": ("beth@the-smiths.com", ["viewer"]),
    "CiRmZDQ2": ("jerry@the-smiths.com", ["viewer"]),
}


@pytest.fixture(scope="module")
def vectors(running: Running) -> dict[str, Any]:
    if not VECTORS.exists():
        pytest.skip("the AuthZEN interop vectors are not at ../shared/vectors/authzen")
    found: dict[str, Any] = json.loads(VECTORS.read_text())
    client = running.client()
    for identity in {case["request"]["subject"]["id"] for case in found["evaluation"]}:
        email, roles = USERS[identity[:8]]
        client.request(
            "POST", "/v1/principals", {"id": identity, "roles": roles, "attributes": {"email": email}}
        )
    return found


def test_each_evaluation_gets_the_expected_decision(running: Running, vectors: dict[str, Any]) -> None:
    key = running.client().request("POST", "/v1/keys", {"role": "gateway", "subjects": ["user:*"]})["key"]
    with running.http(key) as http:
        for case in vectors["evaluation"]:
            answer = decode(http.post("/access/v1/evaluation", json=case["request"]))
            assert answer["decision"] is case["expected"], (case, answer)


def test_each_batch_gets_the_expected_decisions(running: Running, vectors: dict[str, Any]) -> None:
    with running.http() as http:
        for case in vectors["evaluations"]:
            answer = decode(http.post("/access/v1/evaluations", json=case["request"]))
            found = [{"decision": item["decision"]} for item in answer["evaluations"]]
            assert found == case["expected"], (case, answer)


def test_a_user_whom_nobody_registered_is_denied(running: Running) -> None:
    request = {
        "subject": {"type": "user", "id": "somebody"},
        "action": {"name": "can_read_todos"},
        "resource": {"type": "todo", "id": "todo-1"},
    }
    with running.http() as http:
        answer = decode(http.post("/access/v1/evaluation", json=request))
    assert (answer["decision"], answer["context"]["reason_code"]) == (False, "unknown_subject")
