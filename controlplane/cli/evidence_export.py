"""`controlplane evidence export`: evidence as OCSF events or OpenTelemetry logs, for the systems of others."""

from __future__ import annotations

import os
import sys
import time
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.evidence_progress import progress
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import reported
from controlplane.cli.times import moment_us
from controlplane.errors import InputError

if TYPE_CHECKING:
    from evidence.export.stream import Export


@reported
def export(
    format: Annotated[
        Literal["ocsf", "otel"],
        typer.Option(
            help="OCSF 1.6 API Activity, one event a line; or OTLP/JSON logs, up to 500 records a line."
        ),
    ],
    since: Annotated[
        str | None, typer.Option(help="A duration (24h) or an RFC 3339 time: events from then on.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same: events before it.")] = None,
    agent: Annotated[
        list[str] | None, typer.Option("--where-agent", help="Only this agent's; may be given several times.")
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(help="Only events of this type; may be given several times. [default: all]"),
    ] = None,
    cursor: Annotated[
        Path | None,
        typer.Option(
            help="A file that says what has been exported: begin after it, and write it anew at the end. Made when "
            "there is none; one for each choice of events, because it goes past what is left out."
        ),
    ] = None,
    arguments: Annotated[
        bool,
        typer.Option(
            "--arguments", help="The actions' arguments, too, as masked as they are.", show_default=False
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write here rather than to standard output.")
    ] = None,
    data: DataOption = None,
    path: TableOption = None,
) -> None:
    """Export evidence for a SIEM, a data lake or a collector.

    Every event has the id that it has in the table (`metadata.uid`, `log.record.uid`), so that one which comes twice is
    told by it. With --cursor each run tells what has landed since the run before; a run that fails leaves the cursor
    as it was, and the next one tells the same again. Lines come by date of the event, in no other order.

    Example: controlplane evidence export --format ocsf --since 24h -o decisions.jsonl --event-type decision

    Example: controlplane evidence export --format otel --cursor siem.cursor >> evidence.otlp.jsonl
    """
    if cursor is not None and (since or until):
        raise typer.BadParameter("--cursor says where to begin: it excludes --since and --until")
    from evidence.export.stream import Export, cursor_text

    where = table_place(path, data)
    now_us = time.time_ns() // 1000
    rows = Export(
        where,
        format,
        since_us=moment_us(since, now_us=now_us) if since else None,
        until_us=moment_us(until, now_us=now_us) if until else None,
        agents=agent or (),
        event_types=event_type or (),
        after=_read_cursor(cursor) if cursor is not None and cursor.exists() else None,
        product_version=metadata.version("fleet-controlplane"),
        with_arguments=arguments,
    )
    if output is None:
        _written(rows, sys.stdout.buffer)
    else:
        # Whole or not at all: who waits for the file never reads half of it.
        part = output.with_name(output.name + ".part")
        with part.open("wb") as file:
            _written(rows, file)
            os.fsync(file.fileno())
        part.replace(output)
    if cursor is not None:
        part = cursor.with_name(cursor.name + ".part")
        part.write_text(cursor_text(rows.cursor), encoding="utf-8")
        part.replace(cursor)
    if sys.stderr.isatty():
        typer.echo(f"{rows.rows:,} events", err=True)


def _read_cursor(path: Path) -> dict[str, int]:
    from evidence.export.stream import read_cursor

    try:
        return read_cursor(path.read_bytes().decode(errors="replace"))
    except InputError as error:
        raise InputError(f"`{path}`: {error.message}", code=error.code) from error


def _written(rows: Export, file: BinaryIO) -> None:
    # Lines on a terminal say themselves how far it is.
    with nullcontext() if file.isatty() else progress("events") as told:
        for line in rows:
            file.write(line)
            if told is not None:
                told(rows.rows, None)
    file.flush()
