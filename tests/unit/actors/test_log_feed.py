"""The owner's side of landing: what was handed over and trimmed, and journals that come back from the past."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.journal import Journal
from actors.log_feed import ROLLED_BACK, UNCONFIRMED, LogFeed
from evidence.record import EvidenceRow


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal.open(tmp_path / "host-000.db", new_log_id="log-a")
    with journal.transaction() as step:
        for _ in range(5):
            step.append(
                EvidenceRow(
                    event_id="0190a000-0000-7000-8000-000000000001",
                    event_type="decision",
                    schema_version=1,
                    event_time=1_700_000_000_000_000,
                    tenant_id="t",
                )
            )
    return journal


def test_a_journal_is_not_used_before_the_table_has_spoken(journal: Journal) -> None:
    feed = LogFeed()
    assert feed.trouble == UNCONFIRMED
    log_id, records, unconfirmed = feed.pending(journal, 10)
    assert (log_id, len(records), unconfirmed) == ("log-a", 5, True)
    feed.trim(journal, "log-a", -1)
    assert feed.trouble is None
    assert feed.pending(journal, 2)[2] is False
    assert journal.pending_count() == 5


def test_trimming_forgets_what_landed_and_keeps_counting(journal: Journal, tmp_path: Path) -> None:
    LogFeed().trim(journal, "log-a", 3)
    assert [seq for seq, _, _ in journal.pending(after_seq=-1, limit=10)] == [4]
    journal.close()
    assert Journal.open(tmp_path / "host-000.db", new_log_id="x").next_seq == 5


def test_what_landed_is_forgotten_some_rows_at_a_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.journal.TRIMMED_AT_ONCE", 2)
    feed = LogFeed()
    left = []
    while feed.trim(journal, "log-a", 3):
        left.append(journal.pending_count())
    assert (left, journal.pending_count(), journal.first_seq) == ([3], 1, 4)
    assert not feed.trim(journal, "log-a", 3) and not feed.trim(journal, "another-log", 4)
    assert not feed.trim(journal, "log-a", 4) and journal.pending_count() == 0
    assert not feed.trim(journal, "log-a", 4) and feed.trouble is None


def test_a_journal_that_ends_before_what_the_table_holds_is_never_used(journal: Journal) -> None:
    feed = LogFeed()
    feed.trim(journal, "another-log", 99)
    assert feed.trouble == UNCONFIRMED
    feed.trim(journal, "log-a", 7)
    assert feed.trouble == ROLLED_BACK
    feed.trim(journal, "log-a", 2)
    assert feed.trouble == ROLLED_BACK
    assert journal.pending_count() == 2
