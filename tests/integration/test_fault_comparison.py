"""The judge of the fault runs is itself judged: whatever differs between clients and table is found. Needs no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from integration.faults.against_table import compare
from integration.faults.plan import long_plan, short_plan
from integration.faults.record import Record, Told
from integration.faults.victims import How, Victim

from evidence.failpoints import POINTS

Row = dict[str, Any]


def told(number: int, *, effect: str = "allow", key: str | None = None) -> Told:
    return Told(
        agent="a",
        call=f"call-{number}",
        key=key,
        may=effect == "allow",
        deadline_s=1.0,
        sent_s=float(number),
        ended_s=number + 0.1,
        status=200,
        id=f"d-{number}",
        effect=effect,
        reason=f"rule_{effect}",
        bundle="sha256:b",
    )


def row_of(answer: Told, seq: int) -> Row:
    return {
        "event_id": answer.id,
        "event_type": "decision",
        "log_id": "log",
        "seq": seq,
        "agent_id": answer.agent,
        "decision": answer.effect,
        "reason_code": answer.reason,
        "bundle_hash": answer.bundle,
        "tool_call_id": answer.call,
        "details": None,
    }


def outcome_row(decision: str, seq: int) -> Row:
    row = row_of(told(0), seq)
    return row | {
        "event_id": f"o-{seq}",
        "event_type": "outcome",
        "details": json.dumps({"decision": decision}),
    }


def a_run() -> tuple[Record, list[Row]]:
    """Three decisions, the first under a key and repeated, with an outcome; all is as it should be."""
    record = Record()
    first, second, third = told(0, key="k"), told(1, effect="deny"), told(2)
    for answer in (first, replace(first, replayed=True), second, third):
        record.add(answer)
    record.outcome("d-0", acknowledged=True)
    rows = [row_of(answer, seq) for seq, answer in enumerate((first, second, third))]
    return record, [*rows, outcome_row("d-0", 3)]


def test_a_run_without_fault_compares() -> None:
    compared = compare(*a_run())
    assert (compared.decisions, compared.permits, compared.keys, compared.outcomes) == (3, 2, 1, 1)


def change(number: int, **fields: Any) -> Callable[[Record, list[Row]], None]:
    return lambda record, rows: rows[number].update(fields)


def _lose_the_last_row(record: Record, rows: list[Row]) -> None:
    rows.pop()


def _land_a_row_twice(record: Record, rows: list[Row]) -> None:
    rows.append(rows[1])


def _lose_a_row_and_close_the_gap(record: Record, rows: list[Row]) -> None:
    del rows[1]
    for seq, row in enumerate(rows):
        row["seq"] = seq


def _decide_a_key_twice(record: Record, rows: list[Row]) -> None:
    rows.append(row_of(replace(told(0), id="d-9"), 4))


def _decide_a_request_twice(record: Record, rows: list[Row]) -> None:
    rows.append(row_of(replace(told(2), id="d-9"), 4))


def _answer_a_key_twice(record: Record, rows: list[Row]) -> None:
    again = replace(told(0, key="k"), id="d-9")
    record.add(again)
    rows.append(row_of(again, 4))


def _permit_what_the_policy_denies(record: Record, rows: list[Row]) -> None:
    wrong = replace(told(4), may=False)
    record.add(wrong)
    rows.append(row_of(wrong, 4))


def _report_an_outcome_twice(record: Record, rows: list[Row]) -> None:
    rows.append(outcome_row("d-0", 4))


def _report_what_nobody_reported(record: Record, rows: list[Row]) -> None:
    rows.append(outcome_row("d-2", 4))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_lose_the_last_row, "acknowledged outcomes are not in the table"),
        (_land_a_row_twice, "log `log` has 5 rows"),
        (change(2, seq=7), "log `log` has 4 rows"),
        (_lose_a_row_and_close_the_gap, "decisions that clients received are missing"),
        (change(1, decision="allow"), "the table says"),
        (change(0, decision="deny"), "the table says"),
        (change(0, agent_id="b"), "the table says"),
        (change(0, bundle_hash="sha256:c"), "the table says"),
        (_decide_a_key_twice, "has 2 decisions in the table"),
        (_decide_a_request_twice, "`call-2` was decided more than once"),
        (_answer_a_key_twice, "answered with several decisions"),
        (_permit_what_the_policy_denies, "permitted though the policy denies it"),
        (_report_an_outcome_twice, "more than once"),
        (_report_what_nobody_reported, "outcomes that nobody reported"),
    ],
)
def test_each_difference_is_found(harm: Callable[[Record, list[Row]], None], message: str) -> None:
    record, rows = a_run()
    harm(record, rows)
    with pytest.raises(AssertionError, match=message):
        compare(record, rows)


@pytest.mark.parametrize("seed", range(20))
def test_the_short_plan_strikes_everything_and_ends_the_cluster_in_both_ways(seed: int) -> None:
    faults = [fault for round_ in short_plan(seed) for fault in round_.faults]
    struck = {fault.victim for fault in faults if fault.how is How.KILL}
    assert struck | {Victim.HOST_1, Victim.RAYLET, Victim.GCS, Victim.WHOEVER} == set(Victim)
    crashed = [fault.victim for fault in faults if fault.how is How.CRASH]
    assert crashed == [Victim.EVIDENCE_WRITER, Victim.WHOEVER]
    assert sum(fault.victim.ends_the_cluster for fault in faults) == 2
    assert Victim.EVERYTHING in struck
    assert [fault.how for fault in faults].count(How.STOP) == 1


def test_a_plan_is_repeated_by_its_seed_and_begins_like_a_longer_one() -> None:
    assert long_plan(7, 50)[:10] == long_plan(7, 10)
    assert long_plan(7, 10) != long_plan(8, 10)
    assert {str(fault) for round_ in long_plan(1, 50) for fault in round_.faults} >= {
        f"kill {victim}" for victim in Victim if victim not in (Victim.RAYLET, Victim.GCS, Victim.WHOEVER)
    }


def test_every_failpoint_that_a_plan_crashes_at_is_one() -> None:
    faults = [fault for round_ in long_plan(1, 100) for fault in round_.faults]
    named = {fault.point for fault in faults if fault.how is How.CRASH}
    assert named < POINTS and len(named) == 11
