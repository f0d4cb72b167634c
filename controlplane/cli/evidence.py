"""`controlplane evidence`: ask the record, with or without a running control plane."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.evidence_export import export
from controlplane.cli.evidence_optimize import optimize
from controlplane.cli.evidence_privacy import erase, reveal
from controlplane.cli.evidence_proofs import check_proof, prove, verify
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.evidence_views import views
from controlplane.cli.output import JsonOption, cell, reported, show, table
from controlplane.cli.retention import hold, retention
from controlplane.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Ask the evidence table, verify it, prove what it says.")


app.command("verify")(verify)
app.command("prove")(prove)
app.command("check-proof")(check_proof)


@app.callback()
def evidence() -> None:
    """Ask the evidence table, verify it, prove what it says."""


app.add_typer(retention, name="retention")
app.add_typer(hold, name="hold")


@app.command("query")
@reported
def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL|@FILE",
            help="DuckDB SQL over `evidence` and its views, reading only. @FILE or @- reads it.",
        ),
    ],
    data: DataOption = None,
    path: TableOption = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Refuse an answer of more rows.")] = 100_000,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask in SQL, from the table alone.

    No control plane has to run. The table is `evidence`; `evidence views` shows the views over it: decisions, denials,
    boundaries, approvals, outcomes, findings, changes. `describe denials` lists the columns of one; what rules said is
    `rule_ids` and `reason_code`, and `details` is JSON in text (`json_extract(details, '$.shadow')`).

    Example: controlplane evidence query "select agent_id, rule, count(*) from denials group by all"

    Example: controlplane evidence query @query.sql
    """
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other")
    from evidence.query import query as ask

    where = table_place(path, data)
    answer = ask(where, _read(sql), max_rows=max_rows)
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


app.command("views")(views)
app.command("optimize")(optimize)
app.command("export")(export)
