"""With the table alone: which actions of which agents were denied yesterday, and by which rule."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable
from unit.evidence.evidence_samples import DAY_US, NOON_US, full_row, record, small_row

from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query

YESTERDAY = date(1970, 1, 1) + timedelta(days=NOON_US // DAY_US)
DENIED = [
    ("clerk", "call", "mail.send", "treasury/no-pii-out", 2),
    ("treasury-bot", "call", "payments.transfer", "default_deny", 1),
    ("treasury-bot", "call", "payments.transfer", "treasury/a, treasury/b", 1),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    mail = {"agent_id": "clerk", "resource_id": "mail.send", "rule_ids": ["treasury/no-pii-out"]}
    rows = [
        full_row(event_time=NOON_US - DAY_US, rule_ids=["too/early"]),
        full_row(event_time=NOON_US - 1, **mail),
        full_row(event_time=NOON_US, rule_ids=["treasury/a", "treasury/b"]),
        full_row(event_time=NOON_US, rule_ids=[], reason_code="default_deny"),
        full_row(event_time=NOON_US, decision="allow", rule_ids=["treasury/everyday"]),
        full_row(event_time=NOON_US + DAY_US // 2 - 1, **mail),
        small_row(event_time=NOON_US, event_type="outcome", outcome="succeeded"),
        full_row(event_time=NOON_US + DAY_US // 2, rule_ids=["too/late"]),
    ]
    records = [record(row | {"seq": seq}) for seq, row in enumerate(rows)]  # type: ignore[arg-type]
    path = str(tmp_path_factory.mktemp("data") / "decisions")
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(rows) - 1, records=records)
    EvidenceTable.open_or_create(path).land([batch], ingest_time_us=NOON_US)
    return path


def test_duckdb_answers(path: str) -> None:
    answer = query(
        path,
        f"""
        SELECT agent_id, action, resource_id,
               coalesce(nullif(array_to_string(rule_ids, ', '), ''), reason_code) AS rule, count(*) AS denied
        FROM evidence
        WHERE event_type = 'decision' AND decision = 'deny' AND event_date = DATE '{YESTERDAY}'
        GROUP BY ALL ORDER BY ALL
        """,
    )
    assert [tuple(row.values()) for row in answer.to_pylist()] == DENIED


def _denied(rows: pl.LazyFrame) -> list[tuple[object, ...]]:
    rules = pl.when(pl.col("rule_ids").list.len() > 0).then(pl.col("rule_ids").list.join(", "))
    return (
        rows.filter(
            pl.col("event_date") == YESTERDAY,
            pl.col("event_type") == "decision",
            pl.col("decision") == "deny",
        )
        .group_by("agent_id", "action", "resource_id", rule=pl.coalesce(rules, "reason_code"))
        .agg(denied=pl.len())
        .sort(pl.all())
        .collect()
        .rows()
    )


def test_polars_answers_from_the_delta_table(path: str) -> None:
    assert _denied(pl.scan_delta(path)) == DENIED


def test_polars_answers_from_the_parquet_files_alone(path: str) -> None:
    files = [uri.removeprefix("file://") for uri in DeltaTable(path).file_uris()]
    assert _denied(pl.scan_parquet(files, hive_partitioning=True, try_parse_hive_dates=True)) == DENIED
