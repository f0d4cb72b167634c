"""Taking another place for the evidence table: a new one only as long as nothing has landed, then only a copy."""

from __future__ import annotations

from deltalake import DeltaTable

from evidence.delta.shape import opened, row_count, sizes, unavailable
from evidence.errors import EvidencePlaceError
from evidence.storage import Storage, log_entry, storage_at


def refuse_another_history(current: str, proposed: str) -> None:
    """See that landing can go on at another place, and that it can be reached.

    Raises:
        EvidencePlaceError: rows have landed, and no whole copy of them is there.
        EvidenceDamagedError: a file of the copy is missing or cut short.
        EvidenceUnavailableError: one of the places cannot be read.
    """
    old, new = storage_at(current), storage_at(proposed)
    with unavailable(f"cannot read the evidence at `{current}`"):
        before = opened(old)
        rows = 0 if before is None else row_count(before)
    with unavailable(f"cannot read the evidence at `{proposed}`"):
        after = opened(new)
        if before is None or not rows:
            return
        if after is None or not _is_copy(old, before, new, after):
            raise EvidencePlaceError(
                f"{rows} rows of evidence have landed in `{current}`, and `{proposed}` is no whole copy of it; copy "
                f"the table with its `_delta_log`, and `checkpoints` beside it, while the control plane is down",
                code="evidence_not_moved",
                expected=int(before.version()),
                found=None if after is None else int(after.version()),
            )
        new.check_sizes(sizes(after))


def _is_copy(old: Storage, before: DeltaTable, new: Storage, after: DeltaTable) -> bool:
    # The newest entry carries the signed root of all entries before it; the writer verifies those when it opens them.
    version = int(before.version())
    return version == after.version() and old.read(log_entry(version)) == new.read(log_entry(version))
