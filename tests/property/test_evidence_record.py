"""Canonical bytes against the reference implementation of RFC 8785, and through Arrow and back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from evidence.record import EvidenceRow, canonical_bytes, canonical_from_arrow, leaf_hash, to_arrow

EXACT = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TEXTS = st.lists(TEXT, max_size=4)
DAY_US = 86_400_000_000

ROWS = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "event_type": TEXT,
        "schema_version": st.integers(1, 2**31 - 1),
        "event_time": st.integers(-EXACT, EXACT),
        "log_id": TEXT,
        "seq": st.integers(0, EXACT),
        "tenant_id": TEXT,
    },
    optional={
        "agent_id": TEXT,
        "reasons": TEXTS,
        "controls": TEXTS,
        "decision": st.sampled_from(["allow", "deny", "modify", "escalate"]),
        "arguments_digest": st.binary(min_size=32, max_size=32),
        "risk_steps": st.integers(-(2**31), 2**31 - 1),
        "duration_us": st.integers(-EXACT, EXACT),
        "details": TEXT,
    },
)


def reference(row: EvidenceRow) -> bytes:
    """The specification, word by word."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row["event_time"])
    return rfc8785.dumps({**plain, "event_date": f"{when:%Y-%m-%d}".rjust(10, "0")})


@given(ROWS)
def test_canonical_bytes_are_those_of_rfc_8785(row: EvidenceRow) -> None:
    assert canonical_bytes(row) == reference(row)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_rows_survive_arrow(rows: list[EvidenceRow]) -> None:
    records = [(canonical := canonical_bytes(row), leaf_hash(canonical)) for row in rows]
    batch = to_arrow(records, ingest_time_us=0)
    assert canonical_from_arrow(batch) == [canonical for canonical, _ in records]


def test_the_limits_of_exact_integers_are_canonical() -> None:
    row = EvidenceRow(
        event_id=str(uuid.UUID(int=7)),
        event_type="finding",
        schema_version=1,
        event_time=0,
        log_id="a",
        seq=EXACT,
        tenant_id="default",
        duration_us=-EXACT,
    )
    assert canonical_bytes(row) == reference(row)
