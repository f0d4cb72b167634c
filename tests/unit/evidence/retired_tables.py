"""An evidence table with its signed checkpoints, as the writer leaves them behind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from unit.evidence.evidence_samples import DAY_US, full_row, record

from evidence.checkpoint import Checkpoint, origin_of
from evidence.delta.departing import depart, survey
from evidence.delta.retiring import retention_note
from evidence.delta.signed_sizes import SignedSizes
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.merkle import CompactRange
from evidence.note import Note, PrivateKey
from evidence.retention import Departure, Hold

KEY = PrivateKey("cp-test", bytes(32))
FIRST_DAY = date(2026, 1, 1)
FIRST_US = (FIRST_DAY - date(1970, 1, 1)).days * DAY_US

CHECKPOINTS = pa.schema(
    [
        pa.field("checkpoint_date", pa.date32(), nullable=False),
        pa.field("checkpoint_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("table_version", pa.int64(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("log_id", pa.string()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("root", pa.binary(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("range", pa.binary(), nullable=False),
    ]
)


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


class SignedTable:
    """Rows of several logs, four a day and log, landed and signed day by day."""

    def __init__(self, folder: Path, *, key: PrivateKey = KEY) -> None:
        self.path = folder / "evidence" / "decisions"
        self.checkpoints = folder / "evidence" / "checkpoints"
        self.key = key
        self.table = self.opened()
        self.leaves: dict[str, list[bytes]] = {}

    def opened(self) -> EvidenceTable:
        self.table = EvidenceTable.open_or_create(str(self.path), keys=[self.key.public])
        return self.table

    def land(
        self,
        first: int,
        last: int,
        *,
        rows: int = 4,
        log_id: str = "host-000",
        landed: int | None = None,
        **columns: Any,
    ) -> None:
        """Rows of the days `first` to `last`, evenly spread, in one landing: on the day `landed`, or with the first."""
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
        self.sign(log_id, landed_us)

    def sign(
        self, log_id: str, at_us: int, *, key: PrivateKey | None = None, root: bytes | None = None
    ) -> None:
        """Put the log's checkpoint into the table of checkpoints."""
        tree = CompactRange().append(self.leaves[log_id])
        origin = origin_of(self.key.public.name, log_id)
        found = Checkpoint(origin=origin, size=tree.size, root=root or tree.root())
        at = datetime.fromtimestamp(at_us / 1_000_000, UTC)
        row = {
            "checkpoint_date": at.date(),
            "checkpoint_time": at,
            "table_version": self.table.version,
            "origin": origin,
            "log_id": log_id,
            "size": tree.size,
            "root": found.root,
            "note": str(found.signed(key or self.key)),
            "range": b"".join(tree.roots),
        }
        write_deltalake(
            self.checkpoints,
            pa.Table.from_pylist([row], schema=CHECKPOINTS),
            mode="append",
            partition_by=["checkpoint_date"],
        )

    @property
    def signed(self) -> SignedSizes:
        return SignedSizes(str(self.checkpoints), [self.key.public])

    def check(self, *, today: int, keep_days: int = 10, holds: tuple[Hold, ...] = ()) -> Departure:
        """What may leave on a day."""
        return depart(self.survey(today=today, keep_days=keep_days, holds=holds), self.signed)

    def survey(self, *, today: int, keep_days: int = 10, holds: tuple[Hold, ...] = ()) -> Any:
        return survey(str(self.path), holds, keep_days=keep_days, now_us=FIRST_US + today * DAY_US)

    def note(self, departure: Departure, *, key: PrivateKey | None = None) -> Note:
        return retention_note(departure, key or self.key, now_us=FIRST_US)

    def retire(self, **asked: Any) -> Departure:
        """Let everything leave that may. Returns: what left."""
        departure = self.check(**asked)
        self.table.retire(departure, self.note(departure))
        return departure
