"""The Parquet checkpoints of the Delta log: readers believe them rather than the entries, so they must say the same."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
import pyarrow as pa

from evidence.verify.delta_log import CHECKPOINT, ENTRY, LOG, data_file
from evidence.verify.faults import Faults, UnreadableError, named
from evidence.verify.files import Files
from evidence.verify.history import History

_LAST: Final = f"{LOG}/_last_checkpoint"
# What delta-rs leaves behind when it is interrupted; no reader looks at it.
_UNFINISHED: Final = re.compile(r"_delta_log/(_commit_[^/]*\.tmp|\.[^/]*|[^/]*#[0-9]+)")


def checkpoint_versions(files: Files, last: int, faults: Faults) -> set[int]:
    """The versions that have a Parquet checkpoint; files that readers might look at and we do not write are faults."""
    found: set[int] = set()
    for name in sorted(files.list(LOG)):
        matched = CHECKPOINT.fullmatch(name)
        if matched:
            found.add(int(matched[1]))
        elif not ENTRY.fullmatch(name) and name != _LAST and not _UNFINISHED.fullmatch(name):
            faults.add("delta_log_rewritten", f"`{name}` is no file of a Delta log of ours", file=name)
    for version in sorted(found):
        if version > last:
            name = _name(version)
            faults.add(
                "tail_missing",
                f"`{name}` is of version {version}; the log ends at {last}",
                file=name,
                version=version,
            )
    _check_last(files, found, faults)
    return found


def check_checkpoint(files: Files, version: int, history: History, faults: Faults) -> None:
    """Compare one with the entries up to its version. Cost: 5 µs a data file."""
    name = _name(version)
    try:
        with files.parquet(name) as parquet:
            rows = parquet.read().to_pylist()
        said: list[str] = []
        adds = [data_file(row["add"]) for row in rows if row.get("add") is not None]
        found = {add.path: (add.size, add.date, _stats(add.stats), add.odd) for add in adds}
        expected = {
            path: (add.size, add.date, _stats(add.stats), add.odd) for path, add in history.active.items()
        }
        for what, paths in (
            ("hides", sorted(expected.keys() - found.keys())),
            ("adds", sorted(found.keys() - expected.keys())),
            (
                "changes",
                sorted(path for path in expected.keys() & found.keys() if expected[path] != found[path]),
            ),
        ):
            if paths:
                said.append(f"{what} {named(paths)}")
        if len(found) < len(adds):
            said.append("names a file twice")
        txns = {row["txn"]["appId"]: row["txn"]["version"] for row in rows if row.get("txn") is not None}
        if txns != history.positions:
            said.append("has other positions of logs")
        metadata = [row["metaData"] for row in rows if row.get("metaData") is not None]
        if [_metadata(each) for each in metadata] != [_metadata(history.metadata or {})]:
            said.append("has other properties or another schema")
        protocols = [row["protocol"] for row in rows if row.get("protocol") is not None]
        if [_protocol(each) for each in protocols] != [_protocol(history.protocol or {})]:
            said.append("has another protocol")
        if any(row.get("sidecar") is not None for row in rows):
            said.append("refers to other files")
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError, AttributeError) as error:
        said = [f"cannot be read: {type(error).__name__}: {str(error)[:200]}"]
    if said:
        faults.add(
            "delta_log_rewritten",
            f"the Parquet checkpoint of version {version} is not what the entries say: it {'; it '.join(said)}",
            file=name,
            version=version,
        )


def _check_last(files: Files, found: set[int], faults: Faults) -> None:
    if files.size(_LAST) is None:
        return
    try:
        last = orjson.loads(files.read(_LAST))
        # A checkpoint of several parts, or of version 2, is none of ours: readers would look elsewhere.
        elsewhere = last.get("parts") is not None or last.get("v2Checkpoint") is not None
        version = -1 if elsewhere else int(last["version"])
    except (UnreadableError, ValueError, TypeError, KeyError, AttributeError):
        version = -1
    if version not in found:
        faults.add("delta_log_rewritten", f"`{_LAST}` refers to a checkpoint that is not there", file=_LAST)


def _name(version: int) -> str:
    return f"{LOG}/{version:020d}.checkpoint.parquet"


def _stats(stats: str | None) -> Any:
    return orjson.loads(stats) if stats else None


def _metadata(metadata: Any) -> tuple[Any, ...]:
    schema = metadata.get("schemaString")
    return (
        metadata.get("id"),
        orjson.loads(schema) if schema else None,
        list(metadata.get("partitionColumns") or ()),
        dict(metadata.get("configuration") or {}),
    )


def _protocol(protocol: Any) -> tuple[Any, ...]:
    return (
        protocol.get("minReaderVersion"),
        protocol.get("minWriterVersion"),
        list(protocol.get("readerFeatures") or ()),
        list(protocol.get("writerFeatures") or ()),
    )
