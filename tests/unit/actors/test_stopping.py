"""Stops at an owner: whatever meets one is denied, everywhere, before all else; rules and findings stop at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import Bench
from unit.actors.two_owners import TwoOwners

from actors.active_bundle import ActiveBundle
from actors.delegations import delegate, open_child
from actors.journal import JournalError
from actors.messages import Decided, DelegationRequest, Outcome, SessionRequest
from actors.outcomes import report_outcome
from actors.sessions import open_session
from actors.stops import own as own_stops
from actors.stops.counting import count
from actors.stops.handover import hand_over
from actors.stops.live import Stop
from actors.vouching import vouch_for_agent
from controlplane.errors import ForbiddenError, UnavailableError

HOUR_US = 3_600_000_000
POLICY = """
kind: Catalog
tools:
  ledger.read: {system: ledger, effects: [read], data: [], boundary: internal}
  ledger.pay: {system: ledger, effects: [pay], boundary: external, data: [], args: {amount: {type: decimal}}}
  mail.send: {system: mail, effects: [send], data: [], boundary: external}
  loose: {effects: [read], data: [], boundary: internal}
---
kind: Policy
name: p
rules:
  - {id: all, then: allow}
  - id: too-much
    on: {tool: ledger.pay}
    when: args.amount > 1000.0
    then: deny
  - id: probing
    limit: {count: denials, per: 10m, scope: agent, above: 2}
    then: deny
    stop: {agent, for: 1h}
    because: it keeps trying
  - id: huge
    on: {tool: ledger.pay}
    when: args.amount > 1000000.0
    then: deny
    stop: {workflow}
  - {id: watched, on: {tool: loose}, then: deny, mode: monitor, stop: {agent}}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host-000.db", bundle=ActiveBundle.compile([("p.yaml", POLICY)]))
    bench.register("bot", owner="treasury", tools=("mail.send",))
    bench.register("mate", owner="support")
    return bench


def stopped(bench: Bench, target_type: str, target_id: str = "", **more: Any) -> Stop:
    """What a lease brings."""
    values: dict[str, Any] = {
        "id": f"stp_{len(bench.directory.stops)}",
        "tenant": "default",
        "target_type": target_type,
        "target_id": target_id,
        "reason": "pays twice",
        "by": "op",
        "created_us": bench.world.wall_us,
    }
    stop = Stop(**(values | more))
    bench.directory.stops.add(stop)
    return stop


def do(bench: Bench, agent: str = "bot", tool: str = "ledger.read", **more: Any) -> Decided:
    (decided,) = bench.decided(bench.request(agent, tool, **more))
    return decided


def reason(bench: Bench, agent: str = "bot", tool: str = "ledger.read", **more: Any) -> str:
    return do(bench, agent, tool, **more).reason_code


def opened(bench: Bench, agent: str = "bot", **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tenant": "default",
        "subject_type": "agent",
        "subject_id": agent,
        "task_digest": None,
        "new_workflow": True,
        "key_id": "k",
    }
    return open_session(bench.owner, SessionRequest(**(values | more)))


def delegated(bench: Bench, session: str, to: str, depth: int = 0) -> str:
    request = DelegationRequest(
        tenant="default",
        session=session,
        to=to,
        tools=None,
        depth=depth,
        expires_in_us=HOUR_US,
        principal=None,
        key_id="k",
    )
    return str(delegate(bench.owner, request)["token"])


def child(bench: Bench, session: str, agent: str, depth: int = 0) -> str:
    return used(bench, delegated(bench, session, agent, depth), agent)


def used(bench: Bench, token: str, agent: str) -> str:
    request = SessionRequest(
        tenant="default",
        subject_type="agent",
        subject_id=agent,
        task_digest=None,
        new_workflow=False,
        key_id="k",
        parent=token,
    )
    return str(open_child(bench.owner, request)["session"])


@pytest.mark.parametrize(
    ("target_type", "target_id", "met"),
    [
        ("agent", "bot", ["bot ledger.read", "bot mail.send"]),
        ("agent", "b*", ["bot ledger.read", "bot mail.send"]),
        ("owner", "support", ["mate ledger.read", "mate mail.send"]),
        ("tool", "mail.send", ["bot mail.send", "mate mail.send"]),
        ("tool", "l*", ["bot ledger.read", "mate ledger.read"]),
        ("system", "mail", ["bot mail.send", "mate mail.send"]),
        ("fleet", "", ["bot ledger.read", "bot mail.send", "mate ledger.read", "mate mail.send"]),
        ("agent", "nobody", []),
        ("owner", "bot", []),
    ],
)
def test_a_stop_meets_what_it_is_about_and_nothing_else(
    bench: Bench, target_type: str, target_id: str, met: list[str]
) -> None:
    stopped(bench, target_type, target_id)
    asked = [(agent, tool) for agent in ("bot", "mate") for tool in ("ledger.read", "mail.send")]
    found = [f"{agent} {tool}" for agent, tool in asked if reason(bench, agent, tool) == "stopped"]
    assert found == met


def test_a_denial_names_the_stop_and_its_reason_and_so_does_its_evidence(bench: Bench) -> None:
    stop = stopped(bench, "agent", "bot")
    decided = do(bench)
    assert (decided.effect, decided.reason_code) == ("deny", "stopped")
    assert decided.detail == f"stop `{stop.id}` of agent `bot`: pays twice"
    row = bench.rows()[-1]
    assert row["reason_code"] == "stopped" and json.loads(row["details"])["stop"] == stop.id


def test_what_may_belong_to_a_stopped_system_is_stopped(bench: Bench) -> None:
    assert reason(bench, tool="loose") == "rule_allow"
    stopped(bench, "system", "mail")
    assert reason(bench, tool="loose") == "stopped"
    assert reason(bench, tool="ledger.read") == "rule_allow"


def test_no_earlier_allow_is_repeated_no_key_is_bound_and_after_it_the_key_is_as_it_was(bench: Bench) -> None:
    first = do(bench, idempotency_key="k1")
    assert first.expires_us
    stop = stopped(bench, "agent", "bot", expires_us=bench.world.wall_us + 10_000_000)
    assert reason(bench, idempotency_key="k1") == "stopped"
    assert reason(bench, idempotency_key="k2") == "stopped"
    assert reason(bench, dry_run=True) == "stopped"
    bench.world.pass_s(9)
    bench.renew_lease()
    assert reason(bench, idempotency_key="k1") == "stopped"
    bench.world.pass_s(1)
    assert not stop.live(bench.world.wall_us)
    again = do(bench, idempotency_key="k1")
    assert again.replayed and again.id == first.id
    assert do(bench, idempotency_key="k2").expires_us


def test_who_cannot_know_of_stops_says_so_first(bench: Bench) -> None:
    stopped(bench, "fleet")
    bench.world.pass_s(3)
    assert reason(bench) == "lease_expired"


def test_who_cannot_know_of_stops_opens_and_delegates_nothing(bench: Bench) -> None:
    root = opened(bench)
    token = delegated(bench, root["session"], "mate")
    bench.world.pass_s(3)
    for attempt in (
        lambda: opened(bench),
        lambda: delegated(bench, root["session"], "mate"),
        lambda: used(bench, token, "mate"),
    ):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert caught.value.code == "lease_expired"


def test_a_stop_of_a_workflow_meets_everybody_in_it_and_nobody_else(bench: Bench) -> None:
    root = opened(bench)
    below = child(bench, root["session"], "mate")
    stopped(bench, "workflow", root["workflow"])
    assert reason(bench, "bot", session=root["session"]) == "stopped"
    assert reason(bench, "mate", session=below) == "stopped"
    assert reason(bench, "bot") == reason(bench, "mate") == "rule_allow"


@pytest.mark.parametrize(("target_type", "target_id"), [("agent", "bot"), ("owner", "treasury")])
def test_a_stop_of_an_agent_stops_what_acts_on_its_delegation_below(
    bench: Bench, target_type: str, target_id: str
) -> None:
    bench.register("third")
    root = opened(bench)["session"]
    below = child(bench, root, "mate", depth=1)
    lowest = child(bench, below, "third")
    stopped(bench, target_type, target_id)
    assert reason(bench, "mate", session=below) == reason(bench, "third", session=lowest) == "stopped"
    assert reason(bench, "mate") == reason(bench, "third") == "rule_allow"


def test_a_stopped_agent_opens_nothing_and_delegates_nothing(bench: Bench) -> None:
    root = opened(bench)["session"]
    token = delegated(bench, root, "mate")
    stopped(bench, "agent", "bot")
    request = SessionRequest("default", "agent", "mate", None, False, "k", parent=token)
    for refused in (
        lambda: opened(bench),
        lambda: delegated(bench, root, "mate"),
        lambda: open_child(bench.owner, request),
        lambda: vouch_for_agent(bench.owner, "default", "bot"),
    ):
        with pytest.raises(ForbiddenError, match="pays twice") as raised:
            refused()
        assert (raised.value.code, raised.value.fields["stop"]) == ("stopped", "stp_0")
    assert opened(bench, "mate")["session"]


def test_an_outcome_of_what_was_allowed_before_is_taken(bench: Bench) -> None:
    decided = do(bench)
    stopped(bench, "agent", "bot")
    assert report(bench, decided)["findings"] == []


def report(bench: Bench, decided: Decided, executed: bytes | None = None) -> dict[str, Any]:
    outcome = Outcome(decided.id, "succeeded", True, (), executed, None, "k", witness=False)
    return report_outcome(bench.owner, outcome)


# -- agents whose sessions live elsewhere --------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> TwoOwners:
    return TwoOwners(tmp_path)


def test_an_agent_is_stopped_wherever_its_session_lives_by_what_its_home_knows(two: TwoOwners) -> None:
    two.home.register("bot", owner="treasury")
    assert two.do().expires_us
    stop = stopped(two.home, "owner", "treasury")
    decided = two.do()
    assert (decided.reason_code, decided.detail) == (
        "stopped",
        f"stop `{stop.id}` of owner `treasury`: pays twice",
    )
    assert json.loads(two.work.rows()[-1]["details"])["stop"] == stop.id
    two.home.directory.stops.clear()
    assert two.do().expires_us


def test_the_owner_of_the_workflow_stops_it_by_itself_too(two: TwoOwners) -> None:
    stopped(two.work, "agent", "boss")
    assert two.do().reason_code == "stopped"
    assert two.at_home().expires_us


def test_a_stop_that_comes_between_the_home_and_the_workflows_owner_is_missed_by_neither(
    two: TwoOwners,
) -> None:
    two.home.register("bot", owner="treasury")
    vouched = two.vouched(two.request())
    stopped(two.work, "owner", "treasury")
    (answer,) = two.work.decide(*vouched)
    assert answer[3] == "stopped"


def test_what_acts_for_a_stopped_owners_agent_from_elsewhere_is_stopped_over_restarts(two: TwoOwners) -> None:
    two.home.register("bot", owner="treasury")
    two.work.register("third")
    session = two.new_session(depth=1)
    below = child(two.work, session, "third")
    stopped(two.work, "owner", "treasury")
    assert reason(two.work, "third", "bank.pay", session=below) == "stopped"
    two.restart(0)
    two.work.renew_lease()
    assert reason(two.work, "third", "bank.pay", session=below) == "stopped"
    assert reason(two.work, "third", "bank.pay") == "rule_allow"


def test_what_is_stopped_holds_nothing_at_its_home(tmp_path: Path) -> None:
    rule = "  - {id: few, limit: {count: actions, scope: agent, above: 5}, then: deny}\n"
    two = TwoOwners(tmp_path, rule)
    stopped(two.work, "agent", "bot")
    assert two.do().reason_code == "stopped"
    stopped(two.home, "agent", "bot")
    assert two.do().reason_code == "stopped"
    assert two.open() == []
    two.work.directory.stops.clear()
    two.home.directory.stops.clear()
    assert [two.do().reason_code for _ in range(6)] == ["rule_allow"] * 5 + ["rule_deny"]


# -- what rules and findings stop ----------------------------------------------------------------------------------


def too_much(bench: Bench, agent: str = "bot", amount: int = 2_000, **more: Any) -> Decided:
    return do(bench, agent, "ledger.pay", arguments={"amount": amount}, **more)


def reopened(bench: Bench) -> None:
    bench.reopen()
    bench.owner.adopt(bench.bundle, bench.owner.activation)


def own(bench: Bench) -> list[Stop]:
    return list(bench.owner.stops.live)


def test_n_denials_in_a_window_stop_the_agent_at_once_and_over_a_restart(bench: Bench) -> None:
    assert [too_much(bench).reason_code for _ in range(3)] == ["rule_deny"] * 3
    assert own(bench) == [] and reason(bench, "mate") == "rule_allow"
    denied = do(bench)
    assert denied.reason_code == "rule_deny" and [name for name, _, _ in denied.reasons] == ["p/probing"]
    (stop,) = own(bench)
    assert (stop.target, stop.by, stop.reason) == ("agent `bot`", "rule:p/probing", "it keeps trying")
    assert (stop.decision, stop.expires_us) == (denied.id, bench.world.wall_us + HOUR_US)
    (told,) = json.loads(bench.rows()[-1]["details"])["stops"]
    assert told == {"stop": stop.id, "type": "agent", "id": "bot", "by": "rule:p/probing"}
    assert reason(bench) == "stopped"
    reopened(bench)
    assert reason(bench) == "stopped" and own(bench) == [stop]
    bench.world.pass_s(3_600)
    bench.renew_lease()
    assert reason(bench) == "rule_allow"


def test_what_comes_in_the_same_batch_is_stopped_too(bench: Bench) -> None:
    found = bench.decided(*[bench.request("bot", "ledger.pay", {"amount": 2_000}) for _ in range(5)])
    codes = [decided.reason_code for decided in found]
    assert codes == ["rule_deny"] * 4 + ["stopped"]
    assert len(own(bench)) == 1


def test_a_rule_may_stop_the_workflow_until_somebody_releases_it(bench: Bench) -> None:
    session = opened(bench)
    too_much(bench, amount=2_000_000, session=session["session"])
    (stop,) = own(bench)
    assert (stop.target_type, stop.target_id, stop.expires_us) == ("workflow", session["workflow"], None)
    assert reason(bench, session=session["session"]) == "stopped" and reason(bench) == "rule_allow"
    assert stop.reason == "denied by `p/huge`"


def test_neither_dry_runs_nor_monitored_rules_nor_users_stop_agents(bench: Bench) -> None:
    session = opened(bench)["session"]
    assert too_much(bench, amount=2_000_000, session=session, dry_run=True).reason_code == "rule_deny"
    assert reason(bench, tool="loose") == "rule_allow"
    entry = {"tenant": "default", "type": "user", "id": "bot", "record_version": 7}
    bench.directory.apply(
        1, (None, 0), [("principal", "default/user/bot", entry)], sent_s=bench.world.monotonic_us / 1e6
    )
    for _ in range(5):
        too_much(bench, subject_type="user", record_version=7)
    assert own(bench) == [] and reason(bench) == "rule_allow"


def test_a_stop_that_did_not_become_durable_is_not_remembered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        too_much(bench)

    def failing(*_: Any) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("actors.keeping.save_decisions", failing)
        with pytest.raises(JournalError):
            do(bench)
    assert own(bench) == [] and do(bench).reason_code == "rule_deny" and len(own(bench)) == 1


def test_past_the_bound_a_rule_denies_and_stops_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_stops, "MOST_WAITING", 0)
    assert [too_much(bench).reason_code for _ in range(5)] == ["rule_deny"] * 5
    assert own(bench) == []


def test_however_many_workflows_are_stopped_an_agent_is_and_is_told_of_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stops, "MOST_WAITING", 1)
    too_much(bench, "mate", 2_000_000)
    assert [stop.target_type for stop in own(bench)] == ["workflow"]
    for _ in range(4):
        too_much(bench)
    assert reason(bench) == "stopped"
    assert [one["target_type"] for one in bench.owner.stops.waiting(1)] == ["agent"]


def test_those_that_have_run_out_make_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_stops, "MOST_WAITING", 1)
    first = probed(bench)
    for _ in range(4):
        too_much(bench, "mate")
    assert own(bench) == [first]
    bench.world.pass_s(3_600)
    bench.renew_lease()
    for _ in range(4):
        too_much(bench, "mate")
    (second,) = own(bench)
    assert second.target_id == "mate" and reason(bench, "mate") == "stopped"
    reopened(bench)
    assert own(bench) == [second]


def test_who_executed_something_else_is_stopped_until_an_operator_has_looked(bench: Bench) -> None:
    decided = do(bench)
    assert report(bench, decided, b"x" * 32)["findings"] == ["executed_digest_mismatch"]
    (stop,) = own(bench)
    assert (stop.target_id, stop.by, stop.expires_us) == ("bot", "finding:executed_digest_mismatch", None)
    finding = next(row for row in bench.rows() if row["event_type"] == "finding")
    assert json.loads(finding["details"])["stops"][0]["stop"] == stop.id
    assert reason(bench) == "stopped"


def test_a_deployment_may_only_find_it(bench: Bench) -> None:
    object.__setattr__(bench.owner.settings, "stop_on_mismatch", False)
    assert report(bench, do(bench), b"x" * 32)["findings"] == ["executed_digest_mismatch"]
    assert own(bench) == [] and reason(bench) == "rule_allow"


# -- handing over --------------------------------------------------------------------------------------------------


class Store:
    """Stands for the control store: takes what it has room for."""

    def __init__(self, *, revision: int = 7, room: int = 100) -> None:
        self.revision = revision
        self.room = room
        self.away = False
        self.offered: list[list[str]] = []

    async def take(self, stops: list[dict[str, Any]]) -> tuple[int, list[str]]:
        if self.away:
            raise UnavailableError("away")
        self.offered.append([stop["id"] for stop in stops])
        taken = self.offered[-1][: self.room]
        return self.revision, taken


def leased(bench: Bench, revision: int, *changes: tuple[str, str, dict[str, Any] | None]) -> None:
    """What a host does with a lease."""
    bench.directory.apply(revision, (None, 0), list(changes), sent_s=bench.world.monotonic_us / 1e6)
    bench.owner.stops.settle(bench.directory.revision)


def probed(bench: Bench) -> Stop:
    for _ in range(4):
        too_much(bench)
    (stop,) = own(bench)
    return stop


def test_it_is_handed_over_until_it_is_acknowledged_and_enforced_until_the_directory_knows(
    bench: Bench,
) -> None:
    stop, store = probed(bench), Store()
    store.away = True
    asyncio.run(hand_over(bench.owner, store.take))
    store.away = False
    asyncio.run(hand_over(bench.owner, store.take))
    asyncio.run(hand_over(bench.owner, store.take))
    assert store.offered == [[stop.id]] and own(bench) == [stop]
    reopened(bench)
    leased(bench, 6)
    asyncio.run(hand_over(bench.owner, store.take))
    assert own(bench) == [stop] and reason(bench) == "stopped"
    entry = stop.to_json()
    leased(bench, 7, ("stop", stop.id, entry))
    assert own(bench) == [] and store.offered == [[stop.id]] and reason(bench) == "stopped"
    leased(bench, 8, ("stop", stop.id, None))
    assert reason(bench, tool="ledger.read") == "rule_deny"  # four denials are in its window as before
    assert reason(bench, "mate") == "rule_allow"
    reopened(bench)
    assert len(own(bench)) == 1


def test_what_finds_no_room_is_enforced_here_and_offered_again_after_the_others(bench: Bench) -> None:
    first, store = probed(bench), Store(room=0)
    asyncio.run(hand_over(bench.owner, store.take))
    for _ in range(4):
        too_much(bench, "mate")
    second = next(stop for stop in own(bench) if stop != first)
    asyncio.run(hand_over(bench.owner, store.take))
    store.room = 2
    asyncio.run(hand_over(bench.owner, store.take))
    assert store.offered[0] == [first.id] and set(store.offered[2]) == {first.id, second.id}
    assert reason(bench) == reason(bench, "mate") == "stopped"


# -- counting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_type", "target_id", "agents", "sessions"),
    [
        ("agent", "bot", 1, 3),
        ("agent", "mate", 1, 2),
        ("owner", "treasury", 1, 3),
        ("fleet", "", 3, 5),
        ("agent", "nobody", 0, 0),
        ("tool", "mail.send", 2, 4),
        ("system", "ledger", 2, 4),
        ("workflow", "", 2, 2),
    ],
)
def test_a_dry_run_counts_agents_and_live_sessions(
    bench: Bench, target_type: str, target_id: str, agents: int, sessions: int
) -> None:
    bench.register("idle")
    root = opened(bench)
    below = child(bench, root["session"], "mate")
    do(bench, "mate", "mail.send", session=below)
    do(bench, "bot")
    do(bench, "mate")
    ended = opened(bench, "idle")["session"]
    bench.owner.find_session(bench.owner.agent("default/agent/idle"), ended).ended_us = 1  # type: ignore[union-attr]
    with bench.owner.journal.transaction() as step:
        step.execute("UPDATE sessions SET ended_us = 1 WHERE name = ?", (ended,))
    opened(bench, "idle")
    stop = Stop(
        id="stp_x",
        tenant="default",
        target_type=target_type,  # type: ignore[arg-type]
        target_id=target_id or ("" if target_type == "fleet" else root["workflow"]),
        reason="r",
        by="k",
        created_us=0,
    )
    found = asyncio.run(count(bench.owner, stop))
    assert found == (agents, sessions)
