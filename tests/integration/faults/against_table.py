"""The clients' record against the evidence table: whatever differs is named."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from integration.faults.record import Record, Told
from integration.plane import Running

# Refusals that say nothing about the action: they bind no idempotency key, so that the next attempt may be decided.
UNBOUND = frozenset(
    {
        "clock_uncertain",
        "lease_expired",
        "deadline_passed",
        "no_active_bundle",
        "bundle_lagging",
        "unknown_agent",
        "idempotency_key_spent",
    }
)
_COLUMNS = (
    "event_id, event_type, log_id, seq, agent_id, decision, reason_code, bundle_hash, tool_call_id, details"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How much was compared, for the summary."""

    decisions: int
    permits: int
    keys: int
    outcomes: int
    rows: int
    logs: int
    unseen: int  # decisions in the table that no client received


def rows_of(running: Running, where: str = "TRUE") -> list[dict[str, Any]]:
    return running.table_rows(f"SELECT {_COLUMNS} FROM evidence WHERE {where}")


def compare(record: Record, rows: list[dict[str, Any]]) -> Compared:
    """Raises: AssertionError: naming what clients were told that the table does not say, or says otherwise."""
    _no_gap_and_no_duplicate(rows)
    decided = [row for row in rows if row["event_type"] == "decision"]
    by_id = {row["event_id"]: row for row in decided}
    assert len(by_id) == len(decided), _doubled(row["event_id"] for row in decided)
    told = record.decisions()
    _everything_told_is_there(told, by_id)
    _nobody_was_told_otherwise(record, by_id)
    keys = _one_decision_a_key(record, decided)
    reported = [row for row in rows if row["event_type"] == "outcome"]
    outcomes = Counter(json.loads(row["details"])["decision"] for row in reported)
    assert max(outcomes.values(), default=0) <= 1, _doubled(outcomes.elements())
    lost = [decision for decision, known in record.outcomes.items() if known and decision not in outcomes]
    assert not lost, f"{len(lost)} acknowledged outcomes are not in the table: {lost[:5]}"
    strange = outcomes.keys() - record.outcomes.keys()
    assert not strange, f"outcomes that nobody reported: {sorted(strange)[:5]}"
    return Compared(
        decisions=len(told),
        permits=sum(answer.permitted for answer in told.values()),
        keys=keys,
        outcomes=len(outcomes),
        rows=len(rows),
        logs=len({row["log_id"] for row in rows}),
        unseen=len(by_id.keys() - told.keys()),
    )


def everything_told_is_there(told: list[Told], rows: list[dict[str, Any]]) -> None:
    """The cheap half, in the middle of a run."""
    _everything_told_is_there(
        {answer.id: answer for answer in told if answer.id}, {row["event_id"]: row for row in rows}
    )


def _everything_told_is_there(told: dict[str, Told], by_id: dict[str, dict[str, Any]]) -> None:
    missing = [answer for identity, answer in told.items() if identity not in by_id]
    assert not missing, f"{len(missing)} decisions that clients received are missing, first {missing[:3]}"
    for identity, answer in told.items():
        row = by_id[identity]
        heard = (answer.effect, answer.agent, answer.bundle or None, answer.call, answer.reason)
        kept = (row["decision"], row["agent_id"], row["bundle_hash"], row["tool_call_id"], row["reason_code"])
        assert heard == kept, f"decision {identity}: the client heard {heard}, the table says {kept}"


def _nobody_was_told_otherwise(record: Record, by_id: dict[str, dict[str, Any]]) -> None:
    """Each single answer, replays too; and no client was permitted what the policy denies."""
    for answer in record.since(0):
        if answer.id:
            assert answer.effect == by_id[answer.id]["decision"], answer
        if answer.permitted:
            assert answer.may, f"permitted though the policy denies it: {answer}"


def _one_decision_a_key(record: Record, decided: list[dict[str, Any]]) -> int:
    """A key has one binding row, and whoever repeats it hears that decision and no other."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in decided:
        if row["reason_code"] not in UNBOUND:
            rows[row["tool_call_id"]].append(row)
    answers = record.by_key()
    for key, told in answers.items():
        bound = {answer.id for answer in told if answer.reason not in UNBOUND}
        assert len(bound) <= 1, f"key `{key}` was answered with several decisions: {told}"
        kept = rows.get(told[0].call, [])
        assert len(kept) <= 1, f"key `{key}` has {len(kept)} decisions in the table: {kept}"
    # Keys that nobody got an answer for, too; and without a key, nobody on the way sends a request again.
    for answer in record.since(0):
        assert len(rows.get(answer.call, [])) <= 1, f"`{answer.call}` was decided more than once: {answer}"
    return len(answers)


def _no_gap_and_no_duplicate(rows: list[dict[str, Any]]) -> None:
    logs: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        logs[row["log_id"]].append(row["seq"])
    for log_id, numbers in logs.items():
        numbers.sort()
        assert numbers == list(range(len(numbers))), (
            f"log `{log_id}` has {len(numbers)} rows, sequence numbers {numbers[0]} to {numbers[-1]}"
        )


def _doubled(identities: Any) -> str:
    return f"more than once: {[name for name, count in Counter(identities).items() if count > 1][:5]}"
