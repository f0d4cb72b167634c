"""The table of checkpoints beside the evidence table: a copy of the commits' notes, which must be one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evidence.checkpoint import Checkpoint
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.note import Note, NoteError
from evidence.verify.delta_log import EntryError, entries, versions
from evidence.verify.faults import Faults
from evidence.verify.files import Files
from evidence.verify.notes import text_digest

_COLUMNS = ("table_version", "origin", "log_id", "size", "root", "note", "range")
_BATCH_ROWS = 4096


@dataclass(slots=True, kw_only=True)
class StoredCheckpoints:
    """What the table holds, but for what need not be kept.

    Attributes:
        paths: of its data files.
        notes: those that the commits do not have, to be looked at like any that somebody has kept.
    """

    files: Files
    paths: tuple[str, ...] = ()
    notes: list[Note] = field(default_factory=list)
    _ranges: dict[str, dict[int, CompactRange]] = field(default_factory=dict)

    def range_at(self, origin: str, size: int) -> CompactRange | None:
        """The compact range that is stored of a log at a size. Cost: the first of a log reads the table."""
        if origin not in self._ranges:
            self._ranges[origin] = {
                row["size"]: _range(row["size"], row["range"])
                for row in self.rows(origin)
                if row["size"] is not None and row["range"] is not None
            }
        return self._ranges[origin].get(size)

    def rows(self, origin: str | None = None) -> Iterator[Mapping[str, Any]]:
        """The rows, of one log or of all. Raises: what pyarrow raises."""
        for path in self.paths:
            with self.files.parquet(path) as parquet:
                for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=list(_COLUMNS)):
                    found = pa.table(batch)
                    if origin is not None:
                        found = found.filter(pc.equal(found.column("origin"), origin))
                    yield from found.to_pylist()


def read_checkpoints(
    files: Files, commits: Mapping[int, frozenset[bytes]], last: int, faults: Faults
) -> StoredCheckpoints | None:
    """Read it and compare it with the commits.

    Args:
        files: where it is, if it is there.
        commits: digest of every checkpoint's note in each commit that carries any.
        last: version of the evidence table.
    Returns: None: there is none.
    Raises: UnreadableError.
    """
    numbers = versions(files)
    if not numbers:
        return None
    stored = StoredCheckpoints(files=files)
    seen: dict[int, set[bytes]] = {}
    try:
        active: dict[str, None] = {}
        for entry in entries(files, numbers):
            for removal in entry.removes:
                active.pop(removal.path, None)
            active.update((add.path, None) for add in entry.adds)
        stored.paths = tuple(sorted(active))
        for row in stored.rows():
            _check(row, stored, commits, faults)
            seen.setdefault(row["table_version"], set()).add(text_digest(row["note"]))
    except (EntryError, OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"the table of checkpoints cannot be read: {type(error).__name__}: {str(error)[:200]}"
        faults.add("checkpoint_inconsistent", what, file=files.root)
        return StoredCheckpoints(files=files)
    newest = max(seen, default=-1)
    if newest > last:
        what = f"the table of checkpoints knows version {newest} of the table, which ends at {last}"
        faults.add("tail_missing", what, version=newest, file=files.root)
    for version, notes in commits.items():
        # What a crash left out at the end is filled in at the next start.
        if version < newest and not notes <= seen.get(version, set()):
            what = f"the table of checkpoints lacks what version {version} signed"
            faults.add("checkpoint_missing", what, version=version, file=files.root)
    return stored


def _check(
    row: Mapping[str, Any], stored: StoredCheckpoints, commits: Mapping[int, frozenset[bytes]], faults: Faults
) -> None:
    where, version, log_id = stored.files.root, row["table_version"], row["log_id"]
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
    if text_digest(row["note"]) not in commits.get(version, ()):
        stored.notes.append(note)
        if version in commits:
            what = (
                f"the table of checkpoints has another note of `{checkpoint.origin}` than version {version}"
            )
            faults.add("checkpoint_inconsistent", what, version=version, log_id=log_id, file=where)
    # As many parts as the size has bits; where landing, or a walk, goes on from here, it goes on from them.
    whole = len(row["range"]) == HASH_BYTES * checkpoint.size.bit_count()
    if not whole or _range(checkpoint.size, row["range"]).root() != checkpoint.root:
        what = f"the table of checkpoints, version {version}: the range of `{checkpoint.origin}` has another root"
        faults.add("checkpoint_inconsistent", what, version=version, log_id=log_id, file=where)


def _range(size: int, roots: bytes) -> CompactRange:
    return CompactRange(
        size=size, roots=tuple(roots[at : at + HASH_BYTES] for at in range(0, len(roots), HASH_BYTES))
    )
