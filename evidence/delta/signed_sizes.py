"""The logs' trees at the sizes that were signed, from the table of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from evidence.checkpoint import Checkpoint, origin_of
from evidence.delta.reading import dataset_of
from evidence.delta.shape import opened, unavailable
from evidence.errors import EvidenceDamagedError, NoEvidenceError
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.note import Note, NoteError, PublicKey, first_signer
from evidence.storage import storage_at


class SignedSizes:
    """One version of the checkpoints table.

    Args:
        path: of the table.
        keys: those whose signatures count, all of one name: the one in force, and those before it.
    Raises: NoEvidenceError, EvidenceUnavailableError: it cannot be read.
    """

    def __init__(self, path: str, keys: Sequence[PublicKey]) -> None:
        with unavailable(f"cannot read the checkpoints at `{path}`"):
            storage = storage_at(path)
            table = opened(storage)
            if table is None:
                raise NoEvidenceError(f"no checkpoints at `{path}`")
            self._rows = dataset_of(table, storage)
        self._keys = tuple(keys)

    def before(self, log_id: str, size: int) -> CompactRange:
        """The largest tree of at most `size` leaves of which the range is known; the empty one if there is none.

        Nobody vouches for it, until the root of a signed one follows from it. Cost: a scan of one log's sizes.
        """
        # A table that was made again after rows had left has no range of the sizes within them.
        known = ds.field("range") != pa.scalar(b"", pa.binary())
        row = self._row(log_id, (ds.field("size") <= size) & known, largest=True)
        if row is None:
            return CompactRange()
        blob = row["range"]
        roots = tuple(blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES))
        if len(blob) != row["size"].bit_count() * HASH_BYTES:
            raise EvidenceDamagedError(
                f"the checkpoint of log `{log_id}` at size {row['size']} has another number of hashes than its size"
            )
        return CompactRange(size=row["size"], roots=roots)

    def after(self, log_id: str, size: int) -> Checkpoint | None:
        """The smallest signed tree of at least `size` leaves; None: there is none.

        Raises: EvidenceDamagedError: its note is not signed by one of our keys, or is of another tree.
        """
        row = self._row(log_id, ds.field("size") >= size, largest=False)
        if row is None:
            return None
        try:
            note = Note.parse(row["note"])
            checkpoint = Checkpoint.parse(note.text)
            signer = first_signer(note, [key.named(note.origin) for key in self._keys])
            ours = note.origin in {origin_of(key.name, log_id) for key in self._keys if key.key == signer.key}
        except NoteError as error:
            raise EvidenceDamagedError(
                f"the checkpoint of log `{log_id}` at size {row['size']} is not ours: {error.message}"
            ) from error
        if not ours or checkpoint.size < size:
            raise EvidenceDamagedError(
                f"the checkpoint of log `{log_id}` at size {row['size']} is one of `{checkpoint.origin}` at size "
                f"{checkpoint.size}"
            )
        return checkpoint

    def _row(self, log_id: str, condition: ds.Expression, *, largest: bool) -> dict[str, Any] | None:
        of_log = ds.field("log_id") == log_id
        found: list[int] = []
        with unavailable("cannot read the checkpoints"):
            for batch in self._rows.to_batches(columns=["size"], filter=of_log & condition):
                if len(batch):
                    sizes = pc.min_max(batch.column("size"))
                    found.append(sizes["max" if largest else "min"].as_py())
            if not found:
                return None
            size = max(found) if largest else min(found)
            rows = self._rows.to_table(
                columns=["size", "note", "range"], filter=of_log & condition & (ds.field("size") == size)
            )
        # A size may have been signed twice, by two keys: one is as good as the other.
        row: dict[str, Any] = rows.slice(0, 1).to_pylist()[0]
        return row
