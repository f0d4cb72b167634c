"""An evidence table that signs, with rows of some days, and what leaves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from unit.evidence.evidence_samples import DAY_US, full_row, record
from unit.evidence.signed_tables import NAME, Deployment

from evidence.delta.departing import Survey, depart, survey
from evidence.delta.signed_sizes import SignedSizes
from evidence.landing import LogBatch
from evidence.retention import Departure, Hold, Retirement

FIRST_DAY = date(2026, 1, 1)
FIRST_US = (FIRST_DAY - date(1970, 1, 1)).days * DAY_US


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


class RetiredTable(Deployment):
    """Rows of several logs, four a day and log unless otherwise said."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made()
        self.leaves: dict[str, list[bytes]] = {}
        self.open()

    def open(self) -> None:
        """Open it, or open it anew."""
        self.table = self.opened()

    def land(
        self,
        first: int,
        last: int,
        *,
        rows: int = 4,
        log_id: str = "host-000",
        landed: int | None = None,
        recorded: bool = True,
        **columns: Any,
    ) -> None:
        """Rows of the days `first` to `last`, evenly spread, in one landing: on the day `landed`, or with the first.

        Args: recorded: whether its checkpoints reach their table.
        """
        before = self.leaves.setdefault(log_id, [])
        start = len(before)
        count = (last - first + 1) * rows
        records = [
            record(
                full_row(
                    log_id=log_id,
                    seq=start + index,
                    event_id=f"{log_id}-{start + index}",
                    event_time=FIRST_US + first * DAY_US + index * (DAY_US // rows),
                    **columns,
                )
            )
            for index in range(count)
        ]
        landed_us = FIRST_US + (first if landed is None else landed) * DAY_US
        batch = LogBatch(log_id=log_id, first_seq=start, last_seq=start + count - 1, records=records)
        landing = self.table.land([batch], ingest_time_us=landed_us)
        assert landing.rows == count, landing
        before += [leaf for _, leaf in records]
        if recorded:
            self.record()

    def record(self) -> None:
        assert self.table.heads is not None
        self.table.heads.record()

    @property
    def signed(self) -> SignedSizes:
        return SignedSizes(str(self.checkpoints), [self.key()])

    def survey(self, *, today: int, keep_days: int = 10, holds: tuple[Hold, ...] = ()) -> Survey:
        """What may leave on a day, as far as dates and holds go."""
        return survey(str(self.path), holds, keep_days=keep_days, now_us=FIRST_US + today * DAY_US)

    def check(self, *, today: int, keep_days: int = 10, holds: tuple[Hold, ...] = ()) -> Departure:
        """What may leave on a day."""
        return depart(self.survey(today=today, keep_days=keep_days, holds=holds), self.signed)

    def leave(self, departure: Departure) -> Retirement:
        """Let it leave. Returns: what was signed of it."""
        retirement = Retirement.of(departure, name=NAME, time_us=FIRST_US)
        self.table.retire(departure, retirement)
        return retirement

    def retire(self, *, today: int, keep_days: int = 10, holds: tuple[Hold, ...] = ()) -> Departure:
        """Let everything leave that may. Returns: what left."""
        departure = self.check(today=today, keep_days=keep_days, holds=holds)
        self.leave(departure)
        return departure


def forge(table: RetiredTable, change: Callable[[pa.Table], pa.Table], number: int = 0) -> None:
    """Rewrite the file of one day, as somebody does who has the disk in his hands."""
    (file,) = (table.path / f"event_date={day(number).isoformat()}").glob("*.parquet")
    rows = change(pq.ParquetFile(file).read())
    pq.write_table(rows, file)


def changed(rows: pa.Table) -> pa.Table:
    """Each deny an allow."""
    at = rows.schema.get_field_index("decision")
    return rows.set_column(at, rows.schema.field(at), pa.array(["allow"] * len(rows)))
