"""`controlplane evidence`: ask the record, with or without a running control plane."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.evidence_privacy import erase, reveal
from controlplane.cli.output import JsonOption, cell, reported, show, table
from controlplane.errors import InputError
from controlplane.settings import Settings, default_data

app = typer.Typer(no_args_is_help=True, help="Ask the evidence table.")


@app.callback()
def evidence() -> None:
    """Ask the evidence table."""


@app.command("query")
@reported
def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL|@FILE",
            help="DuckDB SQL, reading only; the table is the view `evidence`. @FILE or @- reads it.",
        ),
    ],
    data: DataOption = None,
    path: Annotated[
        Path | None, typer.Option("--table", help="The Delta table itself. [default: the one in --data]")
    ] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Refuse an answer of more rows.")] = 100_000,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask in SQL, from the table alone.

    No control plane has to run. `describe evidence` lists the columns: a decision's id is `event_id`, what rules said
    is `rule_ids` and `reason_code`, and `details` is JSON in text (`json_extract(details, '$.shadow')`).

    Example: controlplane evidence query "select decision, count(*) from evidence group by 1"

    Example: controlplane evidence query @query.sql
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    from evidence.query import query as ask

    where = path if path is not None else Settings.open(data or default_data(os.environ)).evidence_table
    answer = ask(str(where), _read(sql), max_rows=max_rows)
    columns: list[str] = answer.column_names
    rows = list(zip(*(column.to_pylist() for column in answer.columns), strict=True))
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[cell(value) for value in row] for row in rows])
        return
    if as_json and len(set(columns)) < len(columns):
        raise InputError("two columns have the same name, which json has no room for; rename one with `as`")
    show(
        as_json,
        [dict(zip(columns, row, strict=True)) for row in rows],
        lambda console: table(console, columns, rows, empty="no rows"),
    )


app.command("reveal")(reveal)
app.command("erase")(erase)


def _read(text: str) -> str:
    """A query, or what stands in its file: a comment at its beginning would be taken for an option."""
    if not text.startswith("@"):
        return text
    return sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
