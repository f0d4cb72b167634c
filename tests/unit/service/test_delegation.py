"""Delegation across hosts, through the real doors: who may use a token, who decides, and what a lost home does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import (
    CATALOG_AND_POLICY,
    WORKFLOWS,
    Answer,
    InProcessPlane,
    in_process_plane,
    question,
)

from actors.ids import delegation_ordinal, ordinal_of_decision, session_ordinal
from actors.placement import host_name, host_of


def agents_of(host: int, stem: str) -> list[str]:
    return [f"{stem}-{n}" for n in range(40) if host_of(f"default/agent/{stem}-{n}", 2) == host]


PLANNER, SECOND, *_ = agents_of(0, "planner")  # their home is the workflows' owner
HELPER, STRANGER, *_ = agents_of(1, "helper")  # their home is elsewhere
POLICY = CATALOG_AND_POLICY + "  - {id: blocked, on: {agent_label: blocked}, then: deny, because: blocked}\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        prepare(plane)
        yield plane


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[InProcessPlane]:
    """A plane that a test disturbs."""
    with in_process_plane(tmp_path) as plane:
        prepare(plane)
        yield plane


def prepare(plane: InProcessPlane) -> None:
    plane.activate(POLICY)
    for agent in (PLANNER, SECOND, HELPER, STRANGER):
        plane.register(agent)


def opened(plane: InProcessPlane, agent: str = PLANNER, **more: Any) -> str:
    answer = plane.send("POST", "/v1/sessions", {"agent": agent, **more})
    assert answer.status == 201, answer
    return str(answer.json["session"])


def token(plane: InProcessPlane, session: str, to: str = HELPER, **more: Any) -> str:
    answer = plane.send("POST", "/v1/delegations", {"session": session, "to": to, **more})
    assert answer.status == 201, answer
    return str(answer.json["token"])


def child(plane: InProcessPlane, session: str, to: str = HELPER, **more: Any) -> str:
    return opened(plane, to, parent=token(plane, session, to, **more))


def rows(plane: InProcessPlane, where: str) -> list[dict[str, Any]]:
    plane.decision_rows()  # waits until all has landed
    from evidence.query import query

    found: list[dict[str, Any]] = query(
        str(plane.evidence), f"SELECT * FROM evidence WHERE {where} ORDER BY log_id, seq"
    ).to_pylist()
    return found


def test_a_child_whose_home_is_elsewhere_is_decided_where_its_workflow_lives(shared: InProcessPlane) -> None:
    root = opened(shared, principal="user:ada", task="pay the rent")
    given = shared.send("POST", "/v1/delegations", {"session": root, "to": HELPER, "tools": ["ledger.*"]})
    assert given.status == 201 and given.json.keys() == {
        "token", "to", "tools", "depth", "principal", "expires_at",
    }  # fmt: skip
    assert (given.json["to"], given.json["tools"], given.json["depth"]) == (HELPER, ["ledger.*"], 0)
    assert delegation_ordinal(given.json["token"]) == 0
    key = shared.make_key(role="agent", agents=[HELPER])[1]
    answer = shared.send("POST", "/v1/sessions", {"agent": HELPER, "parent": given.json["token"]}, key=key)
    assert answer.status == 201, answer
    session = answer.json["session"]
    assert session_ordinal(session) == 0 and answer.json["principal"] == "user:ada"
    assert answer.json["expires_at"] == given.json["expires_at"]
    allowed = shared.ask(HELPER, key=key, session=session)
    assert allowed.permits, allowed
    identity = allowed.json["context"]["id"]
    assert ordinal_of_decision(identity) == 0
    assert shared.ask(HELPER, "mail.send", key=key, session=session).reason == "outside_delegation"
    # Its own sessions stay at home, and out of the workflow.
    assert ordinal_of_decision(shared.ask(HELPER, key=key).json["context"]["id"]) == 1
    shown = shared.send("GET", f"/v1/decisions/{identity}", key=key)
    assert shown.json["workflow"] == answer.json["workflow"]
    report = shared.send("POST", f"/v1/decisions/{identity}/outcome", {"status": "succeeded"}, key=key)
    assert report.status == 200
    assert shared.send("POST", f"/v1/sessions/{session}/end", key=key).status == 403
    assert shared.send("POST", f"/v1/sessions/{session}/end").json["actions"] == 1
    (row,) = rows(shared, f"event_id = '{identity}'")
    assert (row["parent_agent_id"], row["agent_id"]) == (PLANNER, HELPER)
    assert row["workflow_id"] == answer.json["workflow"] and row["log_id"].startswith("host-000")
    assert json.loads(row["authorization_boundary"])["principal"] == "user:ada"


def test_of_many_who_use_a_token_at_once_one_opens_a_session(shared: InProcessPlane) -> None:
    given = token(shared, opened(shared))
    second = shared.new_replica()
    shared.run(second._fleet.refresh())

    async def race() -> list[Answer]:
        body = {"agent": HELPER, "parent": given}
        replicas = [shared.application, second]
        return await asyncio.gather(
            *(shared.exchange("POST", "/v1/sessions", body, application=replicas[n % 2]) for n in range(20))
        )

    answers = shared.run(race())
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 19}
    assert {answer.code for answer in answers} == {None, "delegation_used"}


def test_a_token_is_for_one_agent_and_for_whoever_may_speak_for_it(shared: InProcessPlane) -> None:
    given = token(shared, opened(shared))
    other = shared.make_key(role="agent", agents=[STRANGER])[1]
    cases: list[tuple[dict[str, Any], str, int, str]] = [
        ({"agent": STRANGER, "parent": given}, other, 403, "foreign_delegation"),
        ({"agent": HELPER, "parent": given}, other, 403, "foreign_subject"),
        ({"agent": PLANNER, "parent": given}, "", 403, "foreign_delegation"),
        ({"agent": "nobody", "parent": given}, "", 404, "unknown_agent"),
        ({"agent": HELPER, "parent": given, "principal": "user:eve"}, "", 403, "principal_mismatch"),
        ({"agent": HELPER, "parent": given, "subject_type": "user"}, "", 400, "invalid_request"),
        ({"agent": HELPER, "parent": given[:-2] + "AA"}, "", 404, "unknown_delegation"),
        ({"agent": HELPER, "parent": "dlg_" + "_" * 42 + "8"}, "", 404, "unknown_delegation"),
        ({"agent": HELPER, "parent": "x"}, "", 404, "unknown_delegation"),
    ]
    for body, key, status, code in cases:
        answer = shared.send("POST", "/v1/sessions", body, key=key)
        assert (answer.status, answer.code) == (status, code), body
    assert shared.send("POST", "/v1/sessions", {"agent": HELPER, "parent": given}).status == 201


def test_what_is_asked_for_beyond_ones_own_is_refused_by_a_clear_code(shared: InProcessPlane) -> None:
    root = opened(shared, principal="user:ada")
    narrow = child(shared, root, tools=["ledger.*"], depth=1)
    last = child(shared, narrow, STRANGER, tools=["ledger.read"])
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"session": root, "depth": 16}, 403, "delegation_too_deep"),
        ({"session": narrow, "depth": 1}, 403, "delegation_too_deep"),
        ({"session": last}, 403, "delegation_too_deep"),
        ({"session": narrow, "tools": ["**"]}, 403, "outside_delegation"),
        ({"session": root, "principal": "user:eve"}, 403, "principal_mismatch"),
        ({"session": "ses_x"}, 404, "unknown_session"),
        ({"session": "ses_standing_" + "a" * 20}, 404, "unknown_session"),
    ]
    for body, status, code in cases:
        answer = shared.send("POST", "/v1/delegations", {"to": STRANGER, **body})
        assert (answer.status, answer.code) == (status, code), body
    assert shared.ask(STRANGER, "ledger.read", session=last).permits
    assert shared.ask(STRANGER, "ledger.pay", session=last).reason == "outside_delegation"


def test_a_users_session_acts_for_that_user_and_delegates_in_its_name(shared: InProcessPlane) -> None:
    shared.send("POST", "/v1/principals", {"type": "user", "id": "ada"})
    user = {"agent": "ada", "subject_type": "user"}
    answer = shared.send("POST", "/v1/sessions", user)
    assert (answer.status, answer.json["principal"]) == (201, "user:ada")
    assert shared.send("POST", "/v1/sessions", user | {"principal": "user:eve"}).code == "principal_mismatch"
    given = shared.send("POST", "/v1/delegations", {"session": answer.json["session"], "to": HELPER})
    assert given.json["principal"] == "user:ada"
    session = opened(shared, HELPER, parent=given.json["token"])
    identity = shared.ask(HELPER, session=session).json["context"]["id"]
    (row,) = rows(shared, f"event_id = '{identity}'")
    assert row["parent_agent_id"] == "ada" and '"user:ada"' in row["authorization_boundary"]


def test_a_gateway_with_workflows_says_the_principal_and_a_child_begins_no_workflow(
    shared: InProcessPlane,
) -> None:
    key = shared.make_key(role="gateway", agents=["*"], grants=WORKFLOWS)[1]
    root = shared.send("POST", "/v1/sessions", {"agent": PLANNER, "principal": "user:ada"}, key=key).json
    given = shared.send("POST", "/v1/delegations", {"session": root["session"], "to": HELPER}, key=key).json
    opened_ = shared.send("POST", "/v1/sessions", {"agent": HELPER, "parent": given["token"]}, key=key).json
    assert opened_["workflow"] == root["workflow"]


def test_a_parent_that_ends_ends_its_children_on_other_hosts(shared: InProcessPlane) -> None:
    root = opened(shared)
    below = child(shared, root, depth=1)
    lowest = child(shared, below, STRANGER)
    assert shared.ask(STRANGER, session=lowest).permits
    waiting = token(shared, root)
    assert shared.send("POST", f"/v1/sessions/{root}/end").status == 200
    assert shared.ask(HELPER, session=below).reason == "parent_ended"
    assert shared.ask(STRANGER, session=lowest).reason == "parent_ended"
    answer = shared.send("POST", "/v1/sessions", {"agent": HELPER, "parent": waiting})
    assert (answer.status, answer.code) == (409, "parent_ended")


def test_a_record_that_changed_at_home_counts_from_the_next_action_on(shared: InProcessPlane) -> None:
    session = child(shared, opened(shared), STRANGER)
    assert shared.ask(STRANGER, session=session).permits
    shared.register(STRANGER, labels=["blocked"], version="2.0")
    denied = shared.ask(STRANGER, session=session)
    assert denied.reason == "rule_deny"
    (row,) = rows(shared, f"event_id = '{denied.json['context']['id']}'")
    assert row["agent_version"] == "2.0"
    shared.register(STRANGER, labels=[])
    assert shared.ask(STRANGER, session=session).permits


def test_a_batch_of_one_workflow_is_decided_in_order_whoever_acts(shared: InProcessPlane) -> None:
    root = opened(shared)
    foreign, local = child(shared, root), child(shared, root, SECOND)
    shared.register(HELPER, version="3.0")  # what the replica knows is old
    items = [
        question(PLANNER, session=root),
        question(HELPER, session=foreign),
        question(SECOND, session=local),
        question(HELPER, session=foreign, arguments={"to": "x", "amount": 5000}),
        question(HELPER),  # its own session, at home
        question(PLANNER, session=root),
    ]
    answers = shared.send("POST", "/access/v1/evaluations", {"evaluations": items}).json["evaluations"]
    assert [answer["decision"] for answer in answers] == [True, True, True, False, True, True]
    ids = [answer["context"]["id"] for answer in answers]
    assert [ordinal_of_decision(identity) for identity in ids] == [0, 0, 0, 0, 1, 0]
    named = ", ".join(f"'{identity}'" for identity in ids)
    in_log = [row["event_id"] for row in rows(shared, f"event_id IN ({named})") if row["log_id"] < "host-001"]
    assert in_log == [*ids[:4], ids[5]]


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
        ("execute_all", [True, False, True]),
    ],
)
def test_a_short_circuit_stops_at_a_foreign_item_as_at_any(
    shared: InProcessPlane, semantic: str, expected: list[bool]
) -> None:
    root = opened(shared)
    foreign = child(shared, root)
    items = [
        question(HELPER, session=foreign),
        question(HELPER, "mail.send", session=foreign),
        question(PLANNER, session=root),
    ]
    body = {"evaluations": items, "options": {"evaluations_semantic": semantic}}
    answers = shared.send("POST", "/access/v1/evaluations", body).json["evaluations"]
    assert [answer["decision"] for answer in answers] == expected


def test_while_an_agents_home_is_away_its_delegated_actions_are_refused_and_nobody_elses(
    fresh: InProcessPlane,
) -> None:
    root = opened(fresh)
    foreign, waiting = child(fresh, root), token(fresh, root)
    assert fresh.ask(HELPER, session=foreign).permits
    fresh.do(lambda: fresh.actors.dead.add(host_name(1)))
    answer = fresh.ask(HELPER, session=foreign)
    assert (answer.status, answer.code) == (503, "owner_unreachable")
    assert fresh.send("POST", "/v1/sessions", {"agent": HELPER, "parent": waiting}).status == 503
    assert fresh.ask(PLANNER, session=root).permits
    items = [
        question(PLANNER, session=root),
        question(HELPER, session=foreign),
        question(PLANNER, session=root),
    ]
    for semantic, expected in {
        "execute_all": [True, False, True],
        "deny_on_first_deny": [True, False],
    }.items():
        body = {"evaluations": items, "options": {"evaluations_semantic": semantic}}
        answers = fresh.send("POST", "/access/v1/evaluations", body).json["evaluations"]
        assert [answer["decision"] for answer in answers] == expected
        assert answers[1]["context"]["error"]["code"] == "owner_unreachable"
    body = {"evaluations": items[1:], "options": {"evaluations_semantic": "permit_on_first_permit"}}
    answers = fresh.send("POST", "/access/v1/evaluations", body).json["evaluations"]
    assert [answer["decision"] for answer in answers] == [False, True]
    fresh.do(fresh.actors.dead.clear)
    assert fresh.ask(HELPER, session=foreign).permits
    assert fresh.send("POST", "/v1/sessions", {"agent": HELPER, "parent": waiting}).status == 201


def test_a_home_that_hangs_costs_its_own_items_their_time_and_leaves_the_others_theirs(
    fresh: InProcessPlane,
) -> None:
    root = opened(fresh)
    foreign = child(fresh, root)
    fresh.hold(host_name(1), "vouch")
    items = [
        question(PLANNER, session=root),
        question(HELPER, session=foreign),
        question(PLANNER, session=root),
    ]
    deadline = {"x-deadline-ms": "1000"}
    batch = fresh.send("POST", "/access/v1/evaluations", {"evaluations": items}, headers=deadline)
    first, held, last = batch.json["evaluations"]
    assert (first["decision"], held["decision"], last["decision"]) == (True, False, True)
    assert held["context"]["error"]["code"] == "owner_timeout"
    alone = fresh.ask(HELPER, session=foreign, headers=deadline)
    assert (alone.status, alone.code) == (503, "owner_timeout")
    # What the home itself decides does not wait for what it was asked to vouch for.
    assert fresh.ask(HELPER).permits
    fresh.let_go(host_name(1), "vouch")
    assert fresh.ask(HELPER, session=foreign).permits


def test_delegations_and_children_survive_a_restart_of_the_workflows_owner(fresh: InProcessPlane) -> None:
    root = opened(fresh, principal="user:ada")
    used, unused = token(fresh, root, tools=["ledger.read"]), token(fresh, root)
    session = opened(fresh, HELPER, parent=used)
    fresh.restart_host(0)
    assert fresh.ask(HELPER, "ledger.read", session=session).permits
    assert fresh.ask(HELPER, session=session).reason == "outside_delegation"
    again = fresh.send("POST", "/v1/sessions", {"agent": HELPER, "parent": used})
    assert (again.status, again.code) == (409, "delegation_used")
    answer = fresh.send("POST", "/v1/sessions", {"agent": HELPER, "parent": unused})
    assert (answer.status, answer.json["principal"]) == (201, "user:ada")


def test_a_delegation_expires_at_every_door(fresh: InProcessPlane) -> None:
    root = opened(fresh)
    session, unused = child(fresh, root, expires_in_s=60, depth=1), token(fresh, root, expires_in_s=60)
    assert fresh.ask(HELPER, session=session).permits
    fresh.clocks.pass_s(61)
    fresh.renew_leases()
    assert fresh.ask(HELPER, session=session).reason == "delegation_expired"
    for path, body in (
        ("/v1/sessions", {"agent": HELPER, "parent": unused}),
        ("/v1/delegations", {"session": session, "to": STRANGER}),
    ):
        answer = fresh.send("POST", path, body)
        assert (answer.status, answer.code) == (409, "delegation_expired")
    assert fresh.ask(PLANNER, session=root).permits


def test_a_dedicated_agent_delegates_and_is_delegated_to(fresh: InProcessPlane) -> None:
    fresh.register("alone", isolation="dedicated")
    below = child(fresh, opened(fresh), "alone", depth=1)
    assert fresh.ask("alone", session=below).permits
    own = opened(fresh, "alone")
    answer = fresh.ask(HELPER, session=child(fresh, own))
    assert answer.permits and (session_ordinal(own) or 0) >= 4096
    assert ordinal_of_decision(answer.json["context"]["id"]) == session_ordinal(own)


def test_a_delegation_counts_for_the_agent_that_gives_it(tmp_path: Path) -> None:
    from controlplane.limits import Limits

    with in_process_plane(tmp_path, limits=Limits(key_per_s=0, agent_per_s=1)) as plane:
        prepare(plane)
        root = opened(plane)
        answers = [plane.send("POST", "/v1/delegations", {"session": root, "to": HELPER}) for _ in range(15)]
        assert answers[0].status == 201
        assert (answers[-1].status, answers[-1].code) == (429, "rate_limited")
