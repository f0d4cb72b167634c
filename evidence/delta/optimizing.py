"""Rewriting the table for readers on an operator's word: small files merged, rows ordered, beside a running writer.

What is rewritten is proved to be the same: as many rows in as out, and their leaves recomputed from the new files.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from controlplane.errors import InputError
from evidence import durability
from evidence.columns import SCHEMA
from evidence.delta.maintenance import BY, merge_files, order_rows, rewriting
from evidence.delta.shape import ATTEMPTS, PARTITION, PROPERTIES, check_schema, opened, unavailable
from evidence.errors import EvidenceDamagedError, EvidenceUnavailableError, NoEvidenceError
from evidence.record import canonical_from_arrow, leaf_hash
from evidence.storage import Directory

# Only what the log keeps minimum and maximum of lets a reader skip a file.
ORDERABLE: Final = tuple(PROPERTIES["delta.dataSkippingStatsColumns"].split(","))
_BATCH_ROWS: Final = 10_000
_SUMS: Final = 1 << 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What was done, or would be, to one date: so many files of so many bytes and rows became `files_after`.

    `version`: of the table's commit; None in a dry run, as is what came out of it.
    """

    event_date: date
    files_before: int
    rows: int
    bytes_before: int
    files_after: int | None = None
    bytes_after: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class _File:
    day: date
    rows: int
    size_bytes: int


def optimize(
    path: str,
    *,
    target_size_bytes: int,
    z_order: Sequence[str] = (),
    since: date | None = None,
    until: date | None = None,
    dry_run: bool = False,
    on_date: Callable[[int, int], None] = lambda done, of: None,
) -> list[Rewrite]:
    """Merge the small files of each date, or rewrite all of them in Z-order; one commit for each date.

    Safe beside the landing writer and other optimizers on the same machine: no row changes (`dataChange` is false), one
    process at a time rewrites, the writer puts its own compaction off meanwhile, and conflicts are tried again.

    Args:
        path: directory of the Delta table.
        target_size_bytes: files of at least this size are left alone, except by Z-order.
        z_order: columns (of `ORDERABLE`) by which rows that are alike come to lie together. Rewrites every file of
            each date, each time.
        since, until: dates to rewrite, both included; None: from the first, to the last.
        on_date: told how many dates are done, of how many.
    Returns: one for each date with something to do, in their order.
    Raises:
        InputError: a column of `z_order` that keeps no statistics, or a path on object storage, where nothing keeps
            the writer from rewriting the same files.
        NoEvidenceError: no table there.
        SchemaMismatchError: it is another table, or a later version's.
        EvidenceUnavailableError: it cannot be read or written, or other writers got ahead each time.
        EvidenceDamagedError: what was written is not what was there. The replaced files still are, until the writer
            removes them.
    Cost: each rewritten byte is read twice and written once, and each row's leaf computed: about 10 µs a row.
    """
    if "://" in path:
        raise InputError(
            f"`{path}` is on object storage, where rewriting beside the writer is not safe; its own compaction keeps "
            "the files large",
            code="not_a_file_system",
        )
    for column in z_order:
        if column not in ORDERABLE:
            raise InputError(
                f"ordering by `{column}` lets no reader skip a file; choose among {', '.join(ORDERABLE)}",
                code="unknown_column",
            )
    with unavailable(f"cannot optimize the evidence table at `{path}`"):
        storage = Directory(root=Path(path).absolute())
        table = opened(storage)
        if table is None:
            raise NoEvidenceError(f"no evidence table at `{path}`")
        check_schema(table, path)
        files = _files(table)
        days = sorted({file.day for file in files.values()})
        days = [day for day in days if (since is None or since <= day) and (until is None or day <= until)]
        rewrites: list[Rewrite] = []
        for done, day in enumerate(days):
            on_date(done, len(days))
            there = [file for file in files.values() if file.day == day]
            chosen = there if z_order else [file for file in there if file.size_bytes < target_size_bytes]
            if not z_order and len(chosen) < 2:
                continue
            if dry_run:
                rewrites.append(_rewrite(day, chosen))
                continue
            with rewriting(storage, wait=True):
                rewritten = _rewritten(storage.root, table, day, target_size_bytes, z_order)
            if rewritten is not None:
                rewrites.append(rewritten)
        on_date(len(days), len(days))
    return rewrites


def _rewritten(
    root: Path, table: DeltaTable, day: date, target_size_bytes: int, z_order: Sequence[str]
) -> Rewrite | None:
    """Rewrite one date in one commit, and prove it; None: there was nothing to do after all."""
    where = [(PARTITION, "=", day.isoformat())]
    for _ in range(ATTEMPTS):
        # INVARIANT (exactly once): what is rewritten is what is there now, and nobody else rewrites it meanwhile.
        table.update_incremental()
        by = f"evidence optimize {secrets.token_hex(8)}"
        before, known = int(table.version()), _files(table)
        try:
            if z_order:
                order_rows(table, z_order, target_size_bytes, where, by=by)
            else:
                merge_files(table, target_size_bytes, where, by=by)
        except CommitFailedError:
            continue  # these dates leave, or the table grows
        last = int(table.version())  # perhaps a later one than ours
        # INVARIANT (trim): what has landed stays so. A log that survives a loss of power must not name files that did
        # not, in the place of those that the writer had made durable.
        durability.sync_versions(root, before + 1, last)
        entries = (_Entry.read(root, version) for version in range(before + 1, last + 1))
        ours = next((entry for entry in entries if entry.by == by), None)
        return None if ours is None else _proved(root, ours, known)
    raise EvidenceUnavailableError(
        f"other writers got ahead {ATTEMPTS} times at `{day}`; leave out today with --until"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What one log entry says of files, by their path."""

    version: int
    by: str | None
    added: Mapping[str, _File]
    removed: frozenset[str]

    @classmethod
    def read(cls, root: Path, version: int) -> _Entry:
        lines = durability.log_file(root, version).read_bytes().splitlines()
        actions: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
        return cls(
            version=version,
            by=next((a["commitInfo"].get(BY) for a in actions if "commitInfo" in a), None),
            added={unquote(a["add"]["path"]): _added(a["add"]) for a in actions if "add" in a},
            removed=frozenset(unquote(a["remove"]["path"]) for a in actions if "remove" in a),
        )


def _proved(root: Path, entry: _Entry, known: Mapping[str, _File]) -> Rewrite:
    """What the commit did, when it left every row as it was. Raises: EvidenceDamagedError."""
    old = [known[path] for path in entry.removed]  # it removes what it read, and nothing that came since
    rows, found = sum(file.rows for file in old), sum(file.rows for file in entry.added.values())
    if rows != found:
        raise EvidenceDamagedError(
            f"version {entry.version} of the table holds {found} rows where it replaced {rows}; the replaced "
            "files are still there: copy the table before anything removes them, and report this",
            expected=rows,
            found=found,
        )
    # The leaves that were stored against those that the new files' rows have: as multisets, by their sum.
    stored = sum(int.from_bytes(leaf) for path in entry.removed for leaf in _stored_leaves(root / path))
    recomputed = sum(
        int.from_bytes(leaf) for path, file in entry.added.items() for leaf in _leaves(root / path, file.day)
    )
    if stored % _SUMS != recomputed % _SUMS:
        raise EvidenceDamagedError(
            f"the rows that version {entry.version} of the table wrote have other leaves than those stored in the "
            "files it replaced; `controlplane evidence verify` says which rows",
            expected=f"{stored % _SUMS:064x}",
            found=f"{recomputed % _SUMS:064x}",
        )
    day = next(iter(entry.added.values())).day
    return _rewrite(day, old, after=list(entry.added.values()), version=entry.version)


def _rewrite(
    day: date, before: Sequence[_File], *, after: Sequence[_File] | None = None, version: int | None = None
) -> Rewrite:
    return Rewrite(
        event_date=day,
        files_before=len(before),
        rows=sum(file.rows for file in before),
        bytes_before=sum(file.size_bytes for file in before),
        files_after=None if after is None else len(after),
        bytes_after=None if after is None else sum(file.size_bytes for file in after),
        version=version,
    )


def _stored_leaves(path: Path) -> Iterable[bytes]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["leaf_hash"]):
            yield from batch.column(0).to_pylist()


def _leaves(path: Path, day: date) -> Iterable[bytes]:
    """The leaves of a file's rows, recomputed; the partition's column is not in the file."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            dates = pa.repeat(pa.scalar(day, SCHEMA.field(PARTITION).type), len(batch))
            rows = batch.append_column(PARTITION, dates)
            yield from (leaf_hash(canonical) for canonical in canonical_from_arrow(rows))


def _files(table: DeltaTable) -> dict[str, _File]:
    actions = pa.table(table.get_add_actions(flatten=True)).select(
        ["path", "size_bytes", "num_records", f"partition.{PARTITION}"]
    )
    return {
        row["path"]: _File(row[f"partition.{PARTITION}"], row["num_records"], row["size_bytes"])
        for row in actions.to_pylist()
    }


def _added(add: Mapping[str, Any]) -> _File:
    day = date.fromisoformat(add["partitionValues"][PARTITION])
    return _File(day, json.loads(add["stats"])["numRecords"], add["size"])
