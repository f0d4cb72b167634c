"""One event of the evidence table by its id."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow.dataset as ds

from evidence.delta.reading import open_dataset
from evidence.delta.shape import unavailable

_SKEW: Final = timedelta(hours=1)
"""An id's time is its owner's when it was drawn; the event's is never before the last one's of its log."""


def find_event(path: str, event_id: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """The row, or None: there is none, or not yet.

    Args: event_id: a UUIDv7; others are in no table.
    Raises: NoEvidenceError, EvidenceUnavailableError: the table cannot be read.
    Cost: the files whose rows are within an hour of the id's time.
    """
    try:
        identity = uuid.UUID(event_id)
    except ValueError:
        return None
    if identity.version != 7:
        return None
    try:
        at = datetime.fromtimestamp((identity.int >> 80) / 1000, UTC)
        first, last = at - _SKEW, at + _SKEW
    except (ValueError, OverflowError):  # an id may name a time after the last year that there is
        return None
    dataset = open_dataset(path)
    with unavailable(f"cannot read the evidence table at `{path}`"):
        rows: list[dict[str, Any]] = dataset.to_table(
            columns=list(columns),
            filter=(ds.field("event_date") >= first.date())
            & (ds.field("event_date") <= last.date())
            & (ds.field("event_time") >= first)
            & (ds.field("event_time") <= last)
            & (ds.field("event_id") == str(identity)),
        ).to_pylist()
    return rows[0] if rows else None
