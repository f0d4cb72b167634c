"""The statistics by which readers skip files and parts of them: false ones hide rows that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Found:
    """What a column really holds in the rows seen so far: numbers and times as integers, text as its bytes."""

    smallest: Any = None
    largest: Any = None
    nulls: int = 0
    rows: int = 0

    def add(self, column: pa.ChunkedArray) -> None:
        """Cost: 10 ns a value."""
        self.nulls += column.null_count
        self.rows += len(column)
        if column.null_count == len(column):
            return
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())  # Python's times end with the year 9999
        found = pc.min_max(column)
        low, high = _plain(found["min"].as_py()), _plain(found["max"].as_py())
        self.smallest = low if self.smallest is None or low < self.smallest else self.smallest
        self.largest = high if self.largest is None or high > self.largest else self.largest

    def join(self, other: Found) -> None:
        self.nulls += other.nulls
        self.rows += other.rows
        for value in (other.smallest, other.largest):
            if value is not None:
                self.smallest = value if self.smallest is None or value < self.smallest else self.smallest
                self.largest = value if self.largest is None or value > self.largest else self.largest

    def hidden_by(self, low: Any, high: Any, nulls: Any) -> bool:
        """Whether a reader that believes these bounds skips something that is there. None: nothing is said."""
        low, high = _plain(low), _plain(high)
        if nulls is not None and nulls != self.nulls:
            return True
        if self.smallest is None or self.largest is None:
            return False
        below = low is not None and (type(low) is not type(self.smallest) or low > self.smallest)
        above = high is not None and (type(high) is not type(self.largest) or high < self.largest)
        return below or above


@dataclass(slots=True)
class Statistics:
    """Compares what a file and its entry in the Delta log say of columns with what they hold.

    Args: types: of the columns; of lists only the number of nulls is looked at.
    """

    types: Mapping[str, pa.DataType]
    _part: dict[str, Found] = field(default_factory=dict)
    _nulls: dict[str, int] = field(default_factory=dict)
    _whole: dict[str, Found] = field(default_factory=dict)

    def add(self, rows: pa.Table) -> None:
        for name, type_ in self.types.items():
            if pa.types.is_nested(type_):
                self._nulls[name] = self._nulls.get(name, 0) + rows.column(name).null_count
            else:
                self._part.setdefault(name, Found()).add(rows.column(name))

    def end_row_group(self, group: pq.RowGroupMetaData) -> list[str]:
        """The columns of which the row group's own statistics are false."""
        false: list[str] = []
        for index in range(group.num_columns):
            column = group.column(index)
            found = self._part.get(column.path_in_schema)
            if found is None or not column.is_stats_set:
                continue
            said = column.statistics
            low, high = (said.min, said.max) if said.has_min_max else (None, None)
            if found.hidden_by(low, high, said.null_count if said.has_null_count else None):
                false.append(column.path_in_schema)
        for name, part in self._part.items():
            self._whole.setdefault(name, Found()).join(part)
        self._part.clear()
        return false

    def end_file(self, stats: str | None) -> list[str]:
        """The columns of which the Delta log's statistics are false. Args: stats: JSON, as an `add` has it."""
        said = orjson.loads(stats) if stats else {}
        low, high, nulls = (said.get(key) or {} for key in ("minValues", "maxValues", "nullCount"))
        lists = [name for name, count in self._nulls.items() if nulls.get(name, count) not in (count, None)]
        return lists + [
            name
            for name, found in self._whole.items()
            if found.hidden_by(
                _from_json(low.get(name), self.types[name], least=True),
                _from_json(high.get(name), self.types[name], least=False),
                nulls.get(name),
            )
        ]


def _from_json(value: Any, type_: pa.DataType, *, least: bool) -> Any:
    """A value of the Delta log's statistics; times there may be cut to milliseconds."""
    if not isinstance(value, str) or not pa.types.is_timestamp(type_):
        return value
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    whole = int(_plain(moment))
    return whole if least else whole + (999 if whole % 1000 == 0 else 0)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        since = moment - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return value
