"""The evidence table for those who only read it."""

from __future__ import annotations

import pyarrow.dataset as ds

from evidence.delta.shape import opened, unavailable
from evidence.errors import NoEvidenceError
from evidence.storage import storage_at


def open_dataset(path: str) -> ds.Dataset:
    """The table's rows as they are now, for readers; needs no control plane, writes nothing.

    Args: path: a directory or `s3://bucket/prefix`.
    Raises: NoEvidenceError: no table there. EvidenceUnavailableError: it cannot be read. EvidencePlaceError.
    """
    with unavailable(f"cannot read the evidence table at `{path}`"):
        storage = storage_at(path)
        table = opened(storage)
        if table is None:
            raise NoEvidenceError(f"no evidence table at `{path}`")
        # Arrow's own file system, not delta-rs's default one: that calls back into Python from Arrow's
        # threads, and a scan that a LIMIT has abandoned then crashes or hangs the interpreter at its exit.
        return table.to_pyarrow_dataset(filesystem=storage.files)
