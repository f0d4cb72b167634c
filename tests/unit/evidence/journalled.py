"""An evidence table from real journals: those of an owner and of a control store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson
from unit.actors.approvals_bench import ApprovalBench, bench
from unit.actors.owners import World

from actors import outcomes, sessions
from actors.control import Control, open_control_journal
from actors.journal import Journal
from actors.messages import Decided, Outcome, SessionRequest
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch

BUNDLE = "sha256:" + "a" * 64


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened: `paid` and `looked` were permitted, `large` escalated and then `permitted`, `strange` denied."""

    table: str
    session: str
    looked: Decided
    paid: Decided
    large: Decided
    permitted: Decided
    strange: Decided
    approval: str
    waiting: str


def told(folder: Path) -> Story:
    """Tell the story, and land what the journals hold of it."""
    desk = bench(folder)
    control = Control(
        open_control_journal(folder / "control.db", new_log_id="control.test"), World().surroundings()
    )
    control.store_bundle(digest=BUNDLE, name="desk", rules=2, sources=[], tenant="default", by="ada")
    session = sessions.open_session(
        desk.owner,
        SessionRequest(
            tenant="default",
            subject_type="agent",
            subject_id="bot",
            task_digest=b"t" * 32,
            new_workflow=True,
            key_id="k",
            principal="user:owner",
        ),
    )["session"]
    (looked,) = desk.decided(desk.request("bot", "bank.look", session=session))
    desk.pass_s(1)
    paid = desk.pay(10, session=session, trace_id="0af7651916cd43dd8448eb211c80319c", tool_call_id="call_1")
    report(desk, paid, "succeeded")
    (strange,) = desk.decided(desk.request("bot", "shell.run", session=session))
    large = desk.pay(5000, session=session)
    approval = str(desk.ask(large, justification="the rent")["id"])
    desk.pass_s(60)
    desk.approve(approval, "user:anna", "user:bert")
    permitted = desk.pay(5000, approval=approval, session=session)
    waiting = desk.asked(7000)
    report(desk, permitted, "failed", executed=b"x" * 32)
    path = str(folder / "decisions")
    batches = [whole_log(desk.owner.journal), whole_log(control.journal)]
    EvidenceTable.open_or_create(path).land(batches, ingest_time_us=desk.world.wall_us + 1_000_000)
    return Story(
        table=path,
        session=session,
        looked=looked,
        paid=paid,
        large=large,
        permitted=permitted,
        strange=strange,
        approval=approval,
        waiting=waiting,
    )


def report(desk: ApprovalBench, decided: Decided, status: str, executed: bytes | None = None) -> None:
    outcomes.report_outcome(
        desk.owner,
        Outcome(
            decision_id=decided.id,
            status=status,
            complete=True,
            labels=(),
            executed_digest=executed,
            result_digest=None,
            key_id="pep",
            witness=True,
        ),
    )


def whole_log(journal: Journal) -> LogBatch:
    pending = journal.pending(after_seq=-1, limit=10_000)
    return LogBatch(
        log_id=orjson.loads(pending[0][1])["log_id"],
        first_seq=0,
        last_seq=len(pending) - 1,
        records=[(canonical, leaf) for _, canonical, leaf in pending],
    )
