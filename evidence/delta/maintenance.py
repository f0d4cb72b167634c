"""Keeping the table fit for readers: small files merged, replaced ones removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deltalake import DeltaTable

from evidence.delta.shape import HOOKS, WRITER


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


def merge_files(table: DeltaTable, target_size_bytes: int) -> None:
    """Merge small files of each date: no row changes (`dataChange` is false), so appendOnly allows it."""
    table.optimize.compact(
        target_size=target_size_bytes, writer_properties=WRITER, post_commithook_properties=HOOKS
    )


def remove_replaced_files(table: DeltaTable, older_than_hours: int) -> None:
    """Delete the files that a compaction has replaced that long ago."""
    table.vacuum(
        retention_hours=older_than_hours,
        dry_run=False,
        enforce_retention_duration=False,
        post_commithook_properties=HOOKS,
    )
