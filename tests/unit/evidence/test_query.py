from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from unit.evidence.evidence_samples import NOON_US, log

from evidence.delta.table import EvidenceTable
from evidence.errors import NoEvidenceError, QueryError
from evidence.query import query


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("data") / "decisions")
    table = EvidenceTable.open_or_create(path)
    for first in range(0, 300, 100):
        table.land([log(first, first + 99)], ingest_time_us=NOON_US)
    return path


def test_a_select_reads_the_rows(path: str) -> None:
    answer = query(path, "SELECT log_id, count(*) AS n, max(seq) AS last FROM evidence GROUP BY log_id")
    assert answer.to_pylist() == [{"log_id": "host-000", "n": 300, "last": 299}]


def test_the_order_asked_for_is_kept_and_times_are_utc(path: str) -> None:
    answer = query(path, "SELECT seq, event_time FROM evidence ORDER BY seq DESC LIMIT 2")
    assert answer.column("seq").to_pylist() == [299, 298]
    assert answer.schema.field("event_time").type == pa.timestamp("us", tz="UTC")


def test_an_unknown_table_is_told_what_the_view_is_called(path: str) -> None:
    with pytest.raises(
        QueryError,
        match=r"^there is no table `events`: the evidence is `evidence`, with the views decisions, den",
    ):
        query(path, "SELECT * FROM events")


def test_another_table_than_ours_is_told_from_it(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", pa.table({"event_id": ["a"]}))
    with pytest.raises(QueryError, match=r"t` is no evidence table: the view `decisions` cannot read it"):
        query(str(tmp_path / "t"), "SELECT * FROM evidence")


def test_an_empty_table_answers(tmp_path: Path) -> None:
    EvidenceTable.open_or_create(str(tmp_path / "t"))
    assert query(str(tmp_path / "t"), "SELECT * FROM evidence").num_rows == 0


@pytest.mark.parametrize(
    "sql",
    [
        "COPY evidence TO '{out}'",
        "COPY (SELECT 1) TO '{out}'",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}'",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO evidence SELECT * FROM evidence",
        "DELETE FROM evidence",
        "DROP VIEW evidence",
        "DROP VIEW decisions",
        "CREATE OR REPLACE TEMPORARY VIEW denials AS SELECT 1",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT 1; COPY (SELECT 1) TO '{out}'",
        "FROM query('COPY (SELECT 1) TO ''{out}''')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_blob('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM sniff_csv('{secret}')",
        "SELECT * FROM glob('{secret}*')",
        "SELECT * FROM parquet_scan('{secret}')",
        "SELECT getenv('HOME')",
        "SELECT * FROM dataset",
        "SELECT * FROM duckdb_secrets()",
        "",
    ],
)
def test_sql_that_does_more_than_read_the_evidence_is_refused(path: str, sql: str, tmp_path: Path) -> None:
    secret, out = tmp_path / "secret.csv", tmp_path / "out"
    secret.write_text("a\n1\n")
    with pytest.raises(QueryError):
        query(path, sql.format(out=out, secret=secret))
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT agentid FROM evidence", '"agentid" not found'),
        (
            "SELECT 1; SELECT 2",
            "expected one SELECT over `evidence` or its views, found `SELECT 1; SELECT 2`",
        ),
        ("SELECT error('boom')", "boom"),
        ("SELECT CASE WHEN range > 30000 THEN error('late') ELSE range END FROM range(60000)", "late"),
    ],
)
def test_what_is_wrong_with_the_sql_is_said(path: str, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        query(path, sql)
    assert caught.value.code == "invalid_query"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM range(100000000000)", "query_too_large"),
        ("SELECT list(range) FROM range(1000000000)", "query_too_large"),
        ("SELECT count(*) FROM range(100000000000)", "query_too_slow"),
    ],
)
def test_a_query_is_bounded_in_rows_memory_and_time(path: str, sql: str, code: str) -> None:
    timeout_s = 0.5 if code == "query_too_slow" else 60.0
    with pytest.raises(QueryError) as caught:
        query(path, sql, max_rows=1_000, timeout_s=timeout_s, memory_limit_bytes=100 * 2**20)
    assert caught.value.code == code


def test_where_there_is_no_table_the_answer_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoEvidenceError, match="no evidence table at"):
        query(str(tmp_path / "none"), "SELECT 1")


def test_a_process_that_abandoned_a_scan_ends_well(path: str) -> None:
    """With delta-rs's own file system, Arrow's threads call into an interpreter that is gone."""
    code = f"from evidence.query import query; query({path!r}, 'SELECT * FROM evidence LIMIT 1')"
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
