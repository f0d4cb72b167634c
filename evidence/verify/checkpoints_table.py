"""The table of checkpoints beside the evidence table: a copy of the commits' notes, which must be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from evidence.checkpoint import Checkpoint
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.note import Note, NoteError
from evidence.verify.delta_log import EntryError, entries, versions
from evidence.verify.faults import Faults
from evidence.verify.files import Files

_COLUMNS = ("table_version", "origin", "log_id", "size", "root", "note", "range")


@dataclass(slots=True)
class StoredCheckpoints:
    """What the table holds.

    Attributes:
        notes: those that the commits do not have, to be looked at like any that somebody has kept.
        ranges: by origin and size: compact ranges that lead to the root that stands beside them.
        rows: how many checkpoints it has.
    """

    notes: list[Note] = field(default_factory=list)
    ranges: dict[tuple[str, int], CompactRange] = field(default_factory=dict)
    rows: int = 0


def read_checkpoints(
    files: Files, commits: Mapping[int, frozenset[str]], last: int, faults: Faults
) -> StoredCheckpoints | None:
    """Read it and compare it with the commits.

    Args:
        files: where it is, if it is there.
        commits: the text of every checkpoint's note in each commit that carries any.
        last: version of the evidence table.
    Returns: None: there is none.
    Raises: UnreadableError.
    """
    found = StoredCheckpoints()
    numbers = versions(files)
    if not numbers:
        return None
    active: dict[str, str | None] = {}
    try:
        for entry in entries(files, numbers):
            for removal in entry.removes:
                active.pop(removal.path, None)
            active.update((add.path, add.date) for add in entry.adds)
        rows = [row for path in sorted(active) for row in _rows(files, path)]
    except (EntryError, OSError, pa.ArrowException, ValueError, KeyError) as error:
        what = f"the table of checkpoints cannot be read: {type(error).__name__}: {str(error)[:200]}"
        faults.add("checkpoint_inconsistent", what, file=files.root)
        return found
    seen: dict[int, set[str]] = {}
    for row in rows:
        _take(row, found, commits, faults, files.root)
        seen.setdefault(row["table_version"], set()).add(row["note"])
    found.rows = len(rows)
    newest = max(seen, default=-1)
    if newest > last:
        what = f"the table of checkpoints knows version {newest} of the table, which ends at {last}"
        faults.add("tail_missing", what, version=newest, file=files.root)
    for version, notes in commits.items():
        # What a crash left out at the end is filled in at the next start.
        if version < newest and not notes <= seen.get(version, set()):
            what = f"the table of checkpoints lacks what version {version} signed"
            faults.add("checkpoint_missing", what, version=version, file=files.root)
    return found


def _rows(files: Files, path: str) -> list[dict[str, Any]]:
    with files.parquet(path) as parquet:
        rows: list[dict[str, Any]] = parquet.read(columns=list(_COLUMNS)).to_pylist()
    return rows


def _take(
    row: Mapping[str, Any],
    found: StoredCheckpoints,
    commits: Mapping[int, frozenset[str]],
    faults: Faults,
    where: str,
) -> None:
    version, log_id = row["table_version"], row["log_id"]
    try:
        note = Note.parse(row["note"])
        checkpoint = Checkpoint.parse(note.text)
    except NoteError as error:
        what = f"the table of checkpoints, version {version}: {error.message}"
        faults.add("checkpoint_forged", what, version=version, log_id=log_id, file=where)
        return
    if (row["origin"], row["size"], row["root"]) != (checkpoint.origin, checkpoint.size, checkpoint.root):
        what = f"the table of checkpoints, version {version}, says otherwise than the note in it"
        faults.add("checkpoint_inconsistent", what, version=version, log_id=log_id, file=where)
    if row["note"] not in commits.get(version, ()):
        found.notes.append(note)
        if version in commits:
            what = (
                f"the table of checkpoints has another note of `{checkpoint.origin}` than version {version}"
            )
            faults.add("checkpoint_inconsistent", what, version=version, log_id=log_id, file=where)
    stored = row["range"] or b""
    if not stored:
        return  # the table was made again after these rows had left: nobody can tell it any more
    range_ = CompactRange(
        size=checkpoint.size,
        roots=tuple(stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)),
    )
    if len(stored) != HASH_BYTES * checkpoint.size.bit_count() or range_.root() != checkpoint.root:
        what = f"the table of checkpoints, version {version}: the range of `{checkpoint.origin}` has another root"
        faults.add("checkpoint_inconsistent", what, version=version, log_id=log_id, file=where)
        return
    found.ranges[checkpoint.origin, checkpoint.size] = range_
