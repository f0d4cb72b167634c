"""The evidence table for those who only read it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import DeltaTable

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
        return dataset_of(table, root)


def dataset_of(table: DeltaTable, root: Path) -> ds.Dataset:
    """The rows of one version of the table. Raises: DeltaError, OSError."""
    # Arrow's own file system, not delta-rs's default one: that calls back into Python from Arrow's
    # threads, and a scan that a LIMIT has abandoned then crashes or hangs the interpreter at its exit.
    return table.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()))
