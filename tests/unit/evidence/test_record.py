from __future__ import annotations

import enum
import hashlib

import orjson
import pyarrow as pa
import pytest
from unit.evidence.evidence_samples import DAY_US, NOON_US, full_row, record, small_row

from evidence.record import (
    SCHEMA,
    EvidenceRow,
    RecordError,
    canonical_bytes,
    canonical_from_arrow,
    leaf_hash,
    to_arrow,
)


class Effect(enum.StrEnum):
    DENY = "deny"


def test_the_canonical_bytes_of_a_small_row_are_these() -> None:
    assert canonical_bytes(small_row(arguments_digest=b"\xab" * 32, reasons=[])) == (
        b'{"arguments_digest":"' + b"ab" * 32 + b'","event_date":"2026-09-04",'
        b'"event_id":"01991f3a-5c00-7000-8000-000000000000","event_time":1788523200000000,'
        b'"event_type":"finding","log_id":"host-000","reasons":[],"schema_version":1,"seq":0,'
        b'"tenant_id":"default"}'
    )


def test_the_leaf_is_the_hash_of_a_zero_byte_and_the_canonical_bytes() -> None:
    assert leaf_hash(b"abc") == hashlib.sha256(b"\x00abc").digest()


@pytest.mark.parametrize(
    ("event_time_us", "event_date"),
    [(0, "1970-01-01"), (-1, "1969-12-31"), (DAY_US - 1, "1970-01-01"), (DAY_US, "1970-01-02")],
)
def test_the_date_is_the_utc_date_of_the_event(event_time_us: int, event_date: str) -> None:
    canonical = canonical_bytes(small_row(event_time=event_time_us))
    assert orjson.loads(canonical)["event_date"] == event_date
    assert canonical_from_arrow(to_arrow([(canonical, b"")], ingest_time_us=0)) == [canonical]


def test_a_row_does_not_change_when_it_becomes_canonical() -> None:
    row = full_row()
    canonical_bytes(row)
    assert row == full_row()


def test_an_enum_member_counts_as_its_text() -> None:
    assert canonical_bytes(full_row(decision=Effect.DENY)) == canonical_bytes(full_row(decision="deny"))


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"seq": -1}, "seq"),
        ({"seq": True}, "seq"),
        ({"seq": "1"}, "seq"),
        ({"decision": "maybe"}, "decision"),
        ({"decision": None}, "decision"),
        ({"arguments_digest": b"short"}, "arguments_digest"),
        ({"arguments_digest": "ab" * 32}, "arguments_digest"),
        ({"reasons": "why"}, "reasons"),
        ({"reasons": [1]}, "reasons"),
        ({"reasons": [None]}, "reasons"),
        ({"reasons": ("why",)}, "reasons"),
        ({"risk_steps": 2**31}, "risk_steps"),
        ({"schema_version": 0}, "schema_version"),
        ({"event_time": 2**53}, None),
        ({"event_time": 10**18}, "event_time"),
        ({"duration_us": 2**53}, None),
        ({"details": {"a": 1}}, "details"),
        ({"agent_id": "\ud800"}, None),
        ({"agentid": "a"}, "agentid"),
        ({"event_date": "2026-09-04"}, "event_date"),
        ({"leaf_hash": b""}, "leaf_hash"),
    ],
)
def test_what_the_table_could_not_hold_is_refused_before_it_is_journalled(
    changes: dict[str, object], column: str | None
) -> None:
    with pytest.raises(RecordError) as caught:
        canonical_bytes(small_row(**changes))
    assert caught.value.code == "invalid_record"
    assert column is None or caught.value.fields["column"] == column


@pytest.mark.parametrize("column", sorted(small_row()))
def test_a_row_without_a_required_column_is_refused(column: str) -> None:
    row = {name: value for name, value in small_row().items() if name != column}
    with pytest.raises(RecordError, match=f"lacks the column `{column}`"):
        canonical_bytes(EvidenceRow(**row))  # type: ignore[typeddict-item]


def test_rows_go_to_arrow_and_back_unchanged() -> None:
    rows = [
        full_row(),
        small_row(seq=1),
        full_row(seq=2, reasons=[], agent_id="", agent_version="a\x00b", duration_us=-(2**53) + 1),
    ]
    records = [record(row) for row in rows] * 500
    batch = to_arrow(records, ingest_time_us=NOON_US)
    assert batch.schema == SCHEMA
    assert canonical_from_arrow(batch) == [canonical for canonical, _ in records]
    assert batch.column("leaf_hash").to_pylist() == [leaf for _, leaf in records]
    assert batch.column("ingest_time").cast(pa.int64()).to_pylist() == [NOON_US] * len(records)


def test_no_records_are_no_rows() -> None:
    batch = to_arrow([], ingest_time_us=0)
    assert batch.num_rows == 0
    assert batch.schema == SCHEMA


def test_an_empty_list_is_not_null() -> None:
    batch = to_arrow([record(full_row(data_classes=[])), record(small_row())], ingest_time_us=0)
    assert batch.column("data_classes").to_pylist() == [[], None]


def test_columns_of_a_later_version_are_covered_by_the_leaf() -> None:
    canonical = canonical_bytes(small_row())
    table = pa.Table.from_batches([to_arrow([(canonical, b"")], ingest_time_us=0)])
    later = table.append_column("zone", pa.array(["eu"]))
    assert canonical_from_arrow(later) == [canonical[:-1] + b',"zone":"eu"}']


@pytest.mark.parametrize(
    ("journalled", "message"),
    [
        (b"not json", "are not an evidence record"),
        (b"[]", "are not an evidence record"),
        (b'{"seq":"one"}', "are not an evidence record"),
        (b'{"seq":99999999999999999999}', "are not an evidence record"),
        (b'{"arguments_digest":"xy"}', "are not an evidence record"),
        (b'{"colour":"red"}', "holds `colour`"),
        (b'{"agent_id":null}', "holds `null`"),
        (b'{"agent_id":"a","agent_id":"b"}', "are not an evidence record"),
        (b'{"agent_id":"\xff"}', "are not an evidence record"),
        (b'{"agent_id":{"seq":1}}', "are not an evidence record"),
        (b"{}{}", "are not an evidence record"),
        (b"", "are not an evidence record"),
        (b"{}", "lacks the column `event_date`"),
    ],
)
def test_bytes_that_are_no_record_are_refused(journalled: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        to_arrow([(journalled, b"")], ingest_time_us=0)


def test_one_record_never_stands_for_two() -> None:
    first, second = canonical_bytes(small_row(seq=0)), canonical_bytes(small_row(seq=1))
    for journalled in ([first + b"\n" + second, b""], [first + second, b"\n"], [b"", first + second]):
        with pytest.raises(RecordError, match="are not an evidence record"):
            to_arrow([(text, b"") for text in journalled], ingest_time_us=0)


def test_a_null_is_a_column_but_not_a_word_of_a_text() -> None:
    texts = ['{"memo":null}', '\\":null', "null", '"":null,', '\\\\":null']
    records = [record(small_row(seq=seq, arguments=text)) for seq, text in enumerate(texts)]
    assert to_arrow(records, ingest_time_us=0).column("arguments").to_pylist() == texts
    hidden = records[0][0].replace(b'"seq":0', b'"seq":0,"session_id":null')
    with pytest.raises(RecordError, match="holds `null`"):
        to_arrow([*records, (hidden, b"")], ingest_time_us=0)


def test_a_record_may_be_longer_than_a_block_of_the_parser() -> None:
    records = [record(small_row(seq=seq, details="x" * 3_000_000)) for seq in range(3)]
    assert canonical_from_arrow(to_arrow(records, ingest_time_us=0)) == [text for text, _ in records]
