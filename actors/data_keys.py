"""The keys of data subjects, in the control store's journal: wrapped under a key that the store never sees. No Ray.

A subject stands here as a keyed digest of its tenant and id. Whoever erases a subject destroys its key, and with it
whatever was encrypted under it; the rows, their leaves and all proofs stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from actors.entries import Entries
from actors.journal import Journal
from controlplane.errors import UnavailableError
from evidence.record import EvidenceRow

log = logging.getLogger(__name__)

# INVARIANT (erasure): SQLite overwrites what is deleted. It would leave the bytes in the file otherwise.
DATA_KEYS: Final = """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS data_keys (
    subject TEXT PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL,
    created_us INTEGER NOT NULL) WITHOUT ROWID;
"""

MOST_DATA_KEYS: Final = 1_000_000
"""About 250 bytes of the control store's journal each."""
MOST_AT_ONCE: Final = 500

Wanted = tuple[str, str, str, bytes]
"""(tenant, the subject's keyed digest, id and wrapped bytes of the key that it gets if it has none)"""


class DataKeyEntries:
    """One key a subject, made by whoever first needs it. They are leased by nobody.

    Args: refuse_backlog: see `Control.refuse_backlog`.
    Attributes:
        erasing: a key was deleted whose bytes may still stand in the write-ahead log.
    """

    def __init__(self, journal: Journal, entries: Entries, refuse_backlog: Callable[[], None]) -> None:
        self._journal = journal
        self._entries = entries
        self._refuse_backlog = refuse_backlog
        self._full_told = False
        self._count: int = journal.read("SELECT count(*) FROM data_keys")[0][0]
        # Whoever erased may have died before the log was emptied.
        self.erasing = True
        self.finish_erasing()

    def data_keys(self, *, wanted: Sequence[Wanted]) -> list[tuple[str, bytes] | None]:
        """(id, wrapped key) of each subject: the one that it has, else the one that was given for it.

        Returns: None for those for which there is no room any more.
        Raises: UnavailableError: more than `MOST_AT_ONCE`.
        """
        if len(wanted) > MOST_AT_ONCE:
            raise UnavailableError(f"at most {MOST_AT_ONCE} data keys are asked for at once")
        # INVARIANT (single owner): whoever was superseded may have missed an erasure.
        self._journal.refuse_fenced()
        known = [self._of(subject) for _, subject, _, _ in wanted]
        # One subject may be asked for twice.
        fresh = {one[1]: one for one, key in zip(wanted, known, strict=True) if key is None}
        room = MOST_DATA_KEYS - self._count
        added = list(fresh.values())[: max(0, room)]
        if len(added) < len(fresh) and not self._full_told:
            self._full_told = True
            log.error(
                "there are %d data keys, as many as may be: what is to be encrypted for further subjects is masked",
                MOST_DATA_KEYS,
            )
        if added:
            now_us = self._entries.now_us()
            with self._journal.transaction() as step:
                step.executemany(
                    "INSERT INTO data_keys VALUES (?, ?, ?, ?, ?)",
                    [
                        (subject, tenant, identity, wrapped, now_us)
                        for tenant, subject, identity, wrapped in added
                    ],
                )
            self._count += len(added)
        return [key or self._of(subject) for key, (_, subject, _, _) in zip(known, wanted, strict=True)]

    def data_keys_by_id(self, *, tenant: str, ids: Sequence[str]) -> list[tuple[str, bytes] | None]:
        """(the subject's keyed digest, wrapped key) of each id; None: it was destroyed, or is another tenant's."""
        self._journal.refuse_fenced()
        return [self._by_id(tenant, identity) for identity in ids[:MOST_AT_ONCE]]

    def erase_subject(self, *, tenant: str, subject: str, reason: str, by: str) -> dict[str, Any]:
        """Destroy a subject's key. Idempotent: one that has none leaves no second event.

        Args:
            subject: its keyed digest; reason: a code, no words.
        Returns: ``erased``: whether there was one; ``gone``: whether its bytes have left the journal's files; if not,
            somebody reads them now (a backup, say), and they leave once that has ended.
        """
        rows = self._journal.read(
            "SELECT created_us FROM data_keys WHERE subject = ? AND tenant = ?", (subject, tenant)
        )
        if rows:
            now_us = self._entries.now_us()
            details = {"subject": subject, "reason": reason, "by": by, "key_created_us": rows[0][0]}
            with self._entries.change("subject_erased", tenant, details, now_us) as step:
                step.execute("DELETE FROM data_keys WHERE subject = ?", (subject,))
            self._count -= 1
            self._full_told = False
            self.erasing = True
        self.finish_erasing()
        return {"erased": bool(rows), "gone": not self.erasing}

    def record_reveal(self, *, tenant: str, details: dict[str, Any], about: EvidenceRow) -> None:
        """Leave the event that somebody is shown what was encrypted.

        Args: about: columns of the action's row.
        Raises: UnavailableError: too much evidence waits to land. Auditors reveal as well, as often as they like, and
            the journal is to stay within its bound.
        """
        self._refuse_backlog()
        with self._entries.change("arguments_revealed", tenant, details, self._entries.now_us(), about=about):
            return

    def finish_erasing(self) -> None:
        """Empty the write-ahead log, in which deleted keys may still stand; tried again until it is."""
        if self.erasing and self._journal.empty_log():
            self.erasing = False

    def _of(self, subject: str) -> tuple[str, bytes] | None:
        rows = self._journal.read("SELECT id, wrapped FROM data_keys WHERE subject = ?", (subject,))
        return rows[0] if rows else None

    def _by_id(self, tenant: str, identity: str) -> tuple[str, bytes] | None:
        rows = self._journal.read(
            "SELECT subject, wrapped FROM data_keys WHERE id = ? AND tenant = ?", (identity, tenant)
        )
        return rows[0] if rows else None
