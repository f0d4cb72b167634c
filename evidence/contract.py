"""The contract about columns: what a later version may change, and what would break somebody's queries. Pure.

Each published version of the columns is recorded in `evidence/schema/v<N>.json` (types as Arrow names them). A later
version adds nullable columns at the end; nothing else is compatible.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

FORMAT: Final = 1
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is promised of one column; `type` is Arrow's text of it, e.g. `timestamp[us, tz=UTC]`."""

    name: str
    type: str
    required: bool

    def __str__(self) -> str:
        return f"{self.type}{' not null' if self.required else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One way in which columns break a contract; `expected` and `found` are types, places or `absent`."""

    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"column `{self.column}` is {self.found}, expected {self.expected}"


def promised(schema: pa.Schema) -> tuple[Promise, ...]:
    """The columns of an Arrow schema, in its order."""
    return tuple(Promise(name=f.name, type=str(f.type), required=not f.nullable) for f in schema)


def recorded(text: str) -> tuple[int, tuple[Promise, ...]]:
    """Parse one file of `evidence/schema/`: its schema version and its columns.

    Raises: ValueError, KeyError, TypeError: it is no such file.
    """
    record = json.loads(text)
    if record["format"] != FORMAT:
        raise ValueError(f"unknown format `{record['format']}` of a schema contract, expected {FORMAT}")
    return record["schema_version"], tuple(Promise(**column) for column in record["columns"])


def record_text(version: int, columns: Sequence[Promise]) -> str:
    """The inverse of `recorded`: a line for each column, so that a difference can be read."""
    lines = [json.dumps(_plain(column)) for column in columns]
    return (
        f'{{\n  "format": {FORMAT},\n  "schema_version": {version},\n  "columns": [\n    '
        + ",\n    ".join(lines)
        + "\n  ]\n}\n"
    )


def breaches(before: Sequence[Promise], after: Sequence[Promise]) -> list[Breach]:
    """What breaks the contract `before` in the columns `after`; empty: everything that read them still does.

    A column must not be removed or renamed (which is both: removed, and another one added), nor change its type, its
    nullability or its place: who reads by position reads the same. Added ones are nullable and come last, so that
    a table that grew and one that was made anew look the same.
    """
    found = {column.name: (place, column) for place, column in enumerate(after)}
    broken: list[Breach] = []
    for place, column in enumerate(before):
        if column.name not in found:
            broken.append(Breach(column=column.name, expected=str(column), found=ABSENT))
            continue
        new_place, new = found[column.name]
        if str(new) != str(column):
            broken.append(Breach(column=column.name, expected=str(column), found=str(new)))
        elif new_place != place:
            broken.append(
                Breach(column=column.name, expected=f"column {place + 1}", found=f"column {new_place + 1}")
            )
    known = {column.name for column in before}
    broken += [
        Breach(column=column.name, expected=f"{column.type} (a new column is nullable)", found=str(column))
        for column in after
        if column.name not in known and column.required
    ]
    return broken


def _plain(column: Promise) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "required": column.required}
