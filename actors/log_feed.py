"""The owner's side of landing: hand evidence out, forget it when it is in the table, notice a journal from the past."""

from __future__ import annotations

import logging

from actors.journal import Journal
from evidence.failpoints import reach

log = logging.getLogger(__name__)

UNCONFIRMED = "journal_unconfirmed"
ROLLED_BACK = "journal_rolled_back"


class LogFeed:
    """Between one open journal and the evidence writer.

    Until the writer has said up to where the table holds the log, nobody knows whether the journal is the latest one
    or a restored backup, whose owner would repeat sequence numbers and forget what agents have done.

    Attributes:
        trouble: why the journal must not be used now: `journal_unconfirmed` until the writer has spoken, then None,
            or `journal_rolled_back` for good; the operator then starts a new log.
    """

    def __init__(self) -> None:
        self.trouble: str | None = UNCONFIRMED

    def pending(self, journal: Journal, limit: int) -> tuple[str, list[tuple[int, bytes, bytes]], bool]:
        """(log id, records as (seq, canonical bytes, leaf hash), whether the writer must say what it holds). Oldest
        first, `limit` at most."""
        records = journal.pending(after_seq=-1, limit=limit)
        reach("handover.before_answer")
        return journal.log_id, records, self.trouble == UNCONFIRMED

    def trim(self, journal: Journal, log_id: str, landed_seq: int) -> bool:
        """The table durably holds `log_id` up to and including `landed_seq` (-1: nothing). Returns: whether the journal
        still holds some of it."""
        if log_id != journal.log_id:
            return False
        last = journal.next_seq - 1
        # INVARIANT (latest journal): one that ends before what the table holds of its log is a copy from the past. Its
        # owner would forget what agents have done and use sequence numbers twice; so nothing decides with it, ever.
        if landed_seq > last:
            self.trouble = ROLLED_BACK
            log.error(
                "the journal of log `%s` ends at %d but the evidence table holds %d: it was restored from a backup",
                log_id,
                last,
                landed_seq,
            )
            return False
        if self.trouble == UNCONFIRMED:
            self.trouble = None
        return landed_seq >= 0 and journal.trim(landed_seq=landed_seq)
