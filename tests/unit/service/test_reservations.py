"""Rules over all of an agent's sessions, through the real doors: the agent's home and the workflow's owner are two."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import Answer, InProcessPlane, in_process_plane, question
from unit.service.test_delegation import HELPER, PLANNER, child, opened, token

from actors import reservation_journal
from actors.placement import host_name
from controlplane.service.settling import Settling

WORK, HOME = 0, 1  # where the planner's workflows live; where the helper does
POLICY = """
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal}
  dlp.scan: {effects: [], data: [], boundary: internal}
  mail.send: {effects: [send], data: [], boundary: external}
  bank.pay: {effects: [pay], data: [], boundary: external}
---
kind: Policy
name: p
define:
  reads: {on: {data: pii}}
  sends: {on: {effect: send}}
  scanned: {on: {tool: dlp.scan}}
rules:
  - {id: all, then: allow}
  - {id: thrice, on: {tool: bank.pay}, limit: {count: actions, per: 24h, scope: agent, above: 3}, then: deny}
  - {id: no-send-after-read, past: 'sends and once reads', then: deny}
  - {id: scan-first, on: {tool: mail.send}, past: 'not once[10m] done(scanned)', scope: agent, then: deny}
"""


@contextmanager
def made(folder: Path, *, channels: bool) -> Iterator[InProcessPlane]:
    with in_process_plane(folder, channels=channels) as plane:
        plane.activate(POLICY)
        for agent in (PLANNER, HELPER):
            plane.register(agent)
        yield plane


@pytest.fixture(params=[False, True], ids=["calls", "sockets"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[InProcessPlane]:
    with made(tmp_path, channels=request.param) as plane:
        yield plane


@pytest.fixture
def by_calls(tmp_path: Path) -> Iterator[InProcessPlane]:
    """One whose owners are disturbed: in one process a socket outlives its owner."""
    with made(tmp_path, channels=False) as plane:
        yield plane


def pay(plane: InProcessPlane, session: str | None = None, **more: Any) -> Answer:
    context = more if session is None else {"session": session, **more}
    return plane.ask(HELPER, "bank.pay", **context)


def held(plane: InProcessPlane) -> int:
    """How many reservations are open."""

    def count() -> int:
        owner = plane.host(HOME)._owner
        assert owner is not None
        return len(reservation_journal.open_of_agent(owner.journal, f"default/agent/{HELPER}"))

    return plane.do(count)


def wait_settled(plane: InProcessPlane) -> None:
    def nothing_open() -> bool:
        home, work = plane.host(HOME)._owner, plane.host(WORK)._owner
        if home is None or work is None or not (home.journal.usable and work.journal.usable):
            return False
        waiting = work.journal.read("SELECT count(*) FROM settlements WHERE waits")[0][0]
        return not waiting and not home.journal.read("SELECT 1 FROM reservations WHERE verdict IS NULL")

    plane.wait_until(nothing_open, "everything to be settled")


def test_one_budget_for_all_sessions_of_an_agent_wherever_they_live(plane: InProcessPlane) -> None:
    first, second = child(plane, opened(plane)), child(plane, opened(plane))
    assert [pay(plane, one).permits for one in (first, None, second)] == [True, True, True]
    for session in (first, None, second, opened(plane, HELPER)):
        assert pay(plane, session).reason == "rule_deny"
    wait_settled(plane)
    shown = plane.send("GET", f"/v1/agents/{HELPER}").json
    (uses,) = [edge for edge in shown["graph"]["edges"] if edge["to"] == ["tool", "bank.pay"]]
    assert uses["count"] == 3


def test_what_was_denied_there_does_not_count_for_the_next_action(plane: InProcessPlane) -> None:
    session = child(plane, opened(plane), tools=["bank.*", "mail.*"])
    for _ in range(5):
        # The home finds nothing against it, and the workflow's owner does.
        assert plane.ask(HELPER, "dlp.scan", session=session).reason == "outside_delegation"
        assert plane.ask(HELPER, "mail.send", session=session).reason == "rule_deny"
    ended = child(plane, opened(plane))
    plane.send("POST", f"/v1/sessions/{ended}/end")
    for _ in range(5):
        assert pay(plane, ended).reason == "session_ended"
    assert held(plane) == 0
    assert [pay(plane, session).permits for _ in range(4)] == [True, True, True, False]


def test_a_replay_and_a_dry_run_hold_nothing(plane: InProcessPlane) -> None:
    session = child(plane, opened(plane))
    answers = [pay(plane, session, idempotency_key="once") for _ in range(5)]
    assert all(answer.permits for answer in answers) and answers[-1].json["context"]["replayed"]
    conflict = pay(plane, session, idempotency_key="once", arguments={"x": 1})
    assert conflict.status == 409
    for _ in range(5):
        assert pay(plane, session, dry_run=True).json["context"]["reason_code"] == "rule_allow"
    assert [pay(plane, session).permits for _ in range(3)] == [True, True, False]
    assert pay(plane, session, dry_run=True).json["context"]["reason_code"] == "rule_deny"
    wait_settled(plane)


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, True, False, True, False]),
        ("deny_on_first_deny", [True, True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_a_batch_sees_what_it_did_itself(plane: InProcessPlane, semantic: str, expected: list[bool]) -> None:
    root = opened(plane)
    session = child(plane, root)
    pay(plane)
    items = [
        question(HELPER, "bank.pay", session=session),
        question(HELPER, "bank.pay", session=session),
        question(HELPER, "bank.pay", session=session),
        question(PLANNER, "bank.pay", session=root),
        question(HELPER, "bank.pay", session=session),
    ]
    body = {"evaluations": items, "options": {"evaluations_semantic": semantic}}
    answers = plane.send("POST", "/access/v1/evaluations", body).json["evaluations"]
    assert [answer["decision"] for answer in answers] == expected
    wait_settled(plane)
    left = 3 - 1 - sum(expected[:3])
    assert [pay(plane, session).permits for _ in range(left + 1)] == [True] * left + [False]


def test_an_outcome_reported_there_is_done_at_home_at_once(plane: InProcessPlane) -> None:
    session = child(plane, opened(plane))
    scan = plane.ask(HELPER, "dlp.scan", session=session)
    assert plane.ask(HELPER, "mail.send").reason == "rule_deny"
    identity = scan.json["context"]["id"]
    report = plane.send("POST", f"/v1/decisions/{identity}/outcome", {"status": "succeeded"})
    assert (report.status, sorted(report.json)) == (200, ["decision", "findings", "outcome"])
    assert plane.ask(HELPER, "mail.send").permits
    assert plane.ask(HELPER, "mail.send", session=session).permits


def test_what_no_replica_could_tell_is_settled_in_the_background(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settling, "_enqueue", lambda *_: None)
    session = child(plane, opened(plane))
    scan = plane.ask(HELPER, "dlp.scan", session=session)
    identity = scan.json["context"]["id"]
    plane.send("POST", f"/v1/decisions/{identity}/outcome", {"status": "succeeded"})
    assert pay(plane, session).permits and held(plane) == 2
    plane.clocks.pass_s(6)
    plane.renew_leases()
    wait_settled(plane)
    assert plane.ask(HELPER, "mail.send").permits


def test_a_workflows_owner_that_dies_between_leaves_the_action_undecided_and_nothing_open(
    by_calls: InProcessPlane,
) -> None:
    session = child(by_calls, opened(by_calls))
    by_calls.do(lambda: by_calls.actors.dead.add(host_name(WORK)))
    for _ in range(3):
        assert pay(by_calls, session).status == 503
    assert held(by_calls) == 3
    assert pay(by_calls).reason == "rule_deny"  # nobody knows
    by_calls.do(by_calls.actors.dead.clear)
    by_calls.restart_host(WORK)
    by_calls.clocks.pass_s(6)
    by_calls.renew_leases()
    wait_settled(by_calls)
    assert [pay(by_calls, session).permits for _ in range(4)] == [True, True, True, False]


def test_a_home_that_restarts_knows_what_it_held(by_calls: InProcessPlane) -> None:
    session = child(by_calls, opened(by_calls))
    assert pay(by_calls, session).permits
    by_calls.restart_host(HOME)
    assert [pay(by_calls, session).permits for _ in range(3)] == [True, True, False]
    wait_settled(by_calls)


def test_owners_with_different_bundles_permit_nothing_and_hold_nothing(by_calls: InProcessPlane) -> None:
    session = child(by_calls, opened(by_calls))
    home = by_calls.host(HOME)

    async def nothing(*_: object) -> bool:
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "activate", nothing)
        patch.setattr(home, "_follow", nothing)
        other = POLICY + "  - {id: other, on: {tool: bank.*}, then: allow}\n"
        body = {"sources": [{"name": "b.yaml", "text": other}], "activate": True}
        assert by_calls.send("POST", "/v1/bundles", body).json["lagging"] == [host_name(HOME)]
        answer = pay(by_calls, session)
        assert not answer.permits and answer.code == "bundle_changing" and held(by_calls) == 0, answer
    by_calls.wait_until(lambda: pay_ready(by_calls), "both owners to change")
    assert [pay(by_calls, session).permits for _ in range(4)] == [True, True, True, False]
    wait_settled(by_calls)


def pay_ready(plane: InProcessPlane) -> bool:
    owners = [plane.host(index)._owner for index in range(2)]
    return all(one is not None and one.activation == plane.host(WORK)._directory.activation for one in owners)


def test_of_many_at_once_no_more_are_permitted_than_may_be(plane: InProcessPlane) -> None:
    sessions = [child(plane, opened(plane)) for _ in range(4)]
    second = plane.new_replica()
    plane.run(second._fleet.refresh())

    async def race() -> list[Answer]:
        replicas = [plane.application, second]
        bodies = [question(HELPER, "bank.pay", session=one) for one in (*sessions, None) if one]
        bodies.append(question(HELPER, "bank.pay"))
        return await asyncio.gather(
            *(
                plane.exchange("POST", "/access/v1/evaluation", body, application=replicas[n % 2])
                for n in range(8)
                for body in bodies
            )
        )

    answers = plane.run(race())
    permitted = sum(answer.permits for answer in answers)
    assert {answer.status for answer in answers} == {200} and 1 <= permitted <= 3
    wait_settled(plane)
    left = 3 - permitted
    assert [pay(plane).permits for _ in range(left + 1)] == [True] * left + [False]


def test_a_workflow_never_sends_what_it_has_read_whoever_races(plane: InProcessPlane) -> None:
    scan = plane.ask(HELPER, "dlp.scan").json["context"]["id"]
    plane.send("POST", f"/v1/decisions/{scan}/outcome", {"status": "succeeded"})
    workflows = []
    for _ in range(20):
        root = opened(plane)
        workflows.append((root, opened(plane, HELPER, parent=token(plane, root))))

    async def race() -> None:
        bodies = [
            body
            for root, session in workflows
            for body in (
                question(PLANNER, "crm.read", session=root),
                question(HELPER, "mail.send", session=session),
            )
        ]
        await asyncio.gather(*(plane.exchange("POST", "/access/v1/evaluation", body) for body in bodies))

    plane.run(race())
    seen: dict[str, list[tuple[str, bool]]] = {}
    for row in plane.decision_rows():
        if row["resource_id"] in ("crm.read", "mail.send"):
            seen.setdefault(row["workflow_id"], []).append((row["resource_id"], row["decision"] == "allow"))
    assert len(seen) == 20
    for order in seen.values():
        assert order != [("crm.read", True), ("mail.send", True)], order
        assert ("crm.read", True) in order
