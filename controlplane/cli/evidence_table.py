"""Which evidence table a command reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from controlplane.evidence_settings import evidence_place
from controlplane.settings import Settings, default_data

TableOption = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="PLACE",
        help="The evidence table itself, a directory or s3://bucket/prefix. [default: the one of --data]",
        show_default=False,
    ),
]


def table_place(table: str | None, data: Path | None) -> str:
    """Where the table lies that was named, or the one of the data directory. Raises: DataDirectoryError."""
    return table if table is not None else evidence_place(Settings.open(data or default_data(os.environ)))
