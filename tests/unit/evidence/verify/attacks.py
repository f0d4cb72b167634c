"""What somebody does who can write every file of a table and knows the format, but does not have the key."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from unit.evidence.verify.signed_table import SignedTable, actions, rewrite

from evidence.record import canonical_from_arrow

Rows = list[dict[str, Any]]


def read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def with_hashes(path: Path, rows: pa.Table) -> pa.Table:
    """The rows with leaf_hashes that fit them."""
    date = pa.scalar(path.parent.name.removeprefix("event_date=")).cast(pa.date32())
    canonical = canonical_from_arrow(rows.append_column("event_date", pa.repeat(date, len(rows))))
    leaves = [hashlib.sha256(b"\x00" + text).digest() for text in canonical]
    index = rows.schema.get_field_index("leaf_hash")
    return rows.set_column(index, rows.schema.field(index), pa.array(leaves, pa.binary()))


def edited(path: Path, edit: Callable[[Rows], Rows], *, hashes: bool) -> pa.Table:
    before = read(path)
    rows = pa.Table.from_pylist(edit(before.to_pylist()), schema=before.schema)
    return with_hashes(path, rows) if hashes else rows


def rearrange(table: SignedTable, path: Path, edit: Callable[[Rows], Rows], *, hashes: bool) -> str:
    """Put an edited file in the place of one, as a compaction would: no entry of the log is touched.

    Returns: the new file, relative to the table.
    """
    rows = edited(path, edit, hashes=hashes)
    new = path.with_name(f"part-00000-{uuid.uuid4()}-c000.zstd.parquet")
    pq.write_table(rows, new, compression="zstd")
    old = str(path.relative_to(table.path))
    date = path.parent.name.removeprefix("event_date=")
    name = str(new.relative_to(table.path))
    remove = {
        "path": old,
        "dataChange": False,
        "partitionValues": {"event_date": date},
        "size": path.stat().st_size,
    }
    rewrite(
        table.entry(table.version + 1),
        [
            {"commitInfo": {"timestamp": 0, "operation": "OPTIMIZE", "operationParameters": {}}},
            {"remove": {**remove, "deletionTimestamp": 0, "extendedFileMetadata": True}},
            {"add": added(table.path, name, date, len(rows), data_change=False)},
        ],
    )
    return name


def append(
    table: SignedTable, path: Path, edit: Callable[[Rows], Rows], *, position: tuple[str, int] | None
) -> str:
    """Append an edited copy of a file, as a landing would. Returns: the new file, relative to the table."""
    rows = edited(path, edit, hashes=True)
    new = path.with_name(f"part-00000-{uuid.uuid4()}-c000.zstd.parquet")
    pq.write_table(rows, new, compression="zstd")
    name = str(new.relative_to(table.path))
    date = path.parent.name.removeprefix("event_date=")
    entry: list[dict[str, Any]] = [
        {"commitInfo": {"timestamp": 0, "operation": "WRITE", "operationParameters": {"mode": "Append"}}},
        {"add": added(table.path, name, date, len(rows), data_change=True)},
    ]
    if position is not None:
        entry.append({"txn": {"appId": position[0], "version": position[1]}})
    rewrite(table.entry(table.version + 1), entry)
    return name


def replace(table: SignedTable, path: Path, edit: Callable[[Rows], Rows]) -> None:
    """Edit a file in its place, and make the entry that added it say the new size and number of rows."""
    rows = edited(path, edit, hashes=True)
    pq.write_table(rows, path, compression="zstd")
    name = str(path.relative_to(table.path))
    for version in range(table.version + 1):
        changed = actions(table.entry(version))
        for action in changed:
            if action.get("add", {}).get("path") == name:
                action["add"]["size"] = path.stat().st_size
                action["add"]["stats"] = json.dumps({"numRecords": len(rows)})
                rewrite(table.entry(version), changed)


def added(root: Path, name: str, date: str, rows: int, *, data_change: bool) -> dict[str, Any]:
    return {
        "path": name,
        "partitionValues": {"event_date": date},
        "size": (root / name).stat().st_size,
        "modificationTime": 0,
        "dataChange": data_change,
        "stats": json.dumps({"numRecords": rows}),
    }


def change(seq: int, **values: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **values} if row["seq"] == seq else row for row in rows]


def drop(seq: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if row["seq"] != seq]


def drop_log(log_id: str) -> Callable[[Rows], Rows]:
    return lambda rows: [row for row in rows if row["log_id"] != log_id]


def swap(first: int, second: int) -> Callable[[Rows], Rows]:
    """Each of the two rows takes the other's position."""
    other = {first: second, second: first}
    return lambda rows: [{**row, "seq": other.get(row["seq"], row["seq"])} for row in rows]
