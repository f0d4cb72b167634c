"""Replay of a table's history, and what of it is not allowed: whoever may only append never deletes, overwrites or
restores. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evidence.note import Note
from evidence.verify.delta_log import DataFile, Entry
from evidence.verify.faults import Faults, named

APPEND_ONLY: Final = "delta.appendOnly"
_CONSTRAINT: Final = "delta.constraints."
_FIXED: Final = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.setTransactionRetentionDuration": None,
    "delta.columnMapping.mode": None,
    "delta.enableDeletionVectors": None,
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_READER, _WRITERS = 1, (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A commit that deleted under a retention note; whether the note holds is looked at with the keys at hand."""

    version: int
    dates: frozenset[str]
    note: Note


@dataclass(slots=True, kw_only=True)
class History:
    """The table as its entries leave it.

    Attributes:
        active: the data files that readers see, by path; `added` in which version.
        schema: type of each column as the Delta schema writes it, and whether it may be null.
        positions: last `seq` of each log.
    """

    faults: Faults
    active: dict[str, DataFile] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    protocol: Mapping[str, Any] | None = None
    schema: dict[str, tuple[Any, bool]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    deletions: list[Deletion] = field(default_factory=list)
    unlocked: int | None = None

    def follow(self, entry: Entry) -> None:
        """Apply one entry, the next version; what is not allowed is a fault, and applied all the same."""
        if entry.unknown:
            self._fault(entry, f"does `{', '.join(entry.unknown)}`, which no writer of ours does")
        self._check_lock(entry)
        if entry.metadata is not None:
            self._follow_metadata(entry, entry.metadata)
        elif self.metadata is None:
            self._fault(entry, "begins the table without saying what it is")
        if entry.protocol is not None:
            self._follow_protocol(entry, entry.protocol)
        self._check_files(entry)
        both = {removal.path for removal in entry.removes} & {file.path for file in entry.adds}
        if both:  # readers do not agree on which of the two holds
            self._fault(entry, f"both adds and removes {named(sorted(both))}", file=min(both))
        for removal in entry.removes:
            if removal.odd:
                self._fault(entry, f"removes `{removal.path}`: {removal.odd}", file=removal.path)
            if self.active.pop(removal.path, None) is None:
                self._fault(entry, f"removes `{removal.path}`, which is not in the table", file=removal.path)
        for file in entry.adds:
            if file.path in self.active:
                self._fault(entry, f"adds `{file.path}` a second time", file=file.path)
            if file.odd:
                self._fault(entry, f"adds `{file.path}`: {file.odd}", file=file.path)
            self.active[file.path] = file
            self.added[file.path] = entry.version
        for log_id, last in entry.positions.items():
            if last <= self.positions.get(log_id, -1):
                self._fault(
                    entry, f"takes log `{log_id}` from seq {self.positions[log_id]} to {last}", log_id=log_id
                )
            self.positions[log_id] = last

    def end(self, version: int) -> None:
        """After the last entry."""
        if self.unlocked is not None:
            self.faults.add(
                "delta_operation",
                f"the table is unlocked since version {self.unlocked}: `{APPEND_ONLY}` is not true",
                version=version,
            )

    def _fault(self, entry: Entry, what: str, *, file: str | None = None, log_id: str | None = None) -> None:
        operation = f" ({entry.operation})" if entry.operation else ""
        self.faults.add(
            "delta_operation",
            f"version {entry.version}{operation} {what}",
            version=entry.version,
            file=file,
            log_id=log_id,
        )

    def _check_files(self, entry: Entry) -> None:
        adds, removes = entry.adds, entry.removes
        if not removes:
            if any(not file.data_change for file in adds):
                self._fault(entry, "adds files and says that this changes nothing")
        elif any(removal.data_change for removal in removes):
            self._check_deletion(entry)
        else:
            self._check_rearranged(entry)

    def _check_rearranged(self, entry: Entry) -> None:
        """Compaction and z-order: what they do to rows shows in the leaves; here, that they keep their number."""
        before = [self.active[removal.path] for removal in entry.removes if removal.path in self.active]
        if any(file.data_change for file in entry.adds):
            self._fault(entry, "removes files and adds others that change the data")
        elif {file.date for file in before} != {file.date for file in entry.adds}:
            self._fault(entry, "moves rows between dates")
        elif sum(file.rows or 0 for file in before) != sum(file.rows or 0 for file in entry.adds):
            self._fault(entry, "changes the number of rows, and says that it changes nothing")

    def _check_deletion(self, entry: Entry) -> None:
        removed = [removal.path for removal in entry.removes]
        note = entry.evidence.retention if entry.evidence is not None else None
        if self.unlocked is None or note is None or entry.adds:
            self._fault(entry, f"takes {named(removed)} out of the table", file=removed[0])
            return
        gone = set(removed)
        dates = frozenset(file.date or "" for path, file in self.active.items() if path in gone)
        kept = [path for path, file in self.active.items() if file.date in dates and path not in gone]
        if kept:
            self._fault(entry, f"deletes a date and keeps a part of it, {named(kept)}", file=kept[0])
        self.deletions.append(Deletion(version=entry.version, dates=dates, note=note))

    def _check_lock(self, entry: Entry) -> None:
        """Between the unlocking and the locking nothing happens but one deletion under a retention note."""
        if self.unlocked is None:
            return
        deletes = bool(entry.removes) and entry.evidence is not None and entry.evidence.retention is not None
        locks = entry.metadata is not None and not entry.adds and not entry.removes
        if not deletes and not locks:
            self._fault(entry, f"happens while the table is unlocked (since version {self.unlocked})")

    def _follow_protocol(self, entry: Entry, protocol: Mapping[str, Any]) -> None:
        reader, writer = protocol.get("minReaderVersion"), protocol.get("minWriterVersion")
        features = protocol.get("readerFeatures") or protocol.get("writerFeatures")
        if reader != _READER or writer not in _WRITERS or features:
            self.faults.add(
                "schema",
                f"version {entry.version} asks readers for protocol {reader} and writers for {writer}"
                f"{', with features' if features else ''}; ours is {_READER} and {_WRITERS[-1]}",
                version=entry.version,
            )
        self.protocol = protocol

    def _follow_metadata(self, entry: Entry, metadata: Mapping[str, Any]) -> None:
        before, self.metadata = self.metadata, metadata
        configuration = dict(metadata.get("configuration") or {})
        self._check_schema(entry, metadata)
        if metadata.get("partitionColumns") != ["event_date"]:
            self._schema_fault(entry, f"partitions by {metadata.get('partitionColumns')}, not by event_date")
        for key, value in _FIXED.items():
            if configuration.get(key) != value:
                self._fault(entry, f"sets `{key}` to `{configuration.get(key)}`, not `{value}`")
        if configuration.get(APPEND_ONLY) == "true":
            self.unlocked = None
        elif self.unlocked is None:
            self.unlocked = entry.version
            if entry.adds or entry.removes or before is None:
                self._fault(entry, f"unlocks the table: `{APPEND_ONLY}` is not true")
        if before is not None:
            was = dict(before.get("configuration") or {})
            if before.get("id") != metadata.get("id"):
                self._fault(entry, "makes another table of it: its id changes")
            for key in was:
                if key.startswith(_CONSTRAINT) and was[key] != configuration.get(key):
                    self._fault(entry, f"changes or drops the constraint `{key[len(_CONSTRAINT) :]}`")

    def _check_schema(self, entry: Entry, metadata: Mapping[str, Any]) -> None:
        try:
            fields = json.loads(metadata["schemaString"])["fields"]
            names = [str(each["name"]) for each in fields]
            found = {str(each["name"]): (each["type"], bool(each["nullable"])) for each in fields}
        except (ValueError, TypeError, KeyError) as error:
            self._schema_fault(entry, f"has no schema that can be read: {error}")
            return
        for each in fields:
            if set(each.get("metadata") or {}) - {"comment"}:
                self._schema_fault(entry, f"maps the column `{each['name']}`, which no writer of ours does")
        # Readers do not tell names apart by case; one with a quote in it could pass for others in canonical bytes.
        for name in sorted(name for name in found if not _NAME.fullmatch(name) or names.count(name) > 1):
            self._schema_fault(
                entry, f"has the column `{name}` twice, or with a name that no column can have"
            )
        for name in sorted(self.schema.keys() | found.keys()):
            was, now = self.schema.get(name), found.get(name)
            if self.schema and was is None and now is not None and not now[1]:
                self._schema_fault(entry, f"adds the column `{name}` that is never null")
            elif was is not None and now != was:
                self._schema_fault(entry, f"{'changes' if now else 'drops'} the column `{name}`")
        self.schema = found

    def _schema_fault(self, entry: Entry, what: str) -> None:
        self.faults.add("schema", f"version {entry.version} {what}", version=entry.version)
