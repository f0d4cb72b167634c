"""The decisions of the AuthZEN todo interop, from the engine in process (foreign vectors, our policies)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policies.action import Action, Resource, Subject
from policies.bundle import Bundle
from policies.compile import compile_bundle
from policies.effect import Effect
from policies.loader import Source, load_documents
from policies.prepare import Preparer
from policies.stories import run_stories
from policies.verdict import decide

HERE = Path(__file__).parent
VECTORS = HERE.parents[1].parent / "shared" / "vectors" / "authzen" / "todo-decisions.json"

# The fifth group of the PID tells the users apart (vectors/README.md).
USERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CiRmZDA2": ("rick@the-citadel.com", ("admin", "evil_genius")),
    "CiRmZDE2": ("morty@the-citadel.com", ("editor",)),
    "CiRmZDI2": ("summer@the-smiths.com", ("editor",)),
    "CiRmZDM2": ("beth@the-smiths.com", ("viewer",)),
    "CiRmZDQ2": ("jerry@the-smiths.com", ("viewer",)),
}


def sources() -> list[Source]:
    return [Source(name=path.name, text=path.read_text()) for path in sorted((HERE / "todo").glob("*.yaml"))]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_bundle(load_documents(sources()))


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    if not VECTORS.exists():
        pytest.skip("the AuthZEN interop vectors are not at ../shared/vectors/authzen")
    found: dict[str, Any] = json.loads(VECTORS.read_text())
    return found


def permitted(bundle: Bundle, preparer: Preparer, request: dict[str, Any]) -> bool:
    subject = request["subject"]
    email, roles = USERS[subject["id"][:8]]
    action = Action(
        tenant="default",
        subject=Subject(type=subject["type"], id=subject["id"], roles=roles, attributes={"email": email}),
        name=request["action"]["name"],
        resource=Resource(
            type=request["resource"]["type"],
            id=request["resource"]["id"],
            properties=request["resource"].get("properties", {}),
        ),
        now_us=0,
    )
    prepared = preparer.prepare(action)
    verdict = decide(
        bundle, possibly=prepared.possibly, certainly=prepared.certainly, refusal=prepared.refusal
    )
    return verdict.effect is Effect.ALLOW


def test_each_evaluation_of_the_interop_gets_the_expected_decision(
    bundle: Bundle, vectors: dict[str, Any]
) -> None:
    preparer = Preparer(bundle)
    cases = vectors["evaluation"]
    assert len(cases) >= 40
    wrong = [case for case in cases if permitted(bundle, preparer, case["request"]) != case["expected"]]
    assert not wrong


def test_each_item_of_a_batch_gets_the_expected_decision(bundle: Bundle, vectors: dict[str, Any]) -> None:
    preparer = Preparer(bundle)
    for batch in vectors["evaluations"]:
        shared = {key: value for key, value in batch["request"].items() if key != "evaluations"}
        found = [permitted(bundle, preparer, {**shared, **item}) for item in batch["request"]["evaluations"]]
        assert found == [item["decision"] for item in batch["expected"]]


def test_the_stories_of_the_bundle_pass_and_reach_every_rule() -> None:
    documents = load_documents(sources())
    report = run_stories(compile_bundle(documents), documents.tests)
    assert report.failures == ()
    assert report.never_matched == ()
