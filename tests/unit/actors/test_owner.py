"""What an owner decides, and what it leaves in its journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.actors.owners import SESSION_KEY, Bench

from actors import live_agent, messages, outcomes, sessions
from actors import owner as owner_module
from actors.agent_journal import DECISION_MEMORY_US, forget_what_is_over
from actors.deciding import decide
from actors.directory import Activation
from actors.ids import ordinal_of_decision, session_id
from actors.journal import FencedError, Journal, JournalError
from actors.live_agent import IDLE_LIMIT_US, SESSION_LIFETIME_US
from actors.messages import Outcome, SessionRequest
from actors.owner import BundleMismatchError
from actors.registration import describe_agent
from controlplane.errors import ConflictError, NotFoundError, OverloadedError
from policies.origin.hashing import TokenHasher
from policies.origin.telling import told_by_task

TOLD = tuple(told_by_task("go on", TokenHasher(bytes(32))))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host-000.db")
    bench.register("bot", tools=("ledger.read",))
    return bench


def outcome(decision_id: str, status: str = "succeeded", executed: bytes | None = None) -> Outcome:
    return Outcome(
        decision_id=decision_id,
        status=status,
        complete=True,
        labels=(),
        executed_digest=executed,
        result_digest=None,
        key_id="k",
        witness=False,
    )


def opening(agent: str = "bot", *, new_workflow: bool = True) -> SessionRequest:
    return SessionRequest(
        tenant="default",
        subject_type="agent",
        subject_id=agent,
        task_digest=b"t" * 32,
        new_workflow=new_workflow,
        key_id="k",
    )


def test_an_action_is_allowed_by_a_rule_and_denied_by_a_stronger_one(bench: Bench) -> None:
    small, large = bench.decided(bench.request(), bench.request(arguments={"amount": 1000.5}))
    assert (small.effect, small.reason_code, small.reasons[0][0]) == ("allow", "rule_allow", "spine/everyday")
    assert (large.effect, large.reasons) == ("deny", (("spine/too-much", "too much", ("sox/x",)),))
    assert small.expires_us == bench.world.wall_us + 30_000_000 and large.expires_us == 0
    assert ordinal_of_decision(small.id) == 0


def test_every_decision_leaves_one_row_in_order(bench: Bench) -> None:
    decided = bench.decided(*(bench.request(arguments={"amount": n * 500}) for n in range(4)))
    rows = bench.rows()[1:]
    assert [row["event_id"] for row in rows] == [answer.id for answer in decided]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert [row["decision"] for row in rows] == ["allow", "allow", "allow", "deny"]
    assert (
        rows[0]["system"] == "ledger" and rows[0]["boundary"] == "external" and rows[0]["data_classes"] == []
    )
    assert bench.decided(bench.request(tool="ledger.read"))[0].effect == "allow"
    assert bench.rows()[-1]["atoms"] == ["spine/reads_money"]


def test_a_batch_prepared_with_another_bundle_is_stale_and_leaves_nothing(bench: Bench) -> None:
    before = len(bench.rows())
    answer = decide(bench.owner, "sha256:other", [tuple(bench.request())])
    assert answer == (messages.STALE_BUNDLE, bench.bundle.digest)
    assert len(bench.rows()) == before


def test_an_action_prepared_with_another_record_comes_back_with_the_current_one(bench: Bench) -> None:
    old = bench.version("bot")
    bench.register("bot", labels=("new",))
    stale, fine = bench.decide(bench.request(record_version=old), bench.request())
    assert (
        stale[0] == messages.STALE_RECORD and stale[1] == bench.version("bot") > old and '"new"' in stale[2]
    )
    assert fine[0] == messages.DECIDED


def test_a_group_with_a_stale_item_is_prepared_again_as_a_whole(bench: Bench) -> None:
    bench.register("other")
    answers = bench.decide(bench.request(record_version=7, group=4), bench.request(agent="other", group=4))
    assert [answer[0] for answer in answers] == [messages.STALE_RECORD, messages.STALE_RECORD]


@pytest.mark.parametrize(
    ("agent", "more", "code"),
    [
        ("nobody", {}, "unknown_agent"),
        ("bot", {"deadline_us": 1}, "deadline_passed"),
        ("bot", {"session": "ses_" + "A" * 43}, "unknown_session"),
        ("bot", {"refusal": "unlisted_argument"}, "unlisted_argument"),
    ],
)
def test_what_cannot_be_decided_is_denied_with_evidence(
    bench: Bench, agent: str, more: dict[str, object], code: str
) -> None:
    (answer,) = bench.decided(bench.request(agent, **more))  # type: ignore[arg-type]
    assert (answer.effect, answer.reason_code) == ("deny", code)
    assert bench.rows()[-1]["reason_code"] == code


def test_an_uncertain_clock_an_old_lease_and_no_bundle_deny(bench: Bench) -> None:
    bench.world.wall_us += 10_000_000
    assert bench.decided(bench.request())[0].reason_code == "clock_uncertain"
    bench.world.wall_us -= 10_000_000
    bench.world.pass_s(3)
    assert bench.decided(bench.request())[0].reason_code == "lease_expired"
    bench.renew_lease()
    assert bench.decided(bench.request())[0].effect == "allow"


def test_an_agent_registered_without_a_standing_session_needs_one(bench: Bench) -> None:
    bench.register("careful", standing=False)
    assert bench.decided(bench.request("careful"))[0].reason_code == "session_required"
    opened = sessions.open_session(bench.owner, opening("careful"))
    assert bench.decided(bench.request("careful", session=opened["session"]))[0].effect == "allow"


def test_a_session_works_until_it_ends_and_only_for_its_agent(bench: Bench) -> None:
    bench.register("other")
    name = sessions.open_session(bench.owner, opening())["session"]
    assert bench.decided(bench.request(session=name))[0].session == name
    assert bench.decided(bench.request("other", session=name))[0].reason_code == "unknown_session"
    sessions.add_task(bench.owner, name, task_digest=b"x" * 32, told=TOLD, basis=None, key_id="k")
    assert sessions.end_session(bench.owner, name, key_id="k")["actions"] == 1
    assert bench.decided(bench.request(session=name))[0].reason_code == "session_ended"
    with pytest.raises(ConflictError):
        sessions.end_session(bench.owner, name, key_id="k")
    with pytest.raises(NotFoundError):
        sessions.end_session(bench.owner, "ses_" + "A" * 43, key_id="k")
    kinds = [row["event_type"] for row in bench.rows() if row.get("session_id") == name]
    assert kinds == ["session_opened", "decision", "session_task", "session_ended", "decision"]


def test_a_session_expires_after_seven_idle_days_and_at_its_own_end(bench: Bench) -> None:
    name = sessions.open_session(bench.owner, opening())["session"]
    bench.world.pass_s(IDLE_LIMIT_US / 1e6 - 1)
    bench.renew_lease()
    assert bench.decided(bench.request(session=name))[0].effect == "allow"
    bench.world.pass_s(IDLE_LIMIT_US / 1e6 + 1)
    bench.renew_lease()
    assert bench.decided(bench.request(session=name))[0].reason_code == "session_expired"
    # A refused use does not bring it back.
    assert bench.decided(bench.request(session=name))[0].reason_code == "session_expired"
    old = session_id(
        key=SESSION_KEY,
        subject="default/agent/bot",
        ordinal=0,
        expires_us=bench.world.wall_us - SESSION_LIFETIME_US,
        random=b"r" * 9,
    )
    assert bench.decided(bench.request(session=old))[0].reason_code == "unknown_session"


def test_a_session_of_a_plain_key_joins_the_standing_workflow(bench: Bench) -> None:
    standing = bench.decided(bench.request())[0]
    joined = sessions.open_session(bench.owner, opening(new_workflow=False))
    workflow = next(row["workflow_id"] for row in bench.rows() if row["event_id"] == standing.id)
    assert joined["workflow"] == workflow
    assert sessions.open_session(bench.owner, opening())["workflow"] != workflow


def test_an_idempotency_key_replays_conflicts_and_is_spent(bench: Bench) -> None:
    first = bench.decided(bench.request(idempotency_key="k"))[0]
    rows = len(bench.rows())
    again = bench.decided(bench.request(idempotency_key="k"))[0]
    assert again == first._replace(replayed=True) and len(bench.rows()) == rows
    (other,) = bench.decide(bench.request(idempotency_key="k", arguments={"amount": 2}))
    assert other[0] == messages.CONFLICT
    (tool,) = bench.decide(bench.request(idempotency_key="k", tool="ledger.read", arguments={"amount": 1}))
    assert tool[0] == messages.CONFLICT
    bench.world.pass_s(31)
    bench.renew_lease()
    late = bench.decided(bench.request(idempotency_key="k"))[0]
    assert (late.effect, late.reason_code) == ("deny", "idempotency_key_spent")


def test_an_owner_that_cannot_tell_the_time_or_lost_its_lease_repeats_no_allow(bench: Bench) -> None:
    first = bench.decided(bench.request(idempotency_key="k"))[0]
    bench.world.wall_us += 10_000_000
    assert bench.decided(bench.request(idempotency_key="k"))[0].reason_code == "clock_uncertain"
    bench.world.wall_us -= 10_000_000
    bench.world.pass_s(3)
    assert bench.decided(bench.request(idempotency_key="k"))[0].reason_code == "lease_expired"
    bench.renew_lease()
    assert bench.decided(bench.request(idempotency_key="k"))[0] == first._replace(replayed=True)


def test_a_conflict_stops_a_batch_that_stops_on_the_first_deny(bench: Bench) -> None:
    bench.decided(bench.request(idempotency_key="k"))
    answers = bench.decide(
        bench.request(idempotency_key="k", arguments={"amount": 2}, group=1, stop_on="deny"),
        bench.request(group=1, stop_on="deny"),
    )
    assert [answer[0] for answer in answers] == [messages.CONFLICT, messages.SKIPPED]


def test_an_allow_is_not_repeated_in_a_session_that_has_ended(bench: Bench) -> None:
    name = sessions.open_session(bench.owner, opening())["session"]
    assert bench.decided(bench.request(session=name, idempotency_key="k"))[0].effect == "allow"
    sessions.end_session(bench.owner, name, key_id="k")
    assert bench.decided(bench.request(session=name, idempotency_key="k"))[0].reason_code == "session_ended"


def test_being_unknown_does_not_bind_an_idempotency_key(bench: Bench) -> None:
    assert bench.decided(bench.request("late", idempotency_key="k"))[0].reason_code == "unknown_agent"
    bench.register("late")
    assert bench.decided(bench.request("late", idempotency_key="k"))[0].effect == "allow"


def test_a_key_that_was_revoked_on_the_way_is_denied(bench: Bench) -> None:
    entry = {"revoked_us": bench.world.wall_us, "expires_us": None}
    bench.directory.apply(5, (None, 0), [("key", "k", entry)], sent_s=bench.world.monotonic_us / 1e6)
    assert bench.decided(bench.request())[0].reason_code == "key_revoked"
    entry = {"revoked_us": None, "expires_us": bench.world.wall_us}
    bench.directory.apply(6, (None, 0), [("key", "k", entry)], sent_s=bench.world.monotonic_us / 1e6)
    assert bench.decided(bench.request())[0].reason_code == "key_expired"


def test_an_owner_that_cannot_follow_an_activation_denies_after_a_lease(bench: Bench) -> None:
    bench.directory.apply(0, ("sha256:newer", 9), [], sent_s=bench.world.monotonic_us / 1e6)
    assert bench.decided(bench.request())[0].effect == "allow"
    bench.world.pass_s(2.5)
    bench.renew_lease()
    assert bench.decided(bench.request())[0].reason_code == "bundle_lagging"


def test_an_owner_never_goes_back_to_an_older_activation_nor_takes_another_bundle(bench: Bench) -> None:
    bench.owner.adopt(bench.bundle, Activation(bench.bundle.digest, 3))
    bench.owner.adopt(bench.bundle, Activation(bench.bundle.digest, 2))
    assert bench.owner.activation.number == 3
    with pytest.raises(BundleMismatchError):
        bench.owner.adopt(bench.bundle, Activation("sha256:other", 4))


def test_registering_again_changes_only_what_is_given(bench: Bench) -> None:
    bench.register("bot", labels=("sre",), owner="ada")
    bench.register("bot", owner="bob")
    record = bench.owner.record("default", "agent", "bot")
    assert record is not None
    assert (record.labels, record.tools, record.owner) == (("sre",), ("ledger.read",), "bob")
    assert bench.owner.registered == 1


def test_what_an_agent_has_been_seen_to_do_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_agent, "MAX_SEEN", 3)
    for number in range(8):
        bench.decided(bench.request(action=f"act-{number}"))
    assert len(bench.owner.agent("default/agent/bot").seen) == 4


def test_live_sessions_of_one_agent_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_LIVE_SESSIONS", 2)
    first = sessions.open_session(bench.owner, opening())["session"]
    sessions.open_session(bench.owner, opening())
    with pytest.raises(OverloadedError, match="live sessions"):
        sessions.open_session(bench.owner, opening())
    sessions.end_session(bench.owner, first, key_id="k")
    sessions.open_session(bench.owner, opening())


def test_opening_a_session_counts_the_others_once_however_many_have_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_LIVE_SESSIONS", 3)
    counted: list[str] = []
    count = sessions.count_live_sessions

    def counting(journal: Journal, key: str, *, limit: int) -> int:
        counted.append(key)
        return count(journal, key, limit=limit)

    monkeypatch.setattr(sessions, "count_live_sessions", counting)
    for _ in range(10):
        name = sessions.open_session(bench.owner, opening())["session"]
        sessions.end_session(bench.owner, name, key_id="k")
    assert counted == ["default/agent/bot"]
    for _ in range(3):
        sessions.open_session(bench.owner, opening())
    with pytest.raises(OverloadedError, match="live sessions"):
        sessions.open_session(bench.owner, opening())
    assert len(counted) == 1
    # Whoever wakes anew is at the limit still, until sessions that ran out are forgotten.
    bench.owner.forget_memory()
    with pytest.raises(OverloadedError, match="live sessions"):
        sessions.open_session(bench.owner, opening())
    bench.world.pass_s((IDLE_LIMIT_US + 2 * DECISION_MEMORY_US) / 1e6)
    bench.renew_lease()
    forget_what_is_over(bench.owner.journal, now_us=bench.owner.event_time().us, limit=100)
    bench.owner.count_sessions_anew()
    sessions.open_session(bench.owner, opening())


@pytest.mark.parametrize("ended", [False, True])
def test_sessions_in_memory_are_bounded_however_many_an_agent_uses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr(owner_module, "SESSIONS_AWAKE", 5)
    monkeypatch.setattr(sessions, "SESSIONS_AWAKE", 5)
    names = []
    for _ in range(20):
        names.append(sessions.open_session(bench.owner, opening())["session"])
        if ended:
            sessions.end_session(bench.owner, names[-1], key_id="k")
    agent = bench.owner.agent("default/agent/bot")
    for name in names * 2:
        assert bench.decided(bench.request(session=name))[0].effect == ("deny" if ended else "allow")
        assert len(agent.sessions) <= 6
    # Within a batch none is let go: each sees what the ones before it have used.
    bench.decided(*(bench.request(session=name) for name in names * 3))
    assert len(agent.sessions) <= 6 and bench.owner.agent("default/agent/bot") is agent
    while bench.owner.uses.carry_out():
        pass
    used = dict(bench.owner.journal.read("SELECT name, actions FROM sessions"))
    assert [used[name] for name in names] == [0 if ended else 5] * 20


def test_what_is_over_is_forgotten_after_its_time_and_not_before(bench: Bench) -> None:
    name = sessions.open_session(bench.owner, opening())["session"]
    bench.decided(bench.request(idempotency_key="k"))
    sessions.end_session(bench.owner, name, key_id="k")

    def tidy() -> tuple[int, int, int]:
        forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=100)
        tables = ("decided", "bound", "sessions")
        (counts,) = bench.owner.journal.read(
            "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        )
        return counts  # type: ignore[return-value]

    assert tidy() == (1, 1, 2)
    bench.world.pass_s(86_400 + 1)
    assert tidy() == (0, 0, 1)  # the standing session stays


def test_an_idempotency_key_survives_a_restart_and_holds_within_a_batch(bench: Bench) -> None:
    first, twin = bench.decided(bench.request(idempotency_key="k"), bench.request(idempotency_key="k"))
    assert twin.id == first.id and twin.replayed
    bench.reopen()
    assert bench.decided(bench.request(idempotency_key="k"))[0].id == first.id


def test_a_deny_for_want_of_time_does_not_bind_the_idempotency_key(bench: Bench) -> None:
    assert bench.decided(bench.request(idempotency_key="k", deadline_us=1))[0].effect == "deny"
    assert bench.decided(bench.request(idempotency_key="k"))[0].effect == "allow"


def test_a_rule_that_decided_for_want_of_knowledge_is_named(bench: Bench) -> None:
    (answer,) = bench.decided(bench.request(arguments={"amount": "many"}))
    assert (answer.effect, answer.reason_code) == ("deny", "rule_deny")
    assert "`spine/too-much` denies because a fact is unknown" in answer.detail
    assert "many" not in str(bench.rows())


def test_a_dry_run_leaves_nothing_behind(bench: Bench) -> None:
    rows = len(bench.rows())
    (answer,) = bench.decided(bench.request(dry_run=True, idempotency_key="k"))
    assert (answer.effect, answer.id) == ("allow", "")
    assert len(bench.rows()) == rows
    assert not bench.decided(bench.request(idempotency_key="k"))[0].replayed


@pytest.mark.parametrize(
    ("stop_on", "amounts", "expected"),
    [
        ("deny", [1, 5000, 2], ["decided", "decided", "skipped"]),
        ("permit", [5000, 1, 2], ["decided", "decided", "skipped"]),
        (None, [5000, 1, 2], ["decided", "decided", "decided"]),
    ],
)
def test_a_short_circuit_decides_and_records_nothing_after_its_stop(
    bench: Bench, stop_on: str | None, amounts: list[int], expected: list[str]
) -> None:
    rows = len(bench.rows())
    answers = bench.decide(
        *(bench.request(arguments={"amount": amount}, group=1, stop_on=stop_on) for amount in amounts)
    )
    assert [answer[0] for answer in answers] == expected
    assert len(bench.rows()) - rows == expected.count("decided")


def test_an_outcome_is_reported_once_and_only_for_what_was_permitted(bench: Bench) -> None:
    allowed, denied = bench.decided(bench.request(), bench.request(arguments={"amount": 5000}))
    assert outcomes.report_outcome(bench.owner, outcome(allowed.id))["findings"] == []
    with pytest.raises(ConflictError, match="already has the outcome"):
        outcomes.report_outcome(bench.owner, outcome(allowed.id, "failed"))
    with pytest.raises(ConflictError, match="no outcome to report"):
        outcomes.report_outcome(bench.owner, outcome(denied.id))
    with pytest.raises(NotFoundError):
        outcomes.report_outcome(bench.owner, outcome("0190a000-0000-7000-8000-000000000001"))
    assert outcomes.describe_decision(bench.owner, allowed.id)["outcome"]["status"] == "succeeded"


def test_other_arguments_executed_than_allowed_are_a_finding(bench: Bench) -> None:
    request = bench.request()
    allowed, same = bench.decided(request, request)
    found = outcomes.report_outcome(bench.owner, outcome(allowed.id, executed=b"x" * 32))
    assert found["findings"] == ["executed_digest_mismatch"]
    assert [row["event_type"] for row in bench.rows()[-2:]] == ["outcome", "finding"]
    assert not outcomes.report_outcome(bench.owner, outcome(same.id, executed=request.arguments_digest))[
        "findings"
    ]


def test_a_resting_agent_wakes_with_all_that_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "h.db", awake_limit=1)
    for agent in ("a", "b", "c"):
        bench.register(agent)
        bench.decided(bench.request(agent))
    assert bench.owner.awake() == 1
    bench.decided(bench.request("a"))
    edges = describe_agent(bench.owner, "default/agent/a")["graph"]["edges"]
    (call,) = [edge for edge in edges if edge["key"] == "can_call"]
    assert (call["observed"], call["count"]) == (True, 2)


def test_the_graph_shows_declared_and_observed_capabilities(bench: Bench) -> None:
    bench.decided(
        bench.request(tool="ledger.pay"), bench.request(tool="ledger.pay", arguments={"amount": 9999})
    )
    graph = describe_agent(bench.owner, "default/agent/bot")["graph"]
    found = {(e["key"], e["to"][1]): (e["declared"], e["observed"], e["count"]) for e in graph["edges"]}
    assert found["can_call", "ledger.read"] == (True, False, 0)
    assert found["can_call", "ledger.pay"] == (False, True, 1)  # what was denied did not happen
    assert found["reads", "financial"][0] is True
    assert found["writes", "ledger"] == (False, True, 1)


def test_a_journal_that_fails_denies_everybody_and_forgets_what_did_not_become_durable(bench: Bench) -> None:
    bench.decided(bench.request())
    bench.owner.journal._live().execute("DROP TABLE decided")
    with pytest.raises(JournalError):
        bench.decided(bench.request())
    with pytest.raises(JournalError):
        bench.decided(bench.request())
    bench.reopen()
    assert bench.owner.record("default", "agent", "bot") is not None
    assert len(bench.rows()) == 2


def test_a_superseded_owner_decides_nothing_more(bench: Bench) -> None:
    old = bench.owner
    bench.reopen()
    with pytest.raises(FencedError):
        decide(old, bench.bundle.digest, [tuple(bench.request())])
    assert bench.decided(bench.request())[0].effect == "allow"


def test_event_time_and_the_active_bundle_survive_a_restart(bench: Bench) -> None:
    bench.world.pass_s(1)
    bench.decided(bench.request())
    bench.reopen()
    bench.world.wall_us -= 500_000
    bench.world.monotonic_us -= 500_000
    bench.renew_lease()
    bench.decided(bench.request())
    times = [row["event_time"] for row in bench.rows()]
    assert times == sorted(times)
    assert bench.owner.activation.digest == bench.bundle.digest


def test_an_earlier_versions_journal_is_taken_over_with_its_decisions_and_keys(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "host-000.db")
    bench.register("bot")
    request = bench.request(idempotency_key="once")
    (first,) = bench.decided(request)
    connection = bench.owner.journal._live()
    connection.executescript(
        "CREATE TABLE decisions (id TEXT PRIMARY KEY, agent TEXT, created_us INTEGER, digest BLOB, answer BLOB,"
        " request BLOB, outcome TEXT);"
        "CREATE TABLE idempotency (agent TEXT, key TEXT, decision TEXT, created_us INTEGER);"
        "INSERT INTO decisions SELECT id, agent, 0, digest, answer, request, outcome FROM decided;"
        "INSERT INTO idempotency SELECT agent, idempotency_key, id, 0 FROM decided;"
        "DELETE FROM decided; DELETE FROM bound;"
    )
    bench.owner.journal.close()
    bench.reopen()
    (again,) = bench.decided(request)
    assert (again.id, again.replayed) == (first.id, True)
    assert outcomes.report_outcome(bench.owner, outcome(first.id))["outcome"] == "succeeded"
    assert not bench.owner.journal.read(
        "SELECT 1 FROM sqlite_master WHERE name IN ('decisions', 'idempotency')"
    )
