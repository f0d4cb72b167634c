"""Keeping the table fit for readers: small files merged, rows ordered, replaced files removed.

delta-rs commits two rewrites of the same files without seeing a conflict, whatever the commit's properties: every row
of them is there twice then (measured with 1.6.6; appends and deletes beside a rewrite are seen). So whoever rewrites
holds a lock, and looks at the table anew once it has it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from deltalake import CommitProperties, DeltaTable

from evidence.delta.shape import HOOKS, WRITER
from evidence.storage import Directory, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """After how many commits the table is tended.

    Small files are merged often into files of `small_file_bytes`, those rarely into large ones: one cadence
    alone would rewrite a day's whole file again and again. Replaced files stay `replaced_files_hours` for
    readers that have opened them.
    """

    compaction_commits: int = 50
    small_file_bytes: int = 4 * 2**20
    large_compaction_commits: int = 2_500
    large_file_bytes: int = 128 * 2**20
    replaced_files_hours: int = 2
    checkpoint_commits: int = 100


OBJECT_STORE: Final = Cadence(checkpoint_commits=20)
"""Each commit reads the entries since the last Delta checkpoint, and there each of them is a request or three."""

Where = Sequence[tuple[str, str, str]]
"""Conditions on partitions, such as `[("event_date", "=", "2026-09-04")]`."""


@contextmanager
def rewriting(storage: Storage, *, wait: bool) -> Iterator[bool]:
    """The right to rewrite files of a table, which one process at a time has; False: another one has it.

    Args: wait: until it is free; else False comes at once.
    Holds between processes that share a kernel (`flock`). In an object store the writer alone rewrites.
    """
    if not isinstance(storage, Directory):
        yield True
        return
    directory = os.open(storage.root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(directory)  # frees the lock, as the end of the process does


BY: Final = "controlplane.by"


def merge_files(
    table: DeltaTable, target_size_bytes: int, where: Where | None = None, *, by: str | None = None
) -> None:
    """Merge small files of each date: no row changes (`dataChange` is false), so appendOnly allows it.

    Args: by: who did it, kept in the commit's metadata under `BY`.
    """
    table.optimize.compact(
        partition_filters=where and list(where),
        target_size=target_size_bytes,
        writer_properties=WRITER,
        commit_properties=None if by is None else CommitProperties(custom_metadata={BY: by}),
        post_commithook_properties=HOOKS,
    )


def order_rows(
    table: DeltaTable,
    columns: Sequence[str],
    target_size_bytes: int,
    where: Where | None = None,
    *,
    by: str | None = None,
) -> None:
    """Rewrite all files of each date, rows that are alike in these columns together (Z-order). No row changes."""
    table.optimize.z_order(
        columns,
        partition_filters=where and list(where),
        target_size=target_size_bytes,
        writer_properties=WRITER,
        commit_properties=None if by is None else CommitProperties(custom_metadata={BY: by}),
        post_commithook_properties=HOOKS,
    )


def remove_replaced_files(table: DeltaTable, older_than_hours: int) -> None:
    """Delete the files that a compaction has replaced that long ago."""
    table.vacuum(
        retention_hours=older_than_hours,
        dry_run=False,
        enforce_retention_duration=False,
        post_commithook_properties=HOOKS,
    )
