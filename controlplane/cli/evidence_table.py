"""Which evidence table a command reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from controlplane.evidence_settings import evidence_place
from controlplane.settings import DataDirectoryError, Settings, default_data

TableOption = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="PLACE",
        help="The evidence table itself, a directory or s3://bucket/prefix. [default: the one of --data]",
        show_default=False,
    ),
]


def table_place(table: str | None, data: Path | None, *, named: str = "with --table") -> str:
    """Where the table lies that was named, or the one of the data directory. Raises: DataDirectoryError."""
    if table is not None:
        return table
    try:
        return evidence_place(Settings.open(data or default_data(os.environ)))
    except DataDirectoryError as error:
        # Who has a copy of the table has no data directory, and needs none.
        message = f"{error.message}; or name a table {named}"
        raise DataDirectoryError(message, code=error.code, **error.fields) from error
