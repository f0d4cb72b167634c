"""The owner's side of landing: what was handed over and trimmed, and journals that come back from the past."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from actors.journal import Journal
from actors.log_feed import ROLLED_BACK, TRIM_ROWS, UNCONFIRMED, LogFeed
from evidence.record import EvidenceRow


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal.open(tmp_path / "host-000.db", new_log_id="log-a")
    _append(journal, 5)
    return journal


def test_a_journal_is_not_used_before_the_table_has_spoken(journal: Journal) -> None:
    feed = LogFeed()
    assert feed.trouble == UNCONFIRMED
    log_id, records, unconfirmed = feed.pending(journal, 10)
    assert (log_id, len(records), unconfirmed) == ("log-a", 5, True)
    asyncio.run(feed.trim(journal, "log-a", -1))
    assert feed.trouble is None
    assert feed.pending(journal, 2)[2] is False
    assert journal.pending_count() == 5


def test_trimming_forgets_what_landed_and_keeps_counting(journal: Journal, tmp_path: Path) -> None:
    asyncio.run(LogFeed().trim(journal, "log-a", 3))
    assert [seq for seq, _, _ in journal.pending(after_seq=-1, limit=10)] == [4]
    journal.close()
    assert Journal.open(tmp_path / "host-000.db", new_log_id="x").next_seq == 5


def test_a_journal_that_ends_before_what_the_table_holds_is_never_used(journal: Journal) -> None:
    feed = LogFeed()
    asyncio.run(feed.trim(journal, "another-log", 99))
    assert feed.trouble == UNCONFIRMED
    asyncio.run(feed.trim(journal, "log-a", 7))
    assert feed.trouble == ROLLED_BACK
    asyncio.run(feed.trim(journal, "log-a", 2))
    assert feed.trouble == ROLLED_BACK
    assert journal.pending_count() == 2


def _append(journal: Journal, count: int) -> None:
    with journal.transaction() as step:
        for _ in range(count):
            step.append(
                EvidenceRow(
                    event_id="0190a000-0000-7000-8000-000000000001",
                    event_type="decision",
                    schema_version=1,
                    event_time=1_700_000_000_000_000,
                    tenant_id="t",
                )
            )


def test_others_have_their_turn_while_thousands_of_records_are_forgotten(journal: Journal) -> None:
    async def run() -> None:
        _append(journal, 3 * TRIM_ROWS)
        trimming = asyncio.create_task(LogFeed().trim(journal, "log-a", 3 * TRIM_ROWS - 1))
        waiting = []
        while not trimming.done():
            await asyncio.sleep(0)
            waiting.append(journal.pending_count())
            if len(waiting) == 2:
                _append(journal, 1)
        await trimming
        assert waiting[0] == 2 * TRIM_ROWS + 5
        assert all(before - after <= TRIM_ROWS for before, after in pairwise(waiting))
        kept = [seq for seq, _, _ in journal.pending(after_seq=-1, limit=10)]
        assert kept == list(range(3 * TRIM_ROWS, 3 * TRIM_ROWS + 6))

    asyncio.run(run())


def test_a_journal_that_closes_meanwhile_keeps_the_rest(journal: Journal, tmp_path: Path) -> None:
    async def run() -> None:
        _append(journal, 2 * TRIM_ROWS)
        trimming = asyncio.create_task(LogFeed().trim(journal, "log-a", 2 * TRIM_ROWS + 4))
        await asyncio.sleep(0)
        journal.close()
        await trimming
        again = Journal.open(tmp_path / "host-000.db", new_log_id="x")
        assert (again.first_seq, again.pending_count()) == (TRIM_ROWS, TRIM_ROWS + 5)

    asyncio.run(run())
