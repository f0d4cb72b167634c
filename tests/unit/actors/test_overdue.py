"""A permitted action of which nobody says what came of it is noticed, once, and still gets its outcome."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import START_US, Bench, World

from actors import housekeeping, overdue
from actors.bounds import OUTCOME_TIMEOUT_S
from actors.messages import Outcome
from actors.outcomes import describe_decision, report_outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host-000.db")
    bench.register("bot")
    bench.register("other")
    return bench


def passes(bench: Bench, seconds: float) -> None:
    bench.world.pass_s(seconds)
    bench.renew_lease()


def findings(bench: Bench) -> list[dict[str, Any]]:
    found = [row for row in bench.rows() if row.get("reason_code") == "outcome_overdue"]
    assert all(row["event_type"] == "finding" for row in found)
    return [{"agent": row["agent_id"]} | json.loads(row["details"]) for row in found]


def reported(decision_id: str) -> Outcome:
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


def test_each_agent_whose_outcomes_did_not_come_leaves_one_finding(bench: Bench) -> None:
    heard, first, second, theirs = bench.decided(
        *(bench.request() for _ in range(3)), bench.request("other"), bench.request("other", "ledger.burn")
    )[:4]
    report_outcome(bench.owner, reported(heard.id))
    passes(bench, OUTCOME_TIMEOUT_S - 1)
    assert not overdue.notice(bench.owner, limit=100)
    assert findings(bench) == []
    passes(bench, 2)
    assert not overdue.notice(bench.owner, limit=100)
    assert findings(bench) == [
        {"agent": "bot", "count": 2, "decisions": [first.id, second.id], "timeout_s": OUTCOME_TIMEOUT_S},
        {"agent": "other", "count": 1, "decisions": [theirs.id], "timeout_s": OUTCOME_TIMEOUT_S},
    ]


def test_a_finding_is_made_once_and_survives_a_restart(bench: Bench) -> None:
    bench.decided(bench.request())
    passes(bench, OUTCOME_TIMEOUT_S + 1)
    overdue.notice(bench.owner, limit=100)
    bench.owner.journal.close()
    bench.reopen()
    bench.renew_lease()
    overdue.notice(bench.owner, limit=100)
    assert len(findings(bench)) == 1


def test_a_few_at_a_time_find_the_same(bench: Bench) -> None:
    decided = bench.decided(*(bench.request() for _ in range(7)))
    report_outcome(bench.owner, reported(decided[3].id))
    passes(bench, OUTCOME_TIMEOUT_S + 1)
    steps = 1
    while overdue.notice(bench.owner, limit=2):
        steps += 1
    found = [identity for one in findings(bench) for identity in one["decisions"]]
    assert found == [one.id for place, one in enumerate(decided) if place != 3]
    assert steps == 4


def test_a_decision_says_that_its_outcome_is_overdue_until_it_comes(bench: Bench) -> None:
    (allowed,), (denied,) = bench.decided(bench.request()), bench.decided(bench.request(tool="ledger.burn"))
    assert not describe_decision(bench.owner, allowed.id)["overdue"]
    passes(bench, OUTCOME_TIMEOUT_S + 1)
    assert describe_decision(bench.owner, allowed.id)["overdue"]
    assert not describe_decision(bench.owner, denied.id)["overdue"]
    report_outcome(bench.owner, reported(allowed.id))
    assert not describe_decision(bench.owner, allowed.id)["overdue"]


def test_without_a_timeout_nothing_is_overdue(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "host-000.db", outcome_timeout_s=0)
    bench.register("bot")
    (allowed,) = bench.decided(bench.request())
    passes(bench, 20 * 3_600)
    assert not overdue.notice(bench.owner, limit=100)
    assert findings(bench) == []
    assert not describe_decision(bench.owner, allowed.id)["overdue"]


def test_findings_wait_where_evidence_cannot_land(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "host-000.db", World(wall_us=START_US), evidence_backlog=2)
    bench.register("bot")
    bench.decided(bench.request())
    passes(bench, OUTCOME_TIMEOUT_S + 1)
    overdue.notice(bench.owner, limit=100)
    assert findings(bench) == []


def test_no_decision_is_forgotten_before_its_missing_outcome_could_be_noticed(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "host-000.db", World(wall_us=START_US), evidence_backlog=2)
    bench.register("bot")
    (allowed,) = bench.decided(bench.request())
    passes(bench, 25 * 3_600)
    asyncio.run(housekeeping.tidy(lambda: bench.owner))
    assert findings(bench) == []
    bench.owner.journal.trim(landed_seq=bench.owner.journal.next_seq - 1)
    asyncio.run(housekeeping.tidy(lambda: bench.owner))
    assert [one["decisions"] for one in findings(bench)] == [[allowed.id]]
