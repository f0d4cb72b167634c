"""The owner's side of landing: hand evidence out, forget it when it is in the table, notice a journal from the past."""

from __future__ import annotations

from actors.journal import Journal


class LogFeed:
    """Between one journal and the evidence writer.

    Attributes:
        rolled_back: set once the table proves to hold more of the log than the journal does (a restored backup);
            whoever holds the journal then denies, and the operator starts a new log.
    """

    def __init__(self) -> None:
        self.rolled_back: str | None = None

    def pending(
        self, journal: Journal, after_seq: int, limit: int
    ) -> tuple[str, list[tuple[int, bytes, bytes]]]:
        """(log id, records after `after_seq` as (seq, canonical bytes, leaf hash), oldest first, `limit` at most)."""
        return journal.log_id, journal.pending(after_seq=after_seq, limit=limit)

    def trim(self, journal: Journal, log_id: str, landed_seq: int) -> None:
        """The table durably holds `log_id` up to and including `landed_seq`."""
        if log_id != journal.log_id:
            return
        last = journal.next_seq - 1
        if landed_seq > last:
            self.rolled_back = (
                f"the journal of log `{log_id}` ends at {last} but the evidence table holds {landed_seq}: "
                "it was restored from a backup; start a new log"
            )
            return
        journal.trim(landed_seq=landed_seq)
