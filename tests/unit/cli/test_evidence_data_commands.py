"""`controlplane evidence` for data teams: views, optimize, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from typer.testing import Result
from unit.evidence.evidence_samples import NOON_US, log

from evidence.delta.table import EvidenceTable
from evidence.views.texts import VIEWS, script

Run = Callable[..., Result]


def test_views_are_printed_in_the_dialect_that_is_asked_for(run: Run) -> None:
    assert run("evidence", "views").stdout == script("duckdb")
    done = run("evidence", "views", "--dialect", "spark", "--table", "s3://b/decisions")
    assert done.stdout == script("spark", table="s3://b/decisions")


def test_views_as_json_are_one_statement_each(run: Run) -> None:
    answer = json.loads(run("evidence", "views", "denials", "changes", "--json").stdout)
    assert list(answer["views"]) == ["denials", "changes"]
    assert answer["views"]["changes"] in answer["script"]
    assert list(json.loads(run("evidence", "views", "--json").stdout)["views"]) == list(VIEWS)


def test_an_unknown_view_is_wrong_use_and_told_the_others(run: Run) -> None:
    done = run("evidence", "views", "decision")
    assert done.exit_code == 2 and "unknown view `decision`; there are decisions, denials" in done.stderr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A hundred rows in ten files of one date, 2026-09-04."""
    path = tmp_path / "decisions"
    table = EvidenceTable.open_or_create(str(path))
    for first in range(0, 100, 10):
        table.land([log(first, first + 9)], ingest_time_us=NOON_US)
    return path


def test_optimize_says_what_it_would_do_and_what_it_did(run: Run, table: Path) -> None:
    words = ("evidence", "optimize", "--table", table)
    dry = json.loads(run(*words, "--dry-run", "--json").stdout)
    assert dry["dry_run"] and [(one["rows"], one["files_before"]) for one in dry["dates"]] == [(100, 10)]
    assert len(DeltaTable(table).file_uris()) == 10
    done = run(*words)
    assert done.exit_code == 0 and "2026-09-04" in done.stdout
    assert len(DeltaTable(table).file_uris()) == 1
    assert run(*words).stdout == "nothing to rewrite\n"


def test_optimize_orders_the_dates_that_are_asked_for(run: Run, table: Path) -> None:
    words = ("evidence", "optimize", "--table", table, "--z-order", "agent_id, event_time", "--json")
    assert json.loads(run(*words, "--since", "2026-09-05").stdout)["dates"] == []
    (done,) = json.loads(run(*words, "--since", "2026-09-04", "--until", "2026-09-04").stdout)["dates"]
    assert (done["event_date"], done["rows"], done["files_after"]) == ("2026-09-04", 100, 1)


def test_optimize_by_a_column_that_helps_no_reader_is_refused(run: Run, table: Path) -> None:
    done = run("evidence", "optimize", "--table", table, "--z-order", "details", "--json")
    assert done.exit_code == 1 and json.loads(done.stderr)["error"]["code"] == "unknown_column"


def test_export_goes_on_where_it_ended(run: Run, table: Path, tmp_path: Path) -> None:
    words = ("evidence", "export", "--table", table, "--cursor", tmp_path / "siem.cursor", "--format", "ocsf")
    first = run(*words)
    assert len(first.stdout_bytes.splitlines()) == 100
    assert run(*words).stdout == ""
    EvidenceTable.open_or_create(str(table)).land([log(100, 104)], ingest_time_us=NOON_US)
    again = [json.loads(line)["metadata"]["sequence"] for line in run(*words).stdout_bytes.splitlines()]
    assert sorted(again) == [100, 101, 102, 103, 104]


def test_export_writes_a_file_whole(run: Run, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "logs.otlp.jsonl"
    done = run(
        "evidence", "export", "--table", table, "--format", "otel", "-o", out, "--where-agent", "treasury-bot"
    )
    assert (done.exit_code, done.stdout) == (0, "")
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert sum(len(line["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) for line in lines) == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decisions", "logs.otlp.jsonl"]


def test_a_failed_export_leaves_the_cursor_and_the_file_as_they_were(
    run: Run, table: Path, tmp_path: Path
) -> None:
    cursor, out = tmp_path / "siem.cursor", tmp_path / "out.jsonl"
    cursor.write_text('{"format":1,"logs":{"host-000":98}}')
    out.write_text("before\n")
    next(table.rglob("*.parquet")).unlink()
    words = ("evidence", "export", "--table", table, "--format", "ocsf", "--cursor", cursor)
    assert run(*words, "-o", out, "--since", "24h").exit_code == 2
    damaged = run("evidence", "export", "--table", table, "--format", "ocsf", "-o", out)
    assert damaged.exit_code == 1 and damaged.stderr.startswith("controlplane: ")
    assert out.read_text() == "before\n"
    assert cursor.read_text() == '{"format":1,"logs":{"host-000":98}}'


@pytest.mark.parametrize(
    "given",
    [("--since", "yesterday"), ("--format", "csv"), ("--format", "ocsf", "--since", "1h", "--cursor", "c")],
)
def test_export_used_wrongly_says_so(run: Run, table: Path, given: tuple[str, ...]) -> None:
    words = (
        "evidence",
        "export",
        "--table",
        table,
        *(() if "--format" in given else ("--format", "ocsf")),
        *given,
    )
    assert run(*words).exit_code == 2


def test_what_is_no_cursor_is_named(run: Run, table: Path, tmp_path: Path) -> None:
    cursor = tmp_path / "siem.cursor"
    for content in (b"garbage", b"\xff\xfe"):
        cursor.write_bytes(content)
        done = run("evidence", "export", "--table", table, "--format", "ocsf", "--cursor", cursor)
        assert done.exit_code == 1 and f"`{cursor}`: this is no cursor" in done.stderr
