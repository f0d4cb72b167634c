"""`controlplane evidence optimize`: small files merged, rows ordered, beside a running control plane."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.evidence_progress import progress
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import JsonOption, reported, show, table

MIB = 2**20


@reported
def optimize(
    z_order: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Rewrite every file, so that rows which are alike in these columns lie together: agent_id,event_time.",
        ),
    ] = None,
    target_size: Annotated[
        int, typer.Option(metavar="MIB", min=1, max=4096, help="Merge files that are smaller than this.")
    ] = 128,
    since: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="First date of events to rewrite."),
    ] = None,
    until: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Last date of events to rewrite."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be rewritten.", show_default=False)
    ] = False,
    data: DataOption = None,
    path: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rewrite evidence files so that queries read less.

    No row changes: all rows are counted and their leaves recomputed after each date, and proofs hold as before. A
    running control plane goes on landing meanwhile; leave out today with --until if it gets in the way. It removes the
    replaced files later by itself, at the earliest two hours after.

    Example: controlplane evidence optimize --dry-run

    Example: controlplane evidence optimize --z-order agent_id,event_time --since 2026-09-01 --until 2026-09-30
    """
    from evidence.delta.optimizing import optimize as rewrite

    where = table_place(path, data)
    columns = [] if z_order is None else [column.strip() for column in z_order.split(",")]
    with progress("dates") as on_date:
        rewrites = rewrite(
            where,
            target_size_bytes=target_size * MIB,
            z_order=columns,
            since=since.date() if since else None,
            until=until.date() if until else None,
            dry_run=dry_run,
            on_date=on_date,
        )
    show(
        as_json,
        {"dry_run": dry_run, "dates": rewrites},
        lambda console: table(
            console,
            ["date", "rows", "files", "MiB", "files after", "MiB after", "version"],
            [
                (one.event_date, one.rows, one.files_before, _mib(one.bytes_before), one.files_after,
                 _mib(one.bytes_after), one.version)
                for one in rewrites
            ],
            empty="nothing to rewrite",
        ),
    )  # fmt: skip


def _mib(size_bytes: int | None) -> str | None:
    return None if size_bytes is None else f"{size_bytes / MIB:.1f}"
