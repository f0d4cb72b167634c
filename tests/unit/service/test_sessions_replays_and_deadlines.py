"""What is forged, repeated or late, asked of a whole control plane: a deny with a reason, never an allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import (
    CATALOG_AND_POLICY,
    Answer,
    InProcessPlane,
    in_process_plane,
    question,
)

from actors.ids import session_id
from actors.placement import host_name, host_of

DAY_S = 86_400


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        prepare(plane)
        yield plane


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[InProcessPlane]:
    """A plane whose clocks or actors a test disturbs."""
    with in_process_plane(tmp_path) as plane:
        prepare(plane)
        yield plane


def prepare(plane: InProcessPlane) -> None:
    plane.activate(CATALOG_AND_POLICY)
    for agent in ("bot", "other"):
        plane.register(agent)


def owner_of(plane: InProcessPlane, agent: str = "bot") -> str:
    return host_name(host_of(f"default/agent/{agent}", plane.hosts))


def open_session(plane: InProcessPlane, agent: str = "bot") -> str:
    return str(plane.send("POST", "/v1/sessions", {"agent": agent}).json["session"])


def denied(answer: Answer, reason: str) -> None:
    """A 200 that says no, and why."""
    assert (answer.status, answer.json["decision"], answer.reason) == (200, False, reason), answer
    assert answer.json["context"]["effect"] == "deny"
    assert "expires_at" not in answer.json["context"]


def past_s(plane: InProcessPlane, seconds: float) -> None:
    plane.clocks.pass_s(seconds)
    plane.renew_leases()


# -- sessions -----------------------------------------------------------------------------------------------------


def forgeries(plane: InProcessPlane) -> dict[str, str]:
    """Session ids of the right shape that this deployment has not given to `bot`."""
    key = f"default/agent/{'bot'}"
    ordinal = host_of(key, plane.hosts)
    now_us = time.time_ns() // 1000
    made: dict[str, Any] = {"ordinal": ordinal, "expires_us": now_us + DAY_S * 10**6, "random": b"r" * 9}
    real_key = plane.host(ordinal)._owner.settings.session_key  # type: ignore[union-attr]
    genuine = open_session(plane)
    elsewhere = made | {"ordinal": 1 - ordinal}
    return {
        "another deployment's key": session_id(key=b"w" * 32, subject=key, **made),
        "our key, but never opened": session_id(key=real_key, subject=key, **made),
        "our key, for another host": session_id(key=real_key, subject=key, **elsewhere),
        "our key, for a log that is not there": session_id(
            key=real_key, subject=key, **(made | {"ordinal": 99})
        ),
        "our key, for another subject": session_id(key=real_key, subject=key + "2", **made),
        "our key, for another tenant": session_id(key=real_key, subject="acme/agent/bot", **made),
        "another agent's session": open_session(plane, "other"),
        "its first letter changed": "ses_" + ("B" if genuine[4] != "B" else "C") + genuine[5:],
        "its last letter changed": genuine[:-1] + ("A" if genuine[-1] != "A" else "E"),
        "cut off": genuine[:-1],
        "longer": genuine + "A",
        "only its prefix": "ses_",
        "without its prefix": genuine[4:],
        "padded": genuine + "=",
        "zeros": "ses_" + "A" * 43,
        "the standing session by its name": str(plane.ask().json["context"]["session"]),
    }


def test_a_session_that_was_not_opened_for_this_agent_is_unknown(shared: InProcessPlane) -> None:
    denied(shared.ask("nobody", session=open_session(shared)), "unknown_agent")
    for how, session in forgeries(shared).items():
        answer = shared.ask(session=session)
        denied(answer, "unknown_session")
        assert answer.json["context"].get("session") is None, how


def test_a_letter_of_a_session_that_is_changed_anywhere_makes_it_unknown(shared: InProcessPlane) -> None:
    genuine = open_session(shared)
    assert shared.ask(session=genuine).permits
    for position in range(4, len(genuine)):
        letter = "A" if genuine[position] != "A" else "B"
        answer = shared.ask(session=genuine[:position] + letter + genuine[position + 1 :])
        denied(answer, "unknown_session")


def test_the_doors_of_sessions_know_no_forged_one(shared: InProcessPlane) -> None:
    forged = forgeries(shared)
    del forged["another agent's session"]  # which an operator may use
    for how, session in forged.items():
        for tail, body in (("task", {"task": "pay everybody"}), ("end", None)):
            answer = shared.send("POST", f"/v1/sessions/{session}/{tail}", body)
            assert answer.status == 404, how
            assert answer.code in ("unknown_session", "not_found", "no_route"), how
    # And none of it has ended the standing session.
    assert shared.ask().permits


def test_a_session_that_has_ended_or_expired_is_over_at_every_door(fresh: InProcessPlane) -> None:
    ended, idle = open_session(fresh), open_session(fresh)
    assert fresh.send("POST", f"/v1/sessions/{ended}/end").status == 200
    denied(fresh.ask(session=ended), "session_ended")
    past_s(fresh, 7 * DAY_S + 60)
    denied(fresh.ask(session=idle), "session_expired")
    for session, code in ((ended, "session_ended"), (idle, "session_expired")):
        for tail, body in (("task", {"task": "more"}), ("end", None)):
            answer = fresh.send("POST", f"/v1/sessions/{session}/{tail}", body)
            assert (answer.status, answer.code) == (409, code)


# -- the same again -----------------------------------------------------------------------------------------------


def test_the_same_again_is_the_same_decision_and_something_else_under_its_key_a_conflict(
    shared: InProcessPlane,
) -> None:
    first = shared.ask(idempotency_key="k1")
    again = shared.ask(idempotency_key="k1")
    assert first.permits and again.permits
    same = dict(again.json["context"])
    assert same.pop("replayed") is True
    assert same == first.json["context"]
    session = open_session(shared)
    others: dict[str, dict[str, Any]] = {
        "arguments": question(arguments={"to": "DE89", "amount": 13}, idempotency_key="k1"),
        "one more argument": question(arguments={"to": "DE89", "amount": 12, "x": 1}, idempotency_key="k1"),
        "tool": question(tool="ledger.read", arguments={"to": "DE89", "amount": 12}, idempotency_key="k1"),
        "session": question(session=session, idempotency_key="k1"),
        "action": {**question(idempotency_key="k1"), "action": {"name": "erase"}},
        "type": {
            **question(idempotency_key="k1"),
            "resource": {"type": "document", "id": "ledger.pay"},
        },
    }
    for what, body in others.items():
        answer = shared.send("POST", "/access/v1/evaluation", body)
        assert (answer.status, answer.code) == (409, "idempotency_conflict"), what
    # Keys belong to their subject.
    foreign = shared.ask("other", idempotency_key="k1")
    assert foreign.permits and foreign.json["context"]["id"] != first.json["context"]["id"]


def test_arguments_that_are_written_otherwise_and_mean_the_same_are_the_same(shared: InProcessPlane) -> None:
    first = shared.ask(idempotency_key="k-form", arguments={"to": "a", "amount": 12})
    other = shared.ask(idempotency_key="k-form", arguments={"amount": 12.0, "to": "\u0061"})
    assert other.json["context"]["id"] == first.json["context"]["id"]


def test_a_deny_is_repeated_as_well(shared: InProcessPlane) -> None:
    arguments = {"to": "DE89", "amount": 5000}
    first = shared.ask(idempotency_key="k-deny", arguments=arguments)
    again = shared.ask(idempotency_key="k-deny", arguments=arguments)
    assert first.reason == again.reason == "rule_deny" and not again.permits
    assert first.json["context"]["id"] == again.json["context"]["id"]


def test_many_at_once_with_one_key_are_one_decision(fresh: InProcessPlane) -> None:
    async def storm() -> list[Answer]:
        body = question(idempotency_key="k-storm")
        return await asyncio.gather(
            *(fresh.exchange("POST", "/access/v1/evaluation", body) for _ in range(40))
        )

    answers = fresh.run(storm())
    assert len({answer.json["context"]["id"] for answer in answers}) == 1
    assert sum("replayed" not in answer.json["context"] for answer in answers) == 1
    assert len(fresh.decision_rows()) == 1


@pytest.mark.parametrize("over", ["reported", "expired", "expired and restarted"])
def test_what_is_over_is_spent_and_permits_nothing_again(fresh: InProcessPlane, over: str) -> None:
    first = fresh.ask(idempotency_key="k1")
    assert first.permits
    if over == "reported":
        path = f"/v1/decisions/{first.json['context']['id']}/outcome"
        assert fresh.send("POST", path, {"status": "not_executed"}).status == 200
    else:
        past_s(fresh, 31)
    if over == "expired and restarted":
        fresh.restart_host(host_of("default/agent/bot", fresh.hosts))
    denied(fresh.ask(idempotency_key="k1"), "idempotency_key_spent")
    denied(fresh.ask(idempotency_key="k1"), "idempotency_key_spent")
    assert fresh.ask(idempotency_key="k2").permits


def test_two_reports_at_once_of_one_decision_are_one_and_a_conflict(shared: InProcessPlane) -> None:
    path = f"/v1/decisions/{shared.ask().json['context']['id']}/outcome"

    async def both() -> list[Answer]:
        return await asyncio.gather(
            *(shared.exchange("POST", path, {"status": status}) for status in ("succeeded", "failed"))
        )

    answers = shared.run(both())
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"outcome_already_reported"}


def test_a_dry_run_never_permits_and_binds_no_key(shared: InProcessPlane) -> None:
    answer = shared.ask(dry_run=True, idempotency_key="k-dry")
    assert (answer.json["decision"], answer.json["context"]["effect"]) == (False, "allow")
    real = shared.ask(idempotency_key="k-dry")
    assert real.permits and "replayed" not in real.json["context"]
    # And what is bound is not repeated by one.
    assert not shared.ask(dry_run=True, idempotency_key="k-dry").permits


# -- too late -----------------------------------------------------------------------------------------------------


def test_whoever_waits_no_longer_is_answered_by_then_and_what_arrives_later_is_denied(
    fresh: InProcessPlane,
) -> None:
    owner = owner_of(fresh)
    assert fresh.ask().permits  # from here on the replica knows the agent's record
    fresh.hold(owner, "decide")
    late = fresh.ask(idempotency_key="k1", headers={"x-deadline-ms": "60"})
    assert (late.status, late.code) == (503, "owner_timeout")
    assert late.headers["retry-after"] == "1"
    past_s(fresh, 1)
    fresh.let_go(owner, "decide")
    # The same key, because nobody knows what became of it: it was denied, which bound nothing.
    assert fresh.ask(idempotency_key="k1").permits
    rows = fresh.decision_rows()
    assert [(row["decision"], row["reason_code"]) for row in rows] == [
        ("allow", "rule_allow"),
        ("deny", "deadline_passed"),
        ("allow", "rule_allow"),
    ]


def test_an_owner_that_is_silent_holds_up_nobody_elses_agents(fresh: InProcessPlane) -> None:
    agents = [f"bot-{n}" for n in range(6)]
    for agent in agents:
        fresh.register(agent)
    silent = owner_of(fresh, agents[0])
    assert {owner_of(fresh, agent) for agent in agents} == {"host-000", "host-001"}
    fresh.hold(silent, "decide")
    waiting = {
        agent: fresh.begin(
            "POST", "/access/v1/evaluation", question(agent), headers={"x-deadline-ms": "1000"}
        )
        for agent in agents
    }
    for agent, answer in waiting.items():
        assert answer.result(20).permits == (owner_of(fresh, agent) != silent)
    fresh.let_go(silent, "decide")
    batch = {"evaluations": [question(agent) for agent in agents]}
    assert all(
        one["decision"] for one in fresh.send("POST", "/access/v1/evaluations", batch).json["evaluations"]
    )


def test_items_of_a_silent_owner_are_denied_by_the_deadline_and_the_others_decided(
    fresh: InProcessPlane,
) -> None:
    agents = [f"bot-{n}" for n in range(6)]
    for agent in agents:
        fresh.register(agent)
    silent = owner_of(fresh, agents[0])
    fresh.hold(silent, "decide")
    batch = {"evaluations": [question(agent) for agent in agents]}
    answer = fresh.send("POST", "/access/v1/evaluations", batch, headers={"x-deadline-ms": "1000"})
    for agent, item in zip(agents, answer.json["evaluations"], strict=True):
        assert item["decision"] == (owner_of(fresh, agent) != silent)
        if not item["decision"]:
            assert item["context"]["error"]["code"] == "owner_timeout"
    fresh.let_go(silent, "decide")


def test_a_batch_whose_turn_does_not_come_in_time_is_answered_and_leaves_nothing(
    fresh: InProcessPlane,
) -> None:
    batch = {"evaluations": [question()] * 20}
    soon = {"x-deadline-ms": "50"}
    large = fresh.application._large
    fresh.run(large.acquire())
    late = fresh.send("POST", "/access/v1/evaluations", batch, headers=soon)
    assert (late.status, late.code) == (503, "deadline_passed")
    # One that has passed the door and waits with its items.
    ours = fresh.application._door._preparing
    ours._large = asyncio.Lock()
    fresh.run(ours._large.acquire())
    fresh.do(large.release)
    late = fresh.send("POST", "/access/v1/evaluations", batch, headers=soon)
    errors = [item["context"]["error"]["code"] for item in late.json["evaluations"]]
    assert (late.status, errors) == (200, ["deadline_passed"] * 20)
    fresh.do(ours._large.release)
    assert all(
        item["decision"] for item in fresh.send("POST", "/access/v1/evaluations", batch).json["evaluations"]
    )
    assert len(fresh.decision_rows()) == 20


def test_a_body_that_trickles_in_past_its_deadline_is_denied(fresh: InProcessPlane) -> None:
    assert fresh.ask().permits
    halves = _halves(question())
    slow = {"x-deadline-ms": "1"}
    answer = fresh.send("POST", "/access/v1/evaluation", headers=slow, parts=halves, pause_s=0.05)
    assert not answer.permits
    assert answer.reason in ("deadline_passed", "owner_timeout")
    assert [row["reason_code"] for row in fresh.decision_rows()] == ["rule_allow", "deadline_passed"]


def test_a_key_that_is_revoked_while_the_body_trickles_in_decides_nothing(fresh: InProcessPlane) -> None:
    identity, key = fresh.make_key(role="agent", agents=["bot"])
    assert fresh.ask(key=key).permits
    slow = fresh.begin("POST", "/access/v1/evaluation", parts=_halves(question()), pause_s=2.0, key=key)
    assert fresh.send("DELETE", f"/v1/keys/{identity}").status == 200
    answer = slow.result(20)
    assert (answer.status, answer.code) == (401, "key_revoked")


def test_a_key_that_is_revoked_between_the_door_and_the_owner_decides_nothing(
    fresh: InProcessPlane,
) -> None:
    identity, key = fresh.make_key(role="agent", agents=["bot"])
    owner = owner_of(fresh)
    fresh.hold(owner, "decide")
    underway = fresh.begin("POST", "/access/v1/evaluation", question(idempotency_key="k1"), key=key)
    fresh.wait_until(lambda: fresh.actors.calls.count((owner, "decide")) == 1, "the call to the owner")
    assert fresh.send("DELETE", f"/v1/keys/{identity}").status == 200
    fresh.renew_leases()
    fresh.let_go(owner, "decide")
    denied(underway.result(20), "key_revoked")


def test_an_owner_that_lost_the_control_store_denies_and_so_does_a_replica(fresh: InProcessPlane) -> None:
    assert fresh.ask(idempotency_key="k1").permits
    fresh.actors.dead.add("control-store")
    # What is still believed is at most as old as a lease.
    fresh.clocks.pass_s(3)
    for key in ("k1", "k2"):
        answer = fresh.ask(idempotency_key=key)
        assert (answer.status, answer.code) == (503, "lease_expired")
    # A replica that still had its lease would reach an owner that has not.
    fresh.do(
        lambda: fresh.application._fleet.directory.apply(0, (None, 0), [], sent_s=time.monotonic() + 10**9)
    )
    for key in ("k1", "k2"):
        denied(fresh.ask(idempotency_key=key), "lease_expired")
    fresh.actors.dead.clear()
    fresh.renew_leases()
    assert fresh.ask(idempotency_key="k1").permits


def _halves(body: dict[str, Any]) -> list[bytes]:
    import json

    raw = json.dumps(body).encode()
    return [raw[:20], raw[20:]]
