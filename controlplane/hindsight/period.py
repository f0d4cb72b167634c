"""The rows of a period, in the order in which they happened, a page at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controlplane.hindsight.evidence_rows import COLUMNS
from evidence.query import query

_PAGE_ROWS: Final = 20_000
_MOST_ROWS: Final = 5_000_000  # of one minute, which is the smallest page
_MINUTE_US: Final = 60_000_000
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_DECIDED: Final = "event_type = 'decision'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Args: from_us: beginning; until_us: end, itself no part of it."""

    from_us: int
    until_us: int


class PeriodReader:
    """Reads a table. Cost: one query to count, and one for about 20 000 rows each.

    Args:
        path: directory of the Delta table.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def registrations(self, until_us: int) -> list[dict[str, Any]]:
        """Who was registered how before a period's end, in order."""
        return self._events("'agent_registered', 'principal_set'", f"event_time < {_time(until_us)}")

    def bundles(self, period: Period) -> list[str]:
        """Digests of the bundles that decided."""
        found = self._ask("DISTINCT bundle_hash", f"{_DECIDED} AND {_within(period)}")
        return sorted(row["bundle_hash"] for row in found if row["bundle_hash"])

    def count(self, period: Period) -> int:
        """How many rows `rows` gives."""
        return sum(self._minutes(period).values())

    def rows(self, period: Period) -> Iterator[dict[str, Any]]:
        """Decisions and outcomes, in order."""
        for page in _pages(self._minutes(period), period):
            yield from self._events("'decision', 'outcome'", _within(page))

    def decision(self, decision_id: str) -> dict[str, Any] | None:
        """One decision's row; None = there is none."""
        found = self._ask(", ".join(COLUMNS), f"{_DECIDED} AND event_id = {_quoted(decision_id)}")
        return found[0] if found else None

    def of(
        self, column: str, value: str, *, tenant: str, from_us: int, until_us: int
    ) -> list[dict[str, Any]]:
        """Decisions and outcomes of one session, workflow or agent, in order.

        Args:
            column: session_id, workflow_id or agent_id.
        """
        assert column in ("session_id", "workflow_id", "agent_id")
        where = f"{column} = {_quoted(value)} AND tenant_id = {_quoted(tenant)}"
        period = Period(from_us=from_us, until_us=until_us)
        return self._events("'decision', 'outcome'", f"{where} AND {_within(period)}")

    def _minutes(self, period: Period) -> Mapping[int, int]:
        found = self._ask(
            f"epoch_us(event_time) // {_MINUTE_US} AS minute, count(*) AS rows",
            f"event_type IN ('decision', 'outcome') AND {_within(period)} GROUP BY 1 ORDER BY 1",
        )
        return {row["minute"]: row["rows"] for row in found}

    def _events(self, types: str, where: str) -> list[dict[str, Any]]:
        return self._ask(
            ", ".join(COLUMNS), f"event_type IN ({types}) AND {where} ORDER BY event_time, log_id, seq"
        )

    def _ask(self, what: str, where: str) -> list[dict[str, Any]]:
        # Our own words and numbers; an id that somebody typed is quoted, and the query can only read.
        sql = f"SELECT {what} FROM evidence WHERE {where}"  # noqa: S608
        found: list[dict[str, Any]] = query(self._path, sql, max_rows=_MOST_ROWS, timeout_s=600.0).to_pylist()
        return found


def _pages(minutes: Mapping[int, int], period: Period) -> Iterator[Period]:
    """Runs of minutes with about a page of rows each."""
    begun: int | None = None
    rows = 0
    for minute, count in minutes.items():
        if begun is None:
            begun = max(period.from_us, minute * _MINUTE_US)
        rows += count
        if rows >= _PAGE_ROWS:
            ends = min(period.until_us, (minute + 1) * _MINUTE_US)
            yield Period(from_us=begun, until_us=ends)
            begun, rows = None, 0
    if begun is not None:
        yield Period(from_us=begun, until_us=period.until_us)


def _within(period: Period) -> str:
    # The date as well: it is the partition.
    return (
        f"event_date >= DATE '{_date(period.from_us)}' AND event_date <= DATE '{_date(period.until_us)}' "
        f"AND event_time >= {_time(period.from_us)} AND event_time < {_time(period.until_us)}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _time(us: int) -> str:
    return f"make_timestamptz({us})"


def _date(us: int) -> str:
    return (_EPOCH + datetime.timedelta(microseconds=us)).date().isoformat()
