"""Stops through the real doors: every owner enforces one when the command returns, over restarts and without Ray."""

from __future__ import annotations

import asyncio
import json
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

from actors import directory
from actors.placement import host_name, host_of

POLICY = CATALOG_AND_POLICY + (
    "  - {id: probing, limit: {count: denials, per: 1h, scope: agent, above: 2}, then: deny,"
    " stop: {agent, for: 1h}, because: it keeps trying}\n"
)


def agents_of(host: int) -> list[str]:
    return [f"bot-{n}" for n in range(40) if host_of(f"default/agent/bot-{n}", 2) == host]


HERE, NEAR, *_ = agents_of(0)
THERE, ROOT, *_ = agents_of(1)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as plane:
        plane.activate(POLICY)
        for agent in (HERE, NEAR, THERE, ROOT):
            plane.register(agent, owner="treasury" if agent in (HERE, THERE) else "support")
        yield plane


def stop(plane: InProcessPlane, target_type: str, target_id: str = "", **more: Any) -> Answer:
    target = {"type": target_type} | ({"id": target_id} if target_id else {})
    values = {"target": target, "reason": "pays twice"} | {n: v for n, v in more.items() if n != "key"}
    return plane.send("POST", "/v1/stops", values, key=more.get("key", ""))


def stopped(plane: InProcessPlane, target_type: str, target_id: str = "", **more: Any) -> str:
    answer = stop(plane, target_type, target_id, **more)
    assert answer.status == 201 and answer.json["lagging"] == [], answer
    return str(answer.json["id"])


def release(plane: InProcessPlane, identity: str, key: str = "") -> Answer:
    return plane.send("POST", f"/v1/stops/{identity}/release", {"reason": "mended"}, key=key)


def events(plane: InProcessPlane) -> list[tuple[str, dict[str, Any]]]:
    plane.decision_rows()
    from evidence.query import query

    rows = query(
        str(plane.evidence),
        "SELECT event_type, details FROM evidence WHERE event_type LIKE 'stop%' ORDER BY seq",
    ).to_pylist()
    return [(row["event_type"], json.loads(row["details"])) for row in rows]


def listed(plane: InProcessPlane, *, over: bool = False) -> list[dict[str, Any]]:
    answer = plane.send("GET", "/v1/stops" + ("?over=true" if over else ""))
    assert answer.status == 200, answer
    return list(answer.json["stops"])


def never_renew(plane: InProcessPlane) -> None:
    """Nothing but a push reaches an owner: who polls waits for good."""
    plane.do(lambda: [owner._tasks[0].cancel() for owner in plane.owners()])


def test_every_owner_denies_when_the_command_returns_whether_or_not_it_polls(
    plane: InProcessPlane,
) -> None:
    never_renew(plane)
    answer = stop(plane, "fleet")
    assert (answer.status, answer.json["acknowledged"], answer.json["lagging"]) == (
        201,
        ["host-000", "host-001"],
        [],
    )
    for agent in (HERE, THERE):
        denied = plane.ask(agent)
        assert denied.reason == "stopped", denied
        assert answer.json["id"] in json.dumps(denied.json) and "pays twice" in json.dumps(denied.json)
    assert release(plane, answer.json["id"]).json["state"] == "released"
    assert plane.ask(HERE).permits and plane.ask(THERE).permits


def test_an_owner_that_cannot_be_told_is_named_and_decides_no_longer_than_its_lease(
    plane: InProcessPlane,
) -> None:
    never_renew(plane)
    plane.renew_leases()
    plane.actors.dead.add("host-001")
    answer = stop(plane, "agent", THERE)
    assert answer.json["lagging"] == ["host-001"] and answer.json["acknowledged"] == ["host-000"]
    plane.actors.dead.clear()
    # It has heard of nothing: until its lease ends it decides as before, and not a moment longer.
    assert plane.ask(THERE).permits
    plane.clocks.pass_s(directory.LEASE_S + 0.1)
    plane.run(plane.application._fleet.refresh())
    assert plane.ask(THERE).reason == "lease_expired"
    plane.renew_leases()
    assert plane.ask(THERE).reason == "stopped"


def test_a_stop_holds_over_restarts_of_hosts_and_store(plane: InProcessPlane) -> None:
    identity = stopped(plane, "agent", HERE)
    plane.restart_host(0)
    assert plane.ask(HERE).reason == "stopped" and plane.ask(NEAR).permits
    plane.restart_store()
    plane.renew_leases()
    assert plane.ask(HERE).reason == "stopped"
    assert release(plane, identity).json["state"] == "released"
    plane.restart_host(0)
    assert plane.ask(HERE).permits


def test_one_that_has_an_end_ends(plane: InProcessPlane) -> None:
    identity = stopped(plane, "owner", "treasury", expires_in_s=60)
    assert plane.ask(HERE).reason == plane.ask(THERE).reason == "stopped" and plane.ask(NEAR).permits
    plane.clocks.pass_s(61)
    plane.renew_leases()
    assert plane.ask(HERE).permits and listed(plane) == []
    plane.wait_until(lambda: len(plane.host(0)._directory.stops) == 0, "the copies to be swept")
    assert listed(plane, over=True)[0] | {"state": "expired"} == listed(plane, over=True)[0]
    assert [kind for kind, _ in events(plane)] == ["stop_set", "stop_expired"]
    assert release(plane, identity).json["state"] == "expired"


def test_a_rule_stops_an_agent_and_an_operator_sees_and_releases_it(plane: InProcessPlane) -> None:
    child_session = session_elsewhere(plane)
    for _ in range(3):
        assert plane.ask(HERE, arguments={"to": "a", "amount": 2_000}).reason == "rule_deny"
    assert plane.ask(HERE).reason == "rule_deny"
    assert plane.ask(HERE).reason == "stopped"
    plane.wait_until(
        lambda: all(len(owner._directory.stops) for owner in plane.owners()), "all to hear of it"
    )
    plane.wait_until(lambda: not len(plane.host(0)._owner.stops.live), "its maker to let go")  # type: ignore[union-attr]
    (found,) = listed(plane)
    assert (found["by"], found["target"], found["reason"]) == (
        "rule:spine/probing",
        {"type": "agent", "id": HERE},
        "it keeps trying",
    )
    # In a session elsewhere as well.
    assert plane.ask(HERE, session=child_session).reason == "stopped"
    plane.restart_host(0)
    assert plane.ask(HERE).reason == "stopped"
    plane.clocks.pass_s(3_601)
    plane.renew_leases()
    assert plane.ask(HERE).permits
    ((kind, details),) = events(plane)[:1]
    row = next(row for row in plane.decision_rows() if row["event_id"] == details["decision"])
    assert kind == "stop_set" and json.loads(row["details"])["stops"][0]["stop"] == details["stop"]


def session_elsewhere(plane: InProcessPlane) -> str:
    """A session of HERE in a workflow that lives with the other host."""
    root = plane.send("POST", "/v1/sessions", {"agent": ROOT}).json["session"]
    token = plane.send("POST", "/v1/delegations", {"session": root, "to": HERE}).json["token"]
    return str(plane.send("POST", "/v1/sessions", {"agent": HERE, "parent": token}).json["session"])


def test_a_rule_that_fires_where_the_agent_is_not_at_home_stops_it_at_home_too(plane: InProcessPlane) -> None:
    session = session_elsewhere(plane)
    for _ in range(3):
        plane.ask(HERE, session=session, arguments={"to": "a", "amount": 2_000})
    assert plane.ask(HERE, session=session).reason == "rule_deny"
    assert plane.ask(HERE, session=session).reason == "stopped"
    plane.wait_until(lambda: len(plane.host(0)._directory.stops) == 1, "its home to hear of it")
    assert plane.ask(HERE).reason == "stopped" and plane.ask(THERE).permits


def test_an_executed_mismatch_stops_the_agent(plane: InProcessPlane) -> None:
    decision = plane.ask(HERE).json["context"]["id"]
    body = {"status": "succeeded", "executed_digest": "ab" * 32}
    answer = plane.send("POST", f"/v1/decisions/{decision}/outcome", body)
    assert answer.json["findings"] == ["executed_digest_mismatch"]
    assert plane.ask(HERE).reason == "stopped"
    plane.wait_until(lambda: len(plane.host(1)._directory.stops) == 1, "everybody to hear of it")
    assert listed(plane)[0]["by"] == "finding:executed_digest_mismatch"


def test_a_release_of_an_automatic_stop_holds_at_once_where_it_was_made(plane: InProcessPlane) -> None:
    for _ in range(20):
        decision = plane.ask(HERE).json["context"]["id"]
        body = {"status": "succeeded", "executed_digest": "ab" * 32}
        assert plane.send("POST", f"/v1/decisions/{decision}/outcome", body).status == 200
        plane.wait_until(lambda: not plane.host(0)._owner.stops.waiting(1), "it to be handed over")  # type: ignore[union-attr]
        (found,) = listed(plane)
        assert plane.ask(HERE).reason == "stopped"
        assert release(plane, found["id"]).json["lagging"] == []
        assert plane.ask(HERE).permits


def test_the_query_of_the_page_says_who_was_stopped_by_whom(plane: InProcessPlane) -> None:
    release(plane, stopped(plane, "agent", HERE))
    page = (Path(__file__).parents[3] / "docs" / "stops.md").read_text(encoding="utf-8")
    sql = page.split("```sql\n")[1].split("```")[0]
    plane.decision_rows()
    from evidence.query import query

    rows = query(str(plane.evidence), sql).to_pylist()
    assert [row["why"] for row in rows] == ["pays twice", "mended"]
    assert all(HERE in row["what"] and row["who"] for row in rows)


def test_a_dry_run_counts_over_all_owners_and_stops_nobody(plane: InProcessPlane) -> None:
    plane.send("POST", "/v1/sessions", {"agent": HERE})
    plane.ask(THERE)
    found = stop(plane, "owner", "treasury", dry_run=True).json
    assert found == {
        "dry_run": True,
        "target": {"type": "owner", "id": "treasury"},
        "agents": 2,
        "sessions": 2,
        "unreachable": [],
    }
    plane.actors.dead.add("host-001")
    found = stop(plane, "fleet", dry_run=True).json
    assert (found["agents"], found["unreachable"]) == (2, ["host-001"])
    plane.actors.dead.clear()
    assert listed(plane) == [] and plane.ask(HERE).permits and events(plane) == []


def test_only_operators_stop_and_release_and_auditors_look(plane: InProcessPlane) -> None:
    identity = stopped(plane, "agent", HERE)
    roles = {
        "auditor": plane.make_key(role="auditor")[1],
        "approver": plane.make_key(role="approver", subjects=["user:anna"])[1],
    }
    roles["gateway"] = plane.make_key(role="gateway", agents=["*"], grants=WORKFLOWS)[1]
    for role, key in roles.items():
        assert stop(plane, "fleet", key=key).code == "role_not_permitted"
        assert release(plane, identity, key).code == "role_not_permitted"
        assert plane.send("GET", "/v1/stops", key=key).status == (200 if role == "auditor" else 403)
    shown = plane.send("GET", f"/v1/stops/{identity}", key=roles["auditor"])
    assert shown.json["id"] == identity and shown.json["state"] == "live"
    opened = plane.send("POST", "/v1/sessions", {"agent": HERE}, key=roles["gateway"])
    assert (opened.status, opened.code, opened.json["error"]["stop"]) == (403, "stopped", identity)


@pytest.mark.parametrize(
    "body",
    [
        {"target": {"type": "agent"}, "reason": "r"},
        {"target": {"type": "fleet", "id": "x"}, "reason": "r"},
        {"target": {"type": "planet", "id": "x"}, "reason": "r"},
        {"target": {"type": "system", "id": "led*"}, "reason": "r"},
        {"target": {"type": "agent", "id": "a b"}, "reason": "r"},
        {"target": {"type": "owner", "id": "x" * 513}, "reason": "r"},
        {"target": {"type": "agent", "id": "bot"}},
        {"target": {"type": "agent", "id": "bot"}, "reason": "  "},
        {"target": {"type": "agent", "id": "bot"}, "reason": "r" * 513},
        {"target": {"type": "agent", "id": "bot"}, "reason": "r", "expires_in_s": 0},
    ],
)
def test_what_cannot_be_meant_is_refused(plane: InProcessPlane, body: dict[str, Any]) -> None:
    assert plane.send("POST", "/v1/stops", body).status == 400
    assert listed(plane) == []


def test_of_two_operators_one_asks_and_the_other_releases(plane: InProcessPlane) -> None:
    _, other = plane.make_key(role="operator")
    identity = stopped(plane, "agent", HERE)
    plane.do(lambda: setattr(plane.store._control.stops, "_second_operator", True))  # type: ignore[union-attr]
    asked = release(plane, identity).json
    assert asked["state"] == "release_requested" and asked["release_request"]["reason"] == "mended"
    assert plane.ask(HERE).reason == "stopped"
    assert release(plane, identity).code == "second_operator_needed"
    _, young = plane.make_key(role="operator")
    assert release(plane, identity, young).code == "key_too_new"
    assert release(plane, identity, other).json["state"] == "released"
    assert plane.ask(HERE).permits
    assert [kind for kind, _ in events(plane)] == ["stop_set", "stop_release_requested", "stop_released"]


def test_whoever_has_an_agent_that_nobody_registered_in_mind_hears_so(plane: InProcessPlane) -> None:
    assert stop(plane, "agent", HERE).json["known"] is True
    assert stop(plane, "agent", "tresury-bot").json["known"] is False


@pytest.mark.parametrize("carried", [False, True])
def test_what_is_decided_after_the_command_has_returned_is_denied_whatever_is_on_its_way(
    plane: InProcessPlane, carried: bool
) -> None:
    """Decisions in flight, stops and releases at once, in a thousand rounds: what starts between the two is denied.

    Carried: the agent's home alone knows whose it is, and the workflow's owner decides.
    """
    session = session_elsewhere(plane) if carried else None
    target = {"type": "owner", "id": "treasury"} if carried else {"type": "agent", "id": HERE}
    seen = plane.run(_race(plane, target, session, rounds=1_000))
    assert seen["after"] == {"stopped"} and seen["released"] == {"allowed"}
    assert seen["within"] <= {"allowed", "stopped"}


async def _race(
    plane: InProcessPlane, target: dict[str, str], session: str | None, *, rounds: int
) -> dict[str, set[str]]:
    seen: dict[str, set[str]] = {"after": set(), "within": set(), "released": set()}
    body = question(HERE) if session is None else question(HERE, session=session)

    async def ask() -> str:
        answer = await plane.exchange("POST", "/access/v1/evaluation", body)
        return "allowed" if answer.permits else str(answer.reason)

    for _ in range(rounds):
        within = [asyncio.ensure_future(ask()) for _ in range(3)]
        set_ = await plane.exchange("POST", "/v1/stops", {"target": target, "reason": "r"})
        seen["after"] |= set(await asyncio.gather(ask(), ask()))
        seen["within"] |= set(await asyncio.gather(*within))
        late = [asyncio.ensure_future(ask()) for _ in range(2)]
        await plane.exchange("POST", f"/v1/stops/{set_.json['id']}/release", {"reason": "r"})
        seen["released"].add(await ask())
        seen["within"] |= set(await asyncio.gather(*late))
    return seen


def test_hosts_that_are_told_of_many_stops_at_once_renew_their_lease_few_times(plane: InProcessPlane) -> None:
    async def all_at_once() -> list[Answer]:
        bodies = [{"target": {"type": "agent", "id": f"a{n}"}, "reason": "r"} for n in range(30)]
        return list(await asyncio.gather(*(plane.exchange("POST", "/v1/stops", body) for body in bodies)))

    before = plane.actors.calls.count(("control-store", "lease"))
    answers = plane.run(all_at_once())
    assert all(answer.json["lagging"] == [] for answer in answers)
    assert plane.actors.calls.count(("control-store", "lease")) - before < 60
    assert len(plane.host(0)._directory.stops) == len(plane.host(1)._directory.stops) == 30
    assert host_name(0) in answers[0].json["acknowledged"]
