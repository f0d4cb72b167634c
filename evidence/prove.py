"""Making the proof of one event, from a table's files; it is checked before it is handed out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from evidence.checkpoint import Checkpoint, origin_of
from evidence.merkle import ProofError, node_hash, root, segment_tiles
from evidence.note import Note, NoteError
from evidence.proof import NoProofError, Proof, check
from evidence.record import canonical_from_arrow
from evidence.retention import Retirement, Segment
from evidence.verify.delta_log import DataFile
from evidence.verify.faults import Faults, Progress
from evidence.verify.files import Files, readable
from evidence.verify.rows import column_types
from evidence.verify.verifier import Replayed, key_beside, public_key, replay

_UUID7: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(slots=True, kw_only=True)
class _Leaves:
    """What is known of a log's tree: leaves by position, and the nodes of what left under retention."""

    leaves: list[bytes | None]
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def root(self, first: int, last: int) -> bytes:
        """Root of the subtree of the leaves `first` … `last - 1`. Raises: ProofError: one of them is missing."""
        known = self.nodes.get((first, last - first))
        if known is not None:
            return known
        part = [leaf for leaf in self.leaves[first:last] if leaf is not None]
        if len(part) == last - first:
            return root(part)
        if last - first == 1:
            raise ProofError(f"row {first} is missing")
        middle = first + (1 << (last - first - 1).bit_length() - 1)
        return node_hash(self.root(first, middle), self.root(middle, last))

    def proof(self, index: int) -> tuple[bytes, ...]:
        """The siblings from a leaf up to the root, lowest first (RFC 6962, PATH)."""
        found: list[bytes] = []
        first, last = 0, len(self.leaves)
        while last - first > 1:
            middle = first + (1 << (last - first - 1).bit_length() - 1)
            if index < middle:
                found.append(self.root(middle, last))
                last = middle
            else:
                found.append(self.root(first, middle))
                first = middle
        return tuple(reversed(found))


def prove(
    location: str,
    event_id: str,
    *,
    keys: Sequence[str] = (),
    progress: Progress = lambda what, done, total: None,
) -> Proof:
    """Prove that an event stands in the table at `location`, up to its log's newest checkpoint.

    Args: keys: verifier keys of the deployment; none: the one beside the table.
    Raises:
        NoProofError: there is no such event, no checkpoint that covers it, or the table is not what was signed.
        UnreadableError: the table or the key cannot be read.
    Cost: reads the ids until the event is found (first on the date that its id begins with), the log's leaf hashes,
        and hashes once for each of its rows. Memory: 100 bytes a row of the log.
    """
    files = Files.at(location)
    pinned = [public_key(text) for text in keys] or [key_beside(files)]
    read = replay(files, Faults(), progress)
    row = _found(files, read, event_id, progress)
    log_id, index = str(row["log_id"]), int(row["seq"])
    note, size = _newest(read, pinned[0].name, log_id)
    if size <= index:
        raise NoProofError(f"no checkpoint covers row {index} of log `{log_id}` yet")
    try:
        hashes = _tree(files, read, log_id, size, progress).proof(index)
    except ProofError as error:
        raise NoProofError(f"log `{log_id}`: {error.message}; run `evidence verify`") from error
    rotations = [note for each in read.landings if each.evidence for note in each.evidence.rotations]
    proof = Proof(
        row=row, index=index, hashes=hashes, checkpoint=note, rotations=tuple(dict.fromkeys(rotations))
    )
    try:
        check(proof, pinned)
    except NoProofError as error:
        raise NoProofError(
            f"the table is not what was signed, run `evidence verify`: {error.message}"
        ) from error
    return proof


def _found(files: Files, read: Replayed, event_id: str, progress: Progress) -> dict[str, Any]:
    """The event's canonical object."""
    guess = _date(event_id)
    candidates = sorted(read.history.active.values(), key=lambda file: (file.date != guess, file.date or ""))
    types, _ = column_types(read.history.schema)
    for done, file in enumerate(candidates):
        progress("event", done, len(candidates))
        with readable(file.path), files.parquet(file.path) as parquet:
            ids = parquet.read(columns=["event_id"]).column("event_id")
            index = pc.index(ids, pa.scalar(event_id, ids.type)).as_py()
            if index < 0:
                continue
            names = [name for name in parquet.schema_arrow.names if name in types and name != "event_date"]
            rows = parquet.read(columns=names).slice(index, 1)
        row = pa.table({name: rows.column(name).cast(types[name]) for name in names})
        row = row.append_column("event_date", pa.array([file.date], pa.string()).cast(pa.date32()))
        found: dict[str, Any] = json.loads(canonical_from_arrow(row)[0])
        return found
    raise NoProofError(f"there is no event `{event_id}` in the table")


def _date(event_id: str) -> str | None:
    """The date with which a UUIDv7 begins."""
    matched = _UUID7.fullmatch(event_id)
    if matched is None:
        return None
    try:
        return datetime.fromtimestamp(int(matched[1] + matched[2], 16) / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _newest(read: Replayed, name: str, log_id: str) -> tuple[Note, int]:
    """The newest checkpoint of a log that a commit carries."""
    origin = origin_of(name, log_id)
    for landing in reversed(read.landings):
        for note in landing.evidence.checkpoints if landing.evidence else ():
            if note.origin == origin:
                try:
                    return note, Checkpoint.parse(note.text).size
                except NoteError as error:
                    raise NoProofError(f"version {landing.version}: {error.message}") from error
    raise NoProofError(f"no commit carries a checkpoint of `{origin}`")


def _tree(files: Files, read: Replayed, log_id: str, size: int, progress: Progress) -> _Leaves:
    """What the table holds of a log up to a size; the stored hashes are believed, since the signed root must follow."""
    tree = _Leaves(leaves=[None] * size)
    for deletion in read.history.deletions:
        try:
            segments = Retirement.parse(deletion.note.text).segments
        except NoteError as error:
            raise NoProofError(
                f"the retention note of version {deletion.version}: {error.message}"
            ) from error
        for segment in segments:
            if segment.log_id == log_id:
                tree.nodes |= _nodes(segment)
    candidates = [file for file in read.history.active.values() if _may_hold(file, log_id)]
    for done, file in enumerate(candidates):
        progress("leaves", done, len(candidates))
        with readable(file.path), files.parquet(file.path) as parquet:
            rows = parquet.read(columns=["log_id", "seq", "leaf_hash"])
        rows = rows.filter(
            pc.and_(pc.equal(rows.column("log_id"), log_id), pc.less(rows.column("seq"), size))
        )
        for seq, leaf in zip(
            rows.column("seq").to_pylist(), rows.column("leaf_hash").to_pylist(), strict=True
        ):
            tree.leaves[seq] = leaf
    return tree


def _nodes(segment: Segment) -> dict[tuple[int, int], bytes]:
    found: dict[tuple[int, int], bytes] = {}
    position = segment.first
    for tile, node in zip(segment_tiles(segment.first, segment.count), segment.nodes, strict=True):
        found[position, tile] = node
        position += tile
    return found


def _may_hold(file: DataFile, log_id: str) -> bool:
    """By the statistics in the Delta log: whether the file may hold rows of this log."""
    stats = json.loads(file.stats) if file.stats else {}
    first, last = stats.get("minValues", {}).get("log_id"), stats.get("maxValues", {}).get("log_id")
    return first is None or last is None or first <= log_id <= last
