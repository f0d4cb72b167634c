"""What one session lets another agent do: tokens, chains of grants, and what ends them. Over a real journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import Bench

from actors import asked_journal, delegation_journal, delegations, origin_journal, sessions
from actors.agent_journal import ORIGINS_MEMORY_US, forget_what_is_over
from actors.ids import session_ordinal
from actors.live_agent import IDLE_LIMIT_US, SESSION_LIFETIME_US
from actors.messages import DelegationRequest, SessionRequest, Vouch
from controlplane.errors import ConflictError, ForbiddenError, GovernanceError, NotFoundError, OverloadedError
from policies.asked.tallies import Tallies

HOUR_S = 3600


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host-000.db")
    for agent in ("bot", "helper", "third"):
        bench.register(agent)
    return bench


def root(bench: Bench, agent: str = "bot", *, principal: str | None = None, workflow: bool = True) -> str:
    request = SessionRequest(
        tenant="default",
        subject_type="agent",
        subject_id=agent,
        task_digest=None,
        new_workflow=workflow,
        key_id="k",
        principal=principal,
    )
    return str(sessions.open_session(bench.owner, request)["session"])


def delegate(bench: Bench, session: str, to: str = "helper", **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tenant": "default",
        "session": session,
        "to": to,
        "tools": None,
        "depth": 0,
        "expires_in_us": HOUR_S * 1_000_000,
        "principal": None,
        "key_id": "k",
    }
    return delegations.delegate(bench.owner, DelegationRequest(**(values | more)))


def open_child(bench: Bench, token: str, agent: str = "helper", **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tenant": "default",
        "subject_type": "agent",
        "subject_id": agent,
        "task_digest": None,
        "new_workflow": False,
        "key_id": "k2",
        "parent": token,
    }
    return delegations.open_child(bench.owner, SessionRequest(**(values | more)))


def child(bench: Bench, parent: str, agent: str = "helper", **more: Any) -> str:
    return str(open_child(bench, delegate(bench, parent, agent, **more)["token"], agent)["session"])


def refused(kind: type[GovernanceError], code: str, call: Callable[[], object]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code


def reason(bench: Bench, session: str, agent: str = "helper", **more: Any) -> str:
    (answer,) = bench.decided(bench.request(agent, session=session, **more))
    return answer.reason_code


def test_a_child_acts_in_its_parents_workflow_with_evidence_of_who_and_for_whom(bench: Bench) -> None:
    parent = root(bench, principal="user:ada")
    given = delegate(bench, parent, tools=("ledger.*",), depth=1)
    assert given["to"] == "helper" and given["tools"] == ("ledger.*",) and given["depth"] == 1
    assert given["principal"] == "user:ada"
    assert given["expires_us"] == bench.world.wall_us // 1_000_000 * 1_000_000 + HOUR_S * 1_000_000
    opened = open_child(bench, given["token"])
    assert session_ordinal(opened["session"]) == 0
    assert opened["principal"] == "user:ada" and opened["expires_us"] == given["expires_us"]
    assert reason(bench, opened["session"]) == "rule_allow"
    _, created, began, decided = bench.rows()[-4:]
    assert (created["event_type"], began["event_type"]) == ("delegation_created", "session_opened")
    said = {"parent_session": parent, "tools": ["ledger.*"], "depth": 1, "principal": "user:ada"}
    for row in (created, began):
        details = json.loads(row["details"])
        assert details | said == details and details["delegation"] in created["details"]
        assert given["token"] not in row["details"]
    assert created["agent_id"] == "bot" and began["agent_id"] == "helper"
    workflows = {row["workflow_id"] for row in (created, began, decided)}
    assert len(workflows) == 1
    assert "parent_agent_id" not in created or created["parent_agent_id"] is None
    assert began["parent_agent_id"] == decided["parent_agent_id"] == "bot"
    assert json.loads(decided["authorization_boundary"])["principal"] == "user:ada"


def test_a_token_opens_one_session_once_also_after_a_restart(bench: Bench) -> None:
    token = delegate(bench, root(bench))["token"]
    bench.reopen()
    opened = open_child(bench, token)["session"]
    refused(ConflictError, "delegation_used", lambda: open_child(bench, token))
    bench.reopen()
    refused(ConflictError, "delegation_used", lambda: open_child(bench, token))
    assert reason(bench, opened) == "rule_allow"


def test_a_token_works_for_nobody_else_and_no_other_text_is_one(bench: Bench) -> None:
    token = delegate(bench, root(bench))["token"]
    refused(ForbiddenError, "foreign_delegation", lambda: open_child(bench, token, "third"))
    refused(
        NotFoundError,
        "unknown_delegation",
        lambda: open_child(bench, token, tenant="acme", vouch=tuple(Vouch(1, "", None, None))),
    )
    for text in (
        "",
        "dlg_",
        token[:-1],
        token[:10] + ("A" if token[10] != "A" else "B") + token[11:],
        "ses_" + token[4:],
    ):
        refused(NotFoundError, "unknown_delegation", partial(open_child, bench, text))
    assert open_child(bench, token)["session"]


def test_a_token_and_its_child_end_in_the_same_moment(bench: Bench) -> None:
    parent = root(bench)
    used, late = (delegate(bench, parent, expires_in_us=60_000_000)["token"] for _ in range(2))
    session = open_child(bench, used)["session"]
    bench.world.pass_s(59)
    bench.renew_lease()
    assert reason(bench, session) == "rule_allow"
    bench.world.pass_s(1)
    bench.renew_lease()
    assert reason(bench, session) == "delegation_expired"
    refused(ConflictError, "delegation_expired", lambda: open_child(bench, late))
    while forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=1):
        pass
    assert bench.owner.journal.read("SELECT * FROM delegations") == []
    refused(ConflictError, "delegation_expired", lambda: open_child(bench, used))
    assert reason(bench, session) == "delegation_expired"
    refused(ConflictError, "delegation_expired", lambda: delegate(bench, session, "third", depth=0))


def test_no_delegation_outlives_what_it_is_part_of(bench: Bench) -> None:
    parent = root(bench)
    lifetime_us = SESSION_LIFETIME_US
    given = delegate(bench, parent, depth=2, expires_in_us=lifetime_us * 2)
    assert given["expires_us"] <= bench.world.wall_us + lifetime_us
    first = child(bench, parent, depth=2, expires_in_us=100_000_000)
    second = delegate(bench, first, "third", expires_in_us=lifetime_us)
    assert second["expires_us"] <= bench.world.wall_us + 100_000_000


def test_tools_narrow_down_the_chain_and_other_resources_are_outside(bench: Bench) -> None:
    first = child(bench, root(bench), tools=("ledger.*",), depth=2)
    assert reason(bench, first, tool="ledger.pay") == "rule_allow"
    refused(ForbiddenError, "outside_delegation", lambda: delegate(bench, first, "third", tools=("*",)))
    second = child(bench, first, "third", tools=("ledger.read",))
    assert reason(bench, second, "third", tool="ledger.read") == "rule_allow"
    assert reason(bench, second, "third", tool="ledger.pay") == "outside_delegation"
    assert reason(bench, second, "third", tool="mail.send") == "outside_delegation"
    assert reason(bench, second, "third", tool="ledger.read", resource_type="todo") == "outside_delegation"
    unlisted = child(bench, first, "third")
    assert reason(bench, unlisted, "third", tool="mail.send") == "outside_delegation"
    assert reason(bench, unlisted, "third", tool="ledger.pay") == "rule_allow"
    bench.reopen()
    assert reason(bench, second, "third", tool="ledger.pay") == "outside_delegation"


def test_depth_runs_out(bench: Bench) -> None:
    session = root(bench)
    refused(ForbiddenError, "delegation_too_deep", lambda: delegate(bench, session, depth=16))
    for left in range(15, -1, -1):
        session = child(bench, session, depth=left)
    assert reason(bench, session) == "rule_allow"
    refused(ForbiddenError, "delegation_too_deep", lambda: delegate(bench, session))
    row = [row for row in bench.rows() if row["event_type"] == "decision"][-1]
    assert row["parent_agent_id"] == "helper"


@pytest.mark.parametrize("level", [0, 1])
def test_a_session_that_ends_ends_all_below_it(bench: Bench, level: int) -> None:
    chain = [root(bench)]
    chain.append(child(bench, chain[0], depth=2))
    chain.append(child(bench, chain[1], "third", depth=1))
    waiting = delegate(bench, chain[2], "helper")["token"]
    sessions.end_session(bench.owner, chain[level], key_id="k")
    for _ in range(2):
        assert reason(bench, chain[2], "third") == "parent_ended"
        refused(ConflictError, "parent_ended", lambda: open_child(bench, waiting))
        refused(ConflictError, "parent_ended", lambda: delegate(bench, chain[2], "helper"))
        bench.reopen()
    bench.world.pass_s(2 * 24 * HOUR_S)
    bench.reopen()  # the clock is taken as it is
    bench.renew_lease()
    forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=1000)
    assert reason(bench, chain[2], "third").startswith(("delegation_expired", "parent_ended"))


def test_a_parent_that_was_idle_for_too_long_ends_its_children(bench: Bench) -> None:
    parent = root(bench)
    session = child(bench, parent, expires_in_us=20 * 24 * HOUR_S * 1_000_000)
    for _ in range(8):
        bench.world.pass_s(IDLE_LIMIT_US / 7 / 1e6)
        bench.reopen()
        bench.renew_lease()
        last = reason(bench, session)
    assert last == "parent_ended"


def test_an_ended_child_and_one_for_another_agent_are_what_they_are(bench: Bench) -> None:
    session = child(bench, root(bench))
    assert reason(bench, session, "third") == "unknown_session"
    sessions.end_session(bench.owner, session, key_id="k")
    assert reason(bench, session) == "session_ended"
    refused(ConflictError, "session_ended", lambda: delegate(bench, session))


def test_an_allow_is_not_repeated_once_the_authority_is_gone(bench: Bench) -> None:
    parent = root(bench)
    session = child(bench, parent)
    request = bench.request("helper", session=session, idempotency_key="once")
    assert bench.decided(request)[0].effect == "allow"
    assert bench.decided(request)[0].replayed
    sessions.end_session(bench.owner, parent, key_id="k")
    assert bench.decided(request)[0].reason_code == "parent_ended"


def test_a_principal_is_inherited_and_never_changes(bench: Bench) -> None:
    parent = root(bench, principal="user:ada")
    for asked in ("user:eve", "user:ad"):
        refused(ForbiddenError, "principal_mismatch", partial(delegate, bench, parent, principal=asked))
    token = delegate(bench, parent, principal="user:ada", depth=1)["token"]
    refused(ForbiddenError, "principal_mismatch", lambda: open_child(bench, token, principal="user:eve"))
    session = open_child(bench, token, principal="user:ada")["session"]
    assert delegate(bench, session, "third")["principal"] == "user:ada"
    bench.reopen()
    assert delegate(bench, session, "third")["principal"] == "user:ada"
    nobodys = root(bench)
    refused(ForbiddenError, "principal_mismatch", lambda: delegate(bench, nobodys, principal="user:ada"))
    assert delegate(bench, nobodys)["principal"] is None


def test_an_agent_that_needs_a_session_may_act_in_a_delegated_one(bench: Bench) -> None:
    bench.register("careful", standing=False)
    assert bench.decided(bench.request("careful"))[0].reason_code == "session_required"
    assert reason(bench, child(bench, root(bench), "careful"), "careful") == "rule_allow"


def test_a_session_of_a_standing_workflow_delegates_into_that(bench: Bench) -> None:
    (alone,) = bench.decided(bench.request())
    parent = root(bench, workflow=False)
    child(bench, parent)
    opened = [row for row in bench.rows() if row["event_type"] == "session_opened"]
    standing = next(row["workflow_id"] for row in bench.rows() if row.get("session_id") == alone.session)
    assert {row["workflow_id"] for row in opened} == {standing}


def test_tokens_that_wait_are_bounded_for_each_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegations, "MAX_UNUSED", 3)
    parent = root(bench)
    first = delegate(bench, parent, expires_in_us=60_000_000)["token"]
    delegate(bench, parent)
    delegate(bench, parent)
    refused(OverloadedError, "too_many_delegations", lambda: delegate(bench, parent))
    open_child(bench, first)
    delegate(bench, parent)
    delegate(bench, root(bench))


def test_what_did_not_become_durable_was_not_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = root(bench)
    token = delegate(bench, parent)["token"]

    def fail(*_: Any) -> None:
        raise RuntimeError("the disk")

    with monkeypatch.context() as patched:
        patched.setattr(delegation_journal, "save_use", fail)
        with pytest.raises(RuntimeError):
            open_child(bench, token)
    assert open_child(bench, token)["session"]


# -- an agent whose home is elsewhere -------------------------------------------------------------------------------


def vouched(refusal: str | None = None, version: int = 7) -> tuple[Any, ...]:
    return tuple(Vouch(record_version=version, agent_version="2.1", refusal=refusal, reservation=None))


def test_a_foreign_agent_acts_on_the_word_of_its_home_owner(bench: Bench) -> None:
    token = delegate(bench, root(bench), "stranger")["token"]
    refused(NotFoundError, "unknown_agent", lambda: open_child(bench, token, "stranger"))
    refused(
        NotFoundError,
        "unknown_agent",
        lambda: open_child(bench, token, "stranger", vouch=vouched("unknown_agent")),
    )
    session = open_child(bench, token, "stranger", vouch=vouched())["session"]
    more = {"session": session, "record_version": 7}
    (answer,) = bench.decided(bench.request("stranger", vouch=vouched(), **more))
    assert answer.effect == "allow"
    row = bench.rows()[-1]
    assert (row["agent_version"], row["parent_agent_id"]) == ("2.1", "bot")
    (answer,) = bench.decided(bench.request("stranger", vouch=vouched("lease_expired"), **more))
    assert (answer.effect, answer.reason_code) == ("deny", "lease_expired")
    # Without that word there is no such agent here.
    (answer,) = bench.decided(bench.request("stranger", session=session, record_version=0))
    assert answer.reason_code == "unknown_agent"
    assert bench.decide(bench.request("stranger", **more))[0][0] == "stale_record"


def test_nobodys_word_counts_for_an_agent_that_is_at_home(bench: Bench) -> None:
    version = bench.version("bot")
    (answer,) = bench.decide(bench.request(record_version=version - 1, vouch=vouched(version=version - 1)))
    assert answer[:2] == ("stale_record", version)


def test_what_a_workflow_counted_goes_with_the_session_that_began_it_and_not_with_a_childs(
    bench: Bench,
) -> None:
    def counted() -> list[tuple[str]]:
        while forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=1):
            pass
        return bench.owner.journal.read("SELECT workflow FROM tallies")

    parent = root(bench)
    session = child(bench, parent)
    workflow = bench.owner.journal.read("SELECT workflow FROM sessions WHERE name = ?", (session,))
    with bench.owner.journal.transaction() as step:
        asked_journal.save_tallies(step, [(workflow[0][0], Tallies({"pay": 1}))])
    sessions.end_session(bench.owner, session, key_id="k")
    bench.world.pass_s(25 * HOUR_S)
    assert counted() == workflow
    bench.reopen()
    bench.renew_lease()
    sessions.end_session(bench.owner, parent, key_id="k")
    bench.world.pass_s(25 * HOUR_S)
    assert counted() == []


def test_what_a_workflow_knows_is_kept_while_anything_is_heard_of_it(bench: Bench) -> None:
    journal, now_us = bench.owner.journal, bench.world.wall_us
    with journal.transaction() as step:
        origin_journal.save_state(step, "wfl_old", at_us=now_us, state=b"s")
        origin_journal.save_state(step, "wfl_standing_x", at_us=now_us, state=b"s")
        origin_journal.save_parts(step, [("wfl_standing_x", 1, now_us + ORIGINS_MEMORY_US, b"p")])
    forget_what_is_over(journal, now_us=now_us + ORIGINS_MEMORY_US + 1, limit=9)
    assert journal.read("SELECT DISTINCT workflow FROM origins") == [("wfl_standing_x",)]
