"""`controlplane approvals load`: what oversight costs people, read from the evidence table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from controlplane.cli.output import show, table
from controlplane.cli.times import shown

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane.oversight.load import Load

# What was asked for earlier and still waits is found as well.
_BEFORE_US = 90 * 86_400_000_000
_MOST_ROWS = 1_000_000
_ROWS = """
    SELECT event_type, epoch_us(event_time) AS time_us, approval_id, approval_state, approver_id, agent_id, rule_ids,
           details
    FROM evidence
    WHERE event_type LIKE 'approval_%' AND approval_state IS NOT NULL
      AND event_time >= make_timestamptz({from_us}) AND event_date >= make_timestamp({from_us})::DATE
    ORDER BY event_time, log_id, seq
"""


def rows_since(table_path: str, since_us: int) -> list[dict[str, Any]]:
    """What the load since a moment is computed from. Raises: as `evidence.query.query`."""
    from evidence.query import query

    sql = _ROWS.format(from_us=since_us - _BEFORE_US)
    rows: list[dict[str, Any]] = query(table_path, sql, max_rows=_MOST_ROWS).to_pylist()
    return rows


def show_load(table_path: str, since_us: int, now_us: int, as_json: bool) -> None:
    """Print the load since a moment. Raises: QueryError, NoEvidenceError, EvidenceUnavailableError."""
    from controlplane.oversight.load import load_of

    found = load_of(rows_since(table_path, since_us), since_us=since_us, now_us=now_us)
    as_values = {"since": shown(since_us), **asdict(found)}
    for waiting in as_values["waiting"]:
        waiting["since"] = shown(waiting.pop("since_us"))
    show(as_json, as_values, lambda console: _print(console, found, since_us))


def _print(console: Console, load: Load, since_us: int) -> None:
    console.print(f"{len(load.waiting)} wait", style="bold")
    table(
        console,
        ("agent", "approval", "rule", "who may act", "age"),
        [(one.agent, one.approval, one.rules, one.may_act, _time(one.age_s)) for one in load.waiting],
        empty="nobody",
    )
    console.print(f"\nby approver, since {shown(since_us)}", style="bold")
    table(
        console,
        ("approver", "approved", "denied", "rate", "median", "within 2 s"),
        [
            (one.approver, one.approved, one.denied, _rate(one.rate), _time(one.median_s), one.hasty)
            for one in load.approvers
        ],
        empty="nobody decided",
    )
    console.print(f"\nby rule, since {shown(since_us)}", style="bold")
    table(
        console,
        ("rule", "asked", "approved", "denied", "expired", "cancelled", "rate", "median"),
        [
            (
                one.rule,
                one.requested,
                one.approved,
                one.denied,
                one.expired,
                one.cancelled,
                _rate(one.rate),
                _time(one.median_s),
            )
            for one in load.rules
        ],
        empty="no rule asked",
    )


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0%}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
