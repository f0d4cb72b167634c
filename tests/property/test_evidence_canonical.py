"""The verifier's fast canonical bytes against the reference, byte for byte, whatever stands in the columns."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.record import canonical_from_arrow, leaf_hash
from evidence.verify.canonical import NullInListError, canonical_rows, leaves

EXACT = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', "\x00", "\x1f\x7f", "\b\t\n\f\r", "Grüße 🚫\u2028", '{"a":"\\n"}', "x" * 5000]
)
TEXTS = st.lists(TEXT, max_size=4)
VALUES = {
    "event_date": (st.dates(date(1, 1, 1)), pa.date32()),
    "event_id": (TEXT, pa.string()),
    "event_time": (st.integers(-EXACT, EXACT), pa.timestamp("us", tz="UTC")),
    "ingest_time": (st.integers(0, EXACT), pa.timestamp("us", tz="UTC")),
    "seq": (st.integers(0, EXACT), pa.int64()),
    "agent_id": (TEXT, pa.string()),
    "reasons": (TEXTS, pa.list_(pa.string())),
    "controls": (TEXTS, pa.list_(pa.string())),
    "arguments_digest": (st.binary(max_size=40), pa.binary()),
    "risk_steps": (st.integers(-(2**31), 2**31 - 1), pa.int32()),
    "details": (TEXT, pa.string()),
    "added_later": (TEXT, pa.string()),
    "leaf_hash": (st.binary(min_size=32, max_size=32), pa.binary()),
}
REQUIRED = ("event_date", "event_id", "seq")
VIEWS = {
    pa.string(): [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    pa.binary(): [pa.large_binary(), pa.binary_view()],
    pa.list_(pa.string()): [pa.large_list(pa.string()), pa.list_(pa.large_string())],
    pa.int32(): [pa.int64(), pa.int16()],
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Rows of any columns in any order, of which some are null, always or sometimes; in one chunk or in several."""
    names = draw(st.permutations(sorted(VALUES)))
    count = draw(st.integers(1, 6))
    columns = {}
    for name in names[: draw(st.integers(1, len(names)))]:
        values, type_ = VALUES[name]
        cell = values if name in REQUIRED else st.none() | values
        columns[name] = pa.array(draw(st.lists(cell, min_size=count, max_size=count)), type_)
    table = pa.table(columns)
    if draw(st.booleans()):
        table = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    return table.slice(draw(st.integers(0, count - 1)))


@given(tables())
def test_the_fast_way_writes_the_same_bytes(table: pa.Table) -> None:
    reference = canonical_from_arrow(table)
    assert canonical_rows(table) == reference
    assert leaves(table) == b"".join(map(leaf_hash, reference))


@given(tables(), st.randoms())
def test_whatever_types_a_reader_prefers(table: pa.Table, random: st.randoms) -> None:  # type: ignore[valid-type]
    for index, field in enumerate(table.schema):
        others = [other for other in VIEWS.get(field.type, ()) if other != pa.int16()]
        if others:
            type_ = random.choice(others)  # type: ignore[attr-defined]
            column = table.column(index)
            cast = column.dictionary_encode() if pa.types.is_dictionary(type_) else column.cast(type_)
            table = table.set_column(index, field.name, cast)
    assert canonical_rows(table) == canonical_from_arrow(table)


def test_more_rows_than_a_chunk_and_texts_larger_than_one() -> None:
    rows = pa.table(
        {
            "event_id": pa.array([f"event {i}" for i in range(5000)]),
            "details": pa.array(['"' * (2**21 if i == 7 else i % 50) for i in range(5000)]),
        }
    )
    assert canonical_rows(rows) == canonical_from_arrow(rows)


def test_a_list_that_holds_a_null_is_refused() -> None:
    rows = pa.table({"event_id": ["a", "b"], "atoms": pa.array([["x"], ["y", None]], pa.list_(pa.string()))})
    with pytest.raises(NullInListError, match="`atoms`"):
        leaves(rows)


def test_a_table_without_rows_has_no_leaves() -> None:
    assert leaves(pa.table({"event_id": pa.array([], pa.string())})) == b""
