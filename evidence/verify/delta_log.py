"""The Delta log of a table, entry by entry, from its JSON files: what the table's history is, whatever readers see.

Not through a Delta library: those trust the log's Parquet checkpoints and hide what they skip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

import orjson

from evidence.commit_metadata import KEY, CommitEvidence
from evidence.note import NoteError
from evidence.verify.files import Files

LOG: Final = "_delta_log"
ENTRY: Final = re.compile(r"_delta_log/(\d{20})\.json")
CHECKPOINT: Final = re.compile(r"_delta_log/(\d{20})\.checkpoint\.parquet")
_ACTIONS: Final = {"commitInfo", "protocol", "metaData", "add", "remove", "txn"}


class EntryError(ValueError):
    """An entry that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A data file as an `add` tells of it.

    Attributes:
        path: relative to the table, decoded.
        date: its partition, as written.
        rows: how many its statistics say it has; None: they do not say.
        odd: what about it none of our writers writes (a deletion vector, a place outside of the table), or "".
    """

    path: str
    size: int
    date: str | None
    rows: int | None
    stats: str | None
    data_change: bool
    odd: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """`odd`: as of `DataFile`."""

    path: str
    data_change: bool
    odd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One commit of the table.

    Attributes:
        leaf: SHA-256(0x00, the file's bytes): its leaf in the Delta log's own Merkle tree.
        operation: as `commitInfo` calls it; nothing rests on it.
        positions: last `seq` of each log, from `txn`.
        evidence: the notes that the commit carries.
        trouble: why `evidence` could not be read, or "".
        unknown: names of actions that none of our writers writes.
    """

    version: int
    leaf: bytes
    operation: str
    adds: tuple[DataFile, ...] = ()
    removes: tuple[Removal, ...] = ()
    metadata: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    evidence: CommitEvidence | None = None
    trouble: str = ""
    unknown: tuple[str, ...] = ()


def versions(files: Files) -> list[int]:
    """The versions that have an entry, ascending."""
    found = (ENTRY.fullmatch(name) for name in files.list(LOG))
    return sorted(int(match[1]) for match in found if match)


def entry_name(version: int) -> str:
    return f"{LOG}/{version:020d}.json"


def entries(files: Files, versions: list[int]) -> Iterator[Entry]:
    """Raises: EntryError: a file is no entry of a Delta log. UnreadableError."""
    for version in versions:
        yield parsed(version, files.read(entry_name(version)))


def parsed(version: int, content: bytes) -> Entry:
    """Read the bytes of one entry. Raises: EntryError."""
    leaf = sha256(b"\x00" + content).digest()
    try:
        actions = [_loaded(line) for line in content.splitlines() if line.strip()]
        pairs = [(kind, body) for action in actions for kind, body in action.items()]
        if any(len(action) != 1 for action in actions):
            raise EntryError(f"version {version} has a line that is not one action")
        if "metaData" in dict(pairs):
            _loaded(dict(pairs)["metaData"]["schemaString"])
        # Written twice in one entry, readers would not agree on which one holds.
        for kind in ("commitInfo", "protocol", "metaData"):
            if sum(name == kind for name, _ in pairs) > 1:
                raise EntryError(f"version {version} has more than one `{kind}`")
        single = {kind: body for kind, body in pairs if kind in ("commitInfo", "protocol", "metaData")}
        info = single.get("commitInfo", {})
        evidence, trouble = _evidence(info)
        configuration = single.get("metaData", {}).get("configuration") or {}
        if not all(isinstance(value, str) for value in {**configuration}.values()):
            raise EntryError(f"version {version} has a property that is no text")
        txns = [body for kind, body in pairs if kind == "txn"]
        positions = {str(body["appId"]): int(body["version"]) for body in txns}
        if len(positions) < len(txns):
            raise EntryError(f"version {version} gives a log two positions")
        return Entry(
            version=version,
            leaf=leaf,
            operation=str(info.get("operation", "")),
            adds=tuple(data_file(body) for kind, body in pairs if kind == "add"),
            removes=tuple(_removal(body) for kind, body in pairs if kind == "remove"),
            metadata=single.get("metaData"),
            protocol=single.get("protocol"),
            positions=positions,
            evidence=evidence,
            trouble=trouble,
            unknown=tuple(sorted({kind for kind, _ in pairs} - _ACTIONS)),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EntryError(f"version {version} is no entry of a Delta log: {error}") from error


def _removal(remove: Mapping[str, Any]) -> Removal:
    return Removal(
        path=unquote(remove["path"]),
        data_change=remove.get("dataChange") is not False,
        odd=_odd(remove),
    )


def _odd(action: Mapping[str, Any]) -> str:
    """What about a file none of our writers writes. Readers know a file by its path as it is written."""
    written = action["path"]
    path = unquote(written)
    if action.get("deletionVector") is not None:
        return "it has a deletion vector, which hides rows"
    if "://" in path or path.startswith("/") or ".." in path.split("/"):
        return "it lies outside of the table"
    if path != written or {"", "."} & set(path.split("/")):
        return "its path is not written in the one form that it has"
    if action.get("partitionValues") is not None and dict(action["partitionValues"]).keys() != {"event_date"}:
        return "its partition is not a date alone"
    if action.get("stats_parsed") is not None or action.get("partitionValues_parsed") is not None:
        return "it has statistics or a partition written a second time"
    return ""


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _loaded(text: bytes | str) -> Any:
    """Readers do not agree on what holds of a name that stands there twice. Raises: ValueError."""
    json.loads(text, object_pairs_hook=_refuse_twice)
    return orjson.loads(text)


def data_file(add: Mapping[str, Any]) -> DataFile:
    """Read one `add`. Raises: ValueError, TypeError, KeyError, AttributeError: it is none."""
    path = unquote(add["path"])
    stats = add.get("stats")
    rows = _loaded(stats).get("numRecords") if stats else None
    date = dict(add["partitionValues"]).get("event_date")
    if not (date is None or isinstance(date, str)):
        raise ValueError("a date is a text")
    return DataFile(
        path=path,
        size=int(add["size"]),
        date=date,
        rows=None if rows is None else int(rows),
        stats=stats,
        data_change=add.get("dataChange") is not False,
        odd=_odd(add),
    )


def _evidence(info: Mapping[str, Any]) -> tuple[CommitEvidence | None, str]:
    written = info.get(KEY)
    if written is None:
        return None, ""
    try:
        return CommitEvidence.parse(written), ""
    except NoteError as error:
        return None, error.message
