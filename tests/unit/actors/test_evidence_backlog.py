"""As much evidence may wait to land as the journal's bound says; then nothing is decided until some has landed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.actors.owners import START_US, Bench, World

from actors import agent_host, messages, outcomes, sessions
from actors.agent_host import AgentHost
from actors.agent_journal import forget_what_is_over
from actors.bounds import EVIDENCE_BACKLOG
from actors.control import Control, open_control_journal
from actors.deciding import decide
from actors.directory import Activation
from actors.evidence_rows import event
from actors.log_feed import LogFeed
from actors.messages import Outcome, SessionRequest
from actors.owner import EvidenceBacklogError, OwnerSettings
from controlplane.errors import UnavailableError
from controlplane.limits import Limits
from policies.origin.hashing import TokenHasher
from policies.origin.telling import told_by_task

BOUND = 10

TOLD = tuple(told_by_task("go on", TokenHasher(bytes(32))))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An owner that may keep ten rows; registering its agent was the first."""
    bench = Bench(tmp_path / "host-000.db", evidence_backlog=BOUND)
    bench.register("bot")
    return bench


def fill(bench: Bench) -> None:
    while bench.owner.journal.pending_count() < BOUND:
        bench.decided(bench.request())


def opening() -> SessionRequest:
    return SessionRequest(
        tenant="default",
        subject_type="agent",
        subject_id="bot",
        task_digest=None,
        new_workflow=True,
        key_id="k",
    )


def report(decision_id: str) -> Outcome:
    return Outcome(
        decision_id=decision_id,
        status="succeeded",
        complete=True,
        labels=(),
        executed_digest=None,
        result_digest=None,
        key_id="k",
        witness=False,
    )


def everything(bench: Bench) -> tuple[object, ...]:
    """All that an owner keeps, row by row."""
    tables = ("meta", "evidence", "agents", "sessions", "seen", "decided", "bound")
    return tuple(tuple(bench.owner.journal.read(f"SELECT * FROM {table}")) for table in tables)


def test_it_decides_up_to_the_bound_and_not_beyond(bench: Bench) -> None:
    for _ in range(BOUND - 1):
        assert bench.decided(bench.request())[0].effect == "allow"
    with pytest.raises(EvidenceBacklogError, match=r"10 rows of evidence of `host-000` wait to land"):
        bench.decide(bench.request())
    assert len(bench.rows()) == BOUND


def test_a_batch_passes_the_bound_by_what_is_in_it_at_most(bench: Bench) -> None:
    bench.decided(*(bench.request() for _ in range(25)))
    assert bench.owner.journal.pending_count() == 26
    with pytest.raises(EvidenceBacklogError):
        bench.decide(bench.request())


def test_at_the_bound_nothing_is_journalled_whatever_is_asked(bench: Bench) -> None:
    session = sessions.open_session(bench.owner, opening())["session"]
    allowed = bench.decided(bench.request(session=session, idempotency_key="k"))[0]
    fill(bench)
    before = everything(bench)
    asked: list[Callable[[], object]] = [
        lambda: bench.decide(bench.request()),
        lambda: bench.decide(bench.request("nobody")),
        lambda: bench.decide(bench.request(idempotency_key="k", session=session)),
        lambda: bench.decide(bench.request(dry_run=True)),
        lambda: bench.decide(bench.request(arguments={"amount": 5000})),
        lambda: sessions.open_session(bench.owner, opening()),
        lambda: sessions.add_task(
            bench.owner, session, task_digest=b"t" * 32, told=TOLD, basis=None, key_id="k"
        ),
        lambda: sessions.end_session(bench.owner, session, key_id="k"),
        lambda: outcomes.report_outcome(bench.owner, report(allowed.id)),
        lambda: bench.register("bot", labels=("new",)),
    ]
    for ask in asked:
        with pytest.raises(EvidenceBacklogError) as refused:
            ask()
        assert refused.value.code == "evidence_backlog"
    assert everything(bench) == before


def test_what_was_refused_in_memory_is_as_it_was_once_there_is_room(bench: Bench) -> None:
    session = sessions.open_session(bench.owner, opening())["session"]
    allowed = bench.decided(bench.request(session=session))[0]
    fill(bench)
    for again in range(3):
        with pytest.raises(EvidenceBacklogError):
            sessions.add_task(
                bench.owner,
                session,
                task_digest=bytes([again]) * 32,
                told=TOLD,
                basis=None,
                key_id="k",
            )
        with pytest.raises(EvidenceBacklogError):
            sessions.end_session(bench.owner, session, key_id="k")
    bench.owner.journal.trim(landed_seq=5)
    assert (
        sessions.add_task(bench.owner, session, task_digest=b"t" * 32, told=TOLD, basis=None, key_id="k")[
            "turns"
        ]
        == 1
    )
    assert outcomes.report_outcome(bench.owner, report(allowed.id))["outcome"] == "succeeded"
    assert bench.decided(bench.request(session=session))[0].effect == "allow"
    assert sessions.end_session(bench.owner, session, key_id="k")["actions"] == 2


def test_landing_opens_it_again_by_itself(bench: Bench) -> None:
    fill(bench)
    feed = LogFeed()
    log_id, records, _ = feed.pending(bench.owner.journal, 4)
    feed.trim(bench.owner.journal, log_id, records[-1][0])
    for _ in range(4):
        assert bench.decided(bench.request())[0].effect == "allow"
    with pytest.raises(EvidenceBacklogError):
        bench.decide(bench.request())


def test_a_restart_at_the_bound_forgets_nothing_of_it(bench: Bench) -> None:
    fill(bench)
    bench.reopen()
    with pytest.raises(EvidenceBacklogError):
        bench.decide(bench.request())
    bench.owner.journal.trim(landed_seq=0)
    assert bench.decided(bench.request())[0].effect == "allow"
    bench.reopen()
    with pytest.raises(EvidenceBacklogError):
        bench.decide(bench.request())


def test_what_leaves_no_evidence_goes_on_at_the_bound(bench: Bench) -> None:
    fill(bench)
    stale = decide(bench.owner, "sha256:other", [tuple(bench.request())])
    assert stale == (messages.STALE_BUNDLE, bench.bundle.digest)
    bench.owner.adopt(bench.bundle, Activation(bench.bundle.digest, 7))
    assert bench.owner.activation.number == 7
    bench.world.pass_s(2 * 86_400)
    assert not forget_what_is_over(bench.owner.journal, now_us=bench.world.wall_us, limit=100)
    assert bench.owner.journal.read("SELECT count(*) FROM decided") == [(0,)]


def test_what_waits_is_counted_right_through_landing_failures_and_restarts(bench: Bench) -> None:
    def counted() -> int:
        return int(bench.owner.journal.read("SELECT count(*) FROM evidence")[0][0])

    journal = bench.owner.journal
    for landed in (-1, 0, 0, 3, 2):
        bench.decided(bench.request(), bench.request())
        with pytest.raises(KeyError), journal.transaction():
            raise KeyError
        journal.trim(landed_seq=landed)
        assert journal.pending_count() == counted()
    journal.trim(landed_seq=journal.next_seq - 1)
    assert journal.pending_count() == counted() == 0
    journal.trim(landed_seq=journal.next_seq + 50)
    assert journal.pending_count() == counted() == 0
    bench.reopen()
    assert bench.owner.journal.pending_count() == 0
    bench.decided(bench.request())
    assert bench.owner.journal.pending_count() == counted() == 1


def test_a_host_at_the_bound_says_so_and_how_much_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text('{"session_key": "' + "00" * 32 + '"}')

    async def leased(*_: object, timeout_s: float) -> tuple[object, ...]:
        return 0, (None, 0), []

    monkeypatch.setattr(agent_host, "ask", leased)

    async def fill_and_land() -> None:
        host = AgentHost("host-000", 0, str(tmp_path), str(secrets), evidence_backlog=3)
        await host.refresh()
        await host.pending(10)
        assert (await host.status())["reason"] == "journal_unconfirmed"
        log_id = (await host.status())["log"]
        await host.trim(log_id, -1)
        for number in range(3):
            await host.register_agent("default", f"bot-{number}", {}, "k")
        status = await host.status()
        assert (status["ready"], status["reason"]) == (False, "evidence_backlog")
        assert (status["pending_rows"], status["evidence_backlog"]) == (3, 3)
        with pytest.raises(UnavailableError) as refused:
            await host.decide(None, [])
        assert refused.value.code == "evidence_backlog"
        await host.trim(log_id, 1)
        status = await host.status()
        assert (status["ready"], status["reason"], status["pending_rows"]) == (True, None, 1)

    asyncio.run(fill_and_land())


def test_refusals_of_mad_keys_do_not_fill_the_control_stores_journal(tmp_path: Path) -> None:
    journal = open_control_journal(tmp_path / "c.db", new_log_id="control.x")
    store = Control(journal, World().surroundings(), evidence_backlog=3)

    def refuse(identity: str) -> int:
        summary = {"id": identity, "tenant": "default", "details": {"refused": START_US}}
        return store.record_refusals(summaries=[summary])

    assert [refuse("a"), refuse("b"), refuse("c")] == [1, 1, 1]
    with pytest.raises(UnavailableError, match="waits to land"):
        refuse("d")
    # What an operator does, a key's revocation above all, is never refused for want of landing.
    made = store.create_key(
        tenant="default",
        role="auditor",
        agents=[],
        subjects=[],
        grants=[],
        note="",
        expires_in_s=None,
        by="k",
    )
    assert store.revoke_key(made["id"], tenant="default", by="k")["revoked_us"]
    store.journal.trim(landed_seq=store.journal.next_seq - 1)
    assert refuse("d") == 1


def test_what_has_landed_makes_room_in_the_file_for_what_comes(bench: Bench) -> None:
    """SQLite gives no room back, and needs none: the file of one that was at its bound ten times is no larger."""
    bench.evidence_backlog = 2_000
    bench.reopen()
    journal = bench.owner.journal

    def fill_and_land() -> int:
        while journal.pending_count() < 2_000:
            with journal.transaction() as step:
                for number in range(100):
                    step.append(
                        event(event_id=f"e{number}", event_type="finding", time_us=START_US, tenant="t")
                    )
        files = [path.stat().st_size for path in bench.path.parent.glob(f"{bench.path.name}*")]
        while journal.trim(landed_seq=journal.next_seq - 1):
            pass
        return sum(files)

    # The write-ahead log (4 MiB) grows to its full size first.
    warm = max(fill_and_land() for _ in range(4))
    sizes = [fill_and_land() for _ in range(12)]
    assert max(sizes) < 1.1 * warm, (warm, sizes)


def test_the_default_is_the_same_wherever_it_is_left_out() -> None:
    own = OwnerSettings(name="host-000", ordinal=0, session_key=b"s" * 32)
    assert Limits().evidence_backlog == own.evidence_backlog == EVIDENCE_BACKLOG
