"""The evidence table for those who only read it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import DeltaTable

from evidence.columns import SCHEMA
from evidence.delta.shape import opened, unavailable
from evidence.errors import NoEvidenceError


def open_dataset(path: str) -> ds.Dataset:
    """The table's rows as they are now, for readers; needs no control plane, writes nothing.

    Raises: NoEvidenceError: no table there. EvidenceUnavailableError: it cannot be read.
    """
    with unavailable(f"cannot read the evidence table at `{path}`"):
        root = Path(path).absolute()
        table = opened(root)
        if table is None:
            raise NoEvidenceError(f"no evidence table at `{path}`")
        # Arrow's own file system, not delta-rs's default one: that calls back into Python from Arrow's
        # threads, and a scan that a LIMIT has abandoned then crashes or hangs the interpreter at its exit.
        return table.to_pyarrow_dataset(
            schema=_with_later_columns(table),
            filesystem=fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()),
        )


def _with_later_columns(table: DeltaTable) -> pa.Schema | None:
    """The table's schema, and the columns that it lacks because nobody has written it since they came: null there."""
    there = pa.schema(table.schema())
    later = [field for field in SCHEMA if field.nullable and field.name not in there.names]
    return pa.schema([*there, *later]) if later else None
