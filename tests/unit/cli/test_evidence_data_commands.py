"""`controlplane evidence` for data teams: views, optimize, export."""

from __future__ import annotations

import json
from collections.abc import Callable

from typer.testing import Result

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
