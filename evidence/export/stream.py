"""From the table to lines of an export format, in bounded memory, and from where the last export ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from controlplane.errors import InputError
from evidence.columns import SCHEMA
from evidence.delta.reading import open_dataset
from evidence.export import ocsf, otel
from evidence.export.row import Row

Format = Literal["ocsf", "otel"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
BATCH_ROWS: Final = 500
CURSOR_FORMAT: Final = 1
_LOGS_IN_FILTER: Final = 500
"""So many logs of a cursor stand in the filter by which files are skipped: Arrow's time for it grows with their square,
and thousands overflow its stack."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = ("event_time", "ingest_time")


class Export:
    """The rows of one version of the table, as lines. Iterate once; `cursor` is whole when that has ended.

    Args:
        path: directory of the Delta table.
        since_us, until_us: of `event_time`, the first included, the last not; None: without that end.
        agents, event_types: only those; empty: all.
        after: last `seq` of each log that an earlier export has told: what comes after is told, whatever its time.
        product_version: of this software.
        with_arguments: also the arguments, as masked as they are in the table.
    Attributes:
        cursor: last `seq` of each log that was read, those of `after` included: what to begin after the next time.
        rows: how many were told.
    Raises: NoEvidenceError, EvidenceUnavailableError: the table cannot be read.
    Cost: about 40 µs a row; memory for one row group of a file.
    """

    def __init__(
        self,
        path: str,
        format: Format,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        agents: Sequence[str] = (),
        event_types: Sequence[str] = (),
        after: Mapping[str, int] | None = None,
        product_version: str,
        with_arguments: bool = False,
    ) -> None:
        self._dataset = open_dataset(path)
        self._format = format
        many = after is not None and len(after) > _LOGS_IN_FILTER
        self._where = _where(since_us, until_us, {} if many else after or {})
        self._told = _Told(after) if many and after is not None else None
        self._chosen = [
            (column, pa.array(values, pa.string()))
            for column, values in (("agent_id", agents), ("event_type", event_types))
            if values
        ]
        self._version = product_version
        self._with_arguments = with_arguments
        self.cursor: dict[str, int] = dict(after or {})
        self.rows = 0

    def __iter__(self) -> Iterator[bytes]:
        """Lines of JSON, each with its line break: one event each in OCSF, up to `BATCH_ROWS` records in OTLP."""
        for batch in self._batches():
            if self._told is not None:
                batch = self._told.without(batch)
            self._note(batch)
            for column, values in self._chosen:
                batch = batch.filter(pc.is_in(batch.column(column), values))
            if batch.num_rows:
                self.rows += batch.num_rows
                yield from self._lines(_plain(batch))

    def _lines(self, rows: Sequence[Row]) -> Iterator[bytes]:
        if self._format == "ocsf":
            for row in rows:
                event = ocsf.event(row, product_version=self._version, with_arguments=self._with_arguments)
                yield orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
            return
        records = [otel.record(row, with_arguments=self._with_arguments) for row in rows]
        request = otel.request(records, product_version=self._version)
        yield orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        # One file after the other, by date: each is read only when the lines before it were taken.
        for fragment in sorted(
            self._dataset.get_fragments(filter=self._where), key=lambda one: str(one.path)
        ):
            yield from fragment.to_batches(
                schema=self._dataset.schema,
                columns=_COLUMNS,
                filter=self._where,
                batch_size=BATCH_ROWS,
                batch_readahead=1,
            )

    def _note(self, batch: pa.RecordBatch) -> None:
        seqs = pa.table({"log_id": batch.column("log_id"), "seq": batch.column("seq")})
        for last in seqs.group_by("log_id").aggregate([("seq", "max")]).to_pylist():
            log_id = last["log_id"]
            self.cursor[log_id] = max(self.cursor.get(log_id, -1), last["seq_max"])


class _Told:
    """What an earlier export told of many logs."""

    def __init__(self, after: Mapping[str, int]) -> None:
        self._logs = pa.array(after.keys(), pa.string())
        self._last = pa.array(after.values(), pa.int64())

    def without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that it did not tell."""
        last = self._last.take(pc.index_in(batch.column("log_id"), self._logs))
        return batch.filter(pc.fill_null(pc.greater(batch.column("seq"), last), True))


_COLUMNS: Final = [name for name in SCHEMA.names if name != "event_date"]


def read_cursor(text: str) -> dict[str, int]:
    """What `cursor_text` wrote. Raises: InputError: it is something else."""
    try:
        value = json.loads(text)
        if value["format"] == CURSOR_FORMAT and all(type(seq) is int for seq in value["logs"].values()):
            return dict(value["logs"])
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise InputError("this is no cursor of an evidence export; name the file that an earlier export wrote")


def cursor_text(cursor: Mapping[str, int]) -> str:
    return json.dumps({"format": CURSOR_FORMAT, "logs": dict(sorted(cursor.items()))}, indent=2) + "\n"


def _where(since_us: int | None, until_us: int | None, after: Mapping[str, int]) -> ds.Expression | None:
    """The rows that are asked for, with what the files' dates and statistics can skip them by."""
    conditions: list[ds.Expression] = []
    time, date = pc.field("event_time"), pc.field("event_date")
    if since_us is not None:
        conditions += [time >= _moment(since_us), date >= pa.scalar(_day(since_us), pa.date32())]
    if until_us is not None:
        conditions += [time < _moment(until_us), date <= pa.scalar(_day(until_us), pa.date32())]
    if after:
        log_id, seq = pc.field("log_id"), pc.field("seq")
        told = [(log_id == name) & (seq > last) for name, last in sorted(after.items())]
        conditions.append(_any([~log_id.isin(sorted(after)), *told]))
    return _all(conditions)


def _any(conditions: Sequence[ds.Expression]) -> ds.Expression:
    found = conditions[0]
    for condition in conditions[1:]:
        found = found | condition
    return found


def _all(conditions: Sequence[ds.Expression]) -> ds.Expression | None:
    found: ds.Expression | None = None
    for condition in conditions:
        found = condition if found is None else found & condition
    return found


def _moment(us: int) -> pa.Scalar:
    return pa.scalar(us, SCHEMA.field("event_time").type)


def _day(us: int) -> Any:
    return (_EPOCH + timedelta(microseconds=us)).date()


def _plain(batch: pa.RecordBatch) -> list[Row]:
    columns = {
        name: (batch.column(name).cast(pa.int64()) if name in _TIMES else batch.column(name)).to_pylist()
        for name in _COLUMNS
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
