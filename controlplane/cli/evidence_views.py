"""`controlplane evidence views`: the views over the evidence table, as SQL for other engines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from controlplane.cli.output import JsonOption, reported, show


@reported
def views(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[VIEW]...", help="Which ones. [default: all]")
    ] = None,
    dialect: Annotated[Literal["duckdb", "spark"], typer.Option(help="Whose SQL.")] = "duckdb",
    table: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where the engine finds the Delta table; `evidence` becomes a view of it. Without this, there must "
            "be an `evidence` already.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the views over evidence as SQL.

    They are decisions, denials, boundaries, approvals, outcomes, findings, changes. `evidence query` has
    them. This is for notebooks and warehouses: run what it prints, and ask the views. In
    Spark the table needs the Delta Lake connector, in DuckDB its `delta` extension.

    Example: controlplane evidence views --dialect spark --table s3://bucket/evidence/decisions

    Example: controlplane evidence views denials approvals > views.sql
    """
    from evidence.views.texts import VIEWS, create, script

    for name in names or ():
        if name not in VIEWS:
            raise typer.BadParameter(f"unknown view `{name}`; there are {', '.join(VIEWS)}")
    text = script(dialect, table=table, views=names or VIEWS)
    each = {view: create(view, dialect) for view in VIEWS if view in (names or VIEWS)}
    show(
        as_json,
        {"dialect": dialect, "script": text, "views": each},
        lambda console: typer.echo(text, nl=False),
    )
