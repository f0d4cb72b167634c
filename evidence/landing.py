"""What of the waiting records may land: the exactly-once rule, without any I/O.

A log's records carry consecutive `seq`s from 0. The table remembers for each log the last one that landed.
Sent twice, a record is dropped; sent too early, it is refused: the table of a log never has a hole and never
a row twice. Logs do not wait for each other: what is wrong with one stops that one alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from evidence.record import RecordError, leaf_hash, to_arrow

# What a checkpoint's origin, and the name of a key, may hold; names that begin with `_` are not for logs.
_LOG_ID: Final = re.compile(r"[^\s+_\x00-\x1f][^\s+\x00-\x1f]{0,199}")

Records = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBatch:
    """Consecutive records of one log, as its journal holds them: (canonical bytes, leaf) pairs."""

    log_id: str
    first_seq: int
    last_seq: int
    records: Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one round will do: `append` in this order, and why each log in `refused` stays where it is."""

    append: tuple[LogBatch, ...]
    refused: Mapping[str, str]


def plan(batches: Sequence[LogBatch], landed: Mapping[str, int]) -> Plan:
    """Choose the records that continue their logs exactly.

    Args:
        batches: in the order in which they were handed over; several may be of one log and may overlap.
        landed: last `seq` in the table for each log; a log that is not in it has none (-1).
    Returns: at most one batch for each log, without what has landed already. A log that is refused once
        appends nothing in this round, not even what was good before the refusal: its owner sees one answer.
    Cost: O(batches); records are sliced, never looked at.
    """
    pending: dict[str, LogBatch] = {}
    refused: dict[str, str] = {}
    for batch in batches:
        log_id = batch.log_id
        if log_id in refused:
            continue
        before = pending.get(log_id)
        last = before.last_seq if before is not None else landed.get(log_id, -1)
        # INVARIANT (exactly once): what is at or below the last one is dropped, and nothing follows a gap.
        reason = _refusal(batch, last)
        if reason is not None:
            refused[log_id] = reason
            pending.pop(log_id, None)
        elif batch.last_seq > last:
            pending[log_id] = _joined(before, _after(batch, last))
    return Plan(append=tuple(pending.values()), refused=refused)


def rows_of(batch: LogBatch, *, ingest_time_us: int) -> pa.RecordBatch:
    """The batch's rows, checked against what the batch says of them.

    Raises: RecordError: bytes that are no record, or records of another log or of other `seq`s.
    """
    rows = to_arrow(batch.records, ingest_time_us=ingest_time_us)
    expected = pa.array(range(batch.first_seq, batch.last_seq + 1), pa.int64())
    if (
        not rows.column("seq").equals(expected)
        or not pc.all(pc.equal(rows.column("log_id"), batch.log_id)).as_py()
    ):
        raise RecordError(
            f"batch of log `{batch.log_id}`, seq {batch.first_seq} to {batch.last_seq}, holds other records",
            log_id=batch.log_id,
        )
    return rows


def leaves_of(batch: LogBatch) -> list[bytes]:
    """The leaf of each record, as recomputed from its bytes.

    Raises: RecordError: one is not the journalled leaf: it would be signed, and no row would ever have it.
    Cost: 0.8 µs for a record of 1 KB.
    """
    leaves = [leaf_hash(canonical) for canonical, _ in batch.records]
    for index, (leaf, (_, journalled)) in enumerate(zip(leaves, batch.records, strict=True)):
        if leaf != journalled:
            seq = batch.first_seq + index
            raise RecordError(
                f"the leaf of log `{batch.log_id}`, seq {seq}, is not that of its record: the journal is damaged",
                log_id=batch.log_id,
                seq=seq,
            )
    return leaves


def _refusal(batch: LogBatch, last: int) -> str | None:
    log_id, first_seq, last_seq = batch.log_id, batch.first_seq, batch.last_seq
    if not _LOG_ID.fullmatch(log_id):
        return (
            f"`{log_id[:100]}` is no name of a log: up to 200 characters, no spaces, no `+`, no `_` in front"
        )
    if first_seq < 0 or len(batch.records) != last_seq - first_seq + 1:
        held = len(batch.records)
        return f"batch of log `{log_id}` says seq {first_seq} to {last_seq} and holds {held} records"
    if first_seq > last + 1:
        return f"gap in log `{log_id}`: expected seq {last + 1}, found {first_seq}"
    return None


def _after(batch: LogBatch, last: int) -> LogBatch:
    """The part of the batch beyond `last` (which lies before the batch's end)."""
    skip = max(0, last + 1 - batch.first_seq)
    if skip == 0:
        return batch
    return LogBatch(
        log_id=batch.log_id,
        first_seq=batch.first_seq + skip,
        last_seq=batch.last_seq,
        records=batch.records[skip:],
    )


def _joined(before: LogBatch | None, after: LogBatch) -> LogBatch:
    if before is None:
        return after
    return LogBatch(
        log_id=before.log_id,
        first_seq=before.first_seq,
        last_seq=after.last_seq,
        records=[*before.records, *after.records],
    )
