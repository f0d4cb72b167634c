"""The evidence table for those who only read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import DeltaTable

from evidence.delta.shape import opened, unavailable
from evidence.errors import EvidenceDamagedError, NoEvidenceError
from evidence.record import canonical_from_arrow, leaf_hash

_WINDOW_ROWS: Final = 50_000


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
    """The rows of the open table at `root`."""
    # Arrow's own file system, not delta-rs's default one: that calls back into Python from Arrow's
    # threads, and a scan that a LIMIT has abandoned then crashes or hangs the interpreter at its exit.
    return table.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()))


def log_ids(table: DeltaTable, root: Path) -> list[str]:
    """Every log that has rows, sorted. Cost: reads one column of all rows."""
    found: set[str] = set()
    for batch in dataset_of(table, root).to_batches(columns=["log_id"]):
        found.update(pc.unique(batch.column("log_id")).to_pylist())
    return sorted(found)


def leaves(table: DeltaTable, root: Path, log_id: str, first: int, end: int) -> Iterator[bytes]:
    """The leaves `first` to before `end` of one log, recomputed from the rows as they are now.

    Raises: EvidenceDamagedError: a row is missing, stands there twice, or is not what its `leaf_hash` says.
    Cost: 12 µs a row.
    """
    rows = dataset_of(table, root)
    for start in range(first, end, _WINDOW_ROWS):
        stop = min(start + _WINDOW_ROWS, end)
        seq = ds.field("seq")
        wanted = (ds.field("log_id") == log_id) & (seq >= start) & (seq < stop)
        window = rows.to_table(filter=wanted).sort_by("seq")
        if not window.column("seq").combine_chunks().equals(pa.array(range(start, stop), pa.int64())):
            raise EvidenceDamagedError(
                f"log `{log_id}` has {len(window)} rows from seq {start} to {stop - 1} in `{root}`: some are missing "
                f"or double; if dates have left under retention, put the checkpoints table back from a backup: without "
                f"their rows it cannot be made again",
                expected=stop - start,
                found=len(window),
            )
        found = [leaf_hash(canonical) for canonical in canonical_from_arrow(window)]
        if found != window.column("leaf_hash").to_pylist():
            raise EvidenceDamagedError(
                f"a row of log `{log_id}` from seq {start} to {stop - 1} is not what its leaf_hash says"
            )
        yield from found
