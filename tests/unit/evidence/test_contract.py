"""What a later version of the columns may change: nothing but to add nullable ones at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from evidence.columns import SCHEMA
from evidence.contract import Promise, breaches, promised, record_text, recorded

Columns = tuple[Promise, ...]
NOW = promised(SCHEMA)
ADDED = Promise(name="country", type="string", required=False)


def at(name: str) -> int:
    return [column.name for column in NOW].index(name)


def changed(column: str, **changes: object) -> Columns:
    place = at(column)
    return (*NOW[:place], replace(NOW[place], **changes), *NOW[place + 1 :])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (NOW[:-1], "column `leaf_hash` is absent, expected binary not null"),
        (changed("agent_id", name="agent"), "column `agent_id` is absent, expected string"),
        (changed("risk_steps", type="int64"), "column `risk_steps` is int64, expected int32"),
        (
            changed("reasons", type="list<item: binary>"),
            "column `reasons` is list<item: binary>, expected list<item: string>",
        ),
        (changed("agent_id", required=True), "column `agent_id` is string not null, expected string"),
        (changed("tenant_id", required=False), "column `tenant_id` is string, expected string not null"),
        ((NOW[1], NOW[0], *NOW[2:]), "column `event_date` is column 2, expected column 1"),
        ((ADDED, *NOW), "column `event_date` is column 2, expected column 1"),
        (
            (*NOW, replace(ADDED, required=True)),
            "column `country` is string not null, expected string (a new column is nullable)",
        ),
    ],
)
def test_what_breaks_a_query_is_said(after: Columns, said: str) -> None:
    assert str(breaches(NOW, after)[0]) == said


@pytest.mark.parametrize("after", [NOW, (*NOW, ADDED), (*NOW, ADDED, replace(ADDED, name="region"))])
def test_what_is_added_at_the_end_and_may_be_null_breaks_nothing(after: Columns) -> None:
    assert breaches(NOW, after) == []


def test_each_breach_is_told() -> None:
    assert [breach.column for breach in breaches(NOW, NOW[3:])][:3] == [c.name for c in NOW[:3]]


def test_a_record_of_a_contract_reads_as_it_was_written() -> None:
    assert recorded(record_text(7, NOW)) == (7, NOW)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"required"', '"nullable"'),
        lambda text: text[:-5],
    ],
)
def test_something_else_is_no_contract(break_it: Callable[[str], str]) -> None:
    with pytest.raises((ValueError, TypeError)):
        recorded(break_it(record_text(1, NOW)))


def test_columns_of_a_schema_keep_type_and_nullability() -> None:
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.list_(pa.string()))])
    assert [str(column) for column in promised(schema)] == ["int64 not null", "list<item: string>"]
