"""How dates leave the table: unlocked, whole files removed under a signed note, locked again; and finding it later.

    SET TBLPROPERTIES delta.appendOnly=false   with the note, under `controlplane.retention`
    DELETE                                     with the note in `controlplane.evidence`: removes these files, adds none
    SET TBLPROPERTIES delta.appendOnly=true

Each is one commit, right after the other: whoever comes in between makes the next one fail, and the table is locked
again with nothing removed. A crash after the first or the second leaves it unlocked, which `settle` mends; a table that
somebody else unlocked it leaves as it is, to be refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import orjson
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError

from evidence.checkpoint import RETENTION, origin_of
from evidence.commit_metadata import KEY, CommitEvidence
from evidence.delta.shape import ATTEMPTS, HOOKS, PARTITION, sizes
from evidence.errors import EvidenceDamagedError, EvidenceUnavailableError, RetentionOvertakenError
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.note import (
    Note,
    NoteError,
    PublicKey,
    first_signer,
)
from evidence.retention import Departure, Retirement
from evidence.storage import Storage, log_entry

UNLOCK: Final = "controlplane.retention"
"""Under which the unlocking commit carries the note: what it was unlocked for."""
_RANGES: Final = "controlplane.retention.ranges"
_APPEND_ONLY: Final = "delta.appendOnly"
_DELETE: Final = b'"operation":"DELETE"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One departure, as the Delta log tells of it. `ranges`: see `Departure`; nobody signed them."""

    version: int
    note: Note
    retirement: Retirement
    ranges: tuple[tuple[str, CompactRange], ...]


def remove(
    table: DeltaTable,
    storage: Storage,
    departure: Departure,
    retirement: Retirement,
    *,
    signed: Callable[[], CommitEvidence],
    synced: Callable[[], None],
) -> int:
    """Let the dates of a departure leave.

    Args:
        table: open, and as new as can be; nobody else uses it meanwhile.
        signed: what the next commit carries: checkpoints, and the signed note of this retirement.
        synced: makes durable what `table` has committed; after each commit.
    Returns: the version of the DELETE.
    Raises:
        RetentionOvertakenError: the dates have other files than were checked, or another writer came in between:
            nothing left, and it is to be checked anew.
        EvidenceDamagedError: something else than these files left.
        EvidenceUnavailableError, DeltaError, OSError: it may stand half-way; `settle` at the next opening.
    """
    dates = {f"{PARTITION}={day.isoformat()}" for day in departure.dates}
    there = {name for name in sizes(table) if name.partition("/")[0] in dates}
    if there != departure.files:
        raise RetentionOvertakenError(
            "the files of the dates that are due to leave have changed meanwhile; it is tried again"
        )
    _set_append_only(table, False, {UNLOCK: str(signed().retention)})
    synced()
    try:
        table.delete(
            f"{PARTITION} IN ({', '.join(repr(day.isoformat()) for day in departure.dates)})",
            commit_properties=CommitProperties(
                custom_metadata={
                    KEY: signed().to_json(),
                    _RANGES: _ranges_json(departure.ranges),
                },
                # INVARIANT (these files): it commits on the very snapshot that was compared, or not at all.
                max_commit_retries=0,
            ),
            post_commithook_properties=HOOKS,
        )
    except CommitFailedError as error:
        _lock(table, synced)
        raise RetentionOvertakenError(
            "another writer came in between, and nothing has left; it is tried again"
        ) from error
    version = int(table.version())
    synced()
    _lock(table, synced)
    removed, added = _moved(storage.read(log_entry(version)))
    if removed != departure.files or added:
        raise EvidenceDamagedError(
            f"version {version} of the evidence table removed other files than were due",
            expected=sorted(departure.files),
            found=sorted(removed | added),
        )
    return version


def settle(
    table: DeltaTable, storage: Storage, keys: Sequence[PublicKey], *, synced: Callable[[], None]
) -> bool:
    """Lock a table again that we unlocked and then stopped: with the DELETE done, or without it.

    Args: keys: those by which a note of ours is known.
    Returns: whether it was so. One that is unlocked for any other reason stays as it is.
    """
    if table.metadata().configuration.get(_APPEND_ONLY) != "false":
        return False
    head = int(table.version())
    for version in (head, head - 1):
        info = _info(storage.read(log_entry(version))) if version >= 0 else {}
        if UNLOCK in info and _ours(info[UNLOCK], keys) is not None:
            # What came after it, if anything, was our DELETE: under the same note.
            if version == head or _same(_info(storage.read(log_entry(head))), info[UNLOCK], keys):
                _lock(table, synced)
                return True
            return False
    return False


def retirements(storage: Storage, newest: int, oldest: int = 0) -> Iterator[Left]:
    """What left in the versions from `newest` back to `oldest`, newest first.

    Nobody's signature is verified. Raises: NoteError; OSError. Cost: the reading of each entry: 50 µs.
    """
    for version in range(newest, oldest - 1, -1):
        entry = storage.read(log_entry(version))
        # Paths of files are ours to choose, and hold no quotes: where this stands, it is the operation.
        if _DELETE not in entry:
            continue
        info = _info(entry)
        evidence = CommitEvidence.parse(info[KEY]) if KEY in info else CommitEvidence()
        if evidence.retention is not None:
            yield Left(
                version=version,
                note=evidence.retention,
                retirement=Retirement.parse(evidence.retention.text),
                ranges=_parsed_ranges(info.get(_RANGES, "[]")),
            )


def _set_append_only(table: DeltaTable, value: bool, metadata: dict[str, Any]) -> None:
    try:
        table.alter.set_table_properties(
            {_APPEND_ONLY: "true" if value else "false"},
            commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
            post_commithook_properties=HOOKS,
        )
    except CommitFailedError as error:
        raise RetentionOvertakenError("another writer came first; it is tried again") from error


def _lock(table: DeltaTable, synced: Callable[[], None]) -> None:
    """INVARIANT (locked): no end of `remove` or `settle` leaves the table unlocked, unless it cannot be written."""
    for _ in range(ATTEMPTS):
        try:
            _set_append_only(table, True, {})
        except RetentionOvertakenError:
            table.update_incremental()
            continue
        synced()
        return
    raise EvidenceUnavailableError("the evidence table could not be locked again: other writers got ahead")


def _info(entry: bytes) -> dict[str, Any]:
    for line in entry.splitlines():
        if line.startswith(b'{"commitInfo"'):
            info: dict[str, Any] = orjson.loads(line)["commitInfo"]
            return info
    return {}


def _moved(entry: bytes) -> tuple[set[str], set[str]]:
    """The data files that an entry removes and adds."""
    moved: dict[str, set[str]] = {"remove": set(), "add": set()}
    for line in entry.splitlines():
        for kind, action in orjson.loads(line).items():
            if kind in moved:
                moved[kind].add(unquote(action["path"]))
    return moved["remove"], moved["add"]


def _ours(written: object, keys: Sequence[PublicKey]) -> str | None:
    """The text of a retention note that one of these keys signed."""
    try:
        note = Note.parse(str(written))
        Retirement.parse(note.text)
        first_signer(note, [key.named(origin_of(key.name, RETENTION)) for key in keys])
    except NoteError:
        return None
    return note.text


def _same(info: dict[str, Any], unlocked: object, keys: Sequence[PublicKey]) -> bool:
    """Whether it is the DELETE for which the table was unlocked."""
    try:
        found = CommitEvidence.parse(info.get(KEY)).retention
    except NoteError:
        return False
    return info.get("operation") == "DELETE" and _ours(found, keys) == Note.parse(str(unlocked)).text


def _ranges_json(ranges: Sequence[tuple[str, CompactRange]]) -> str:
    return json.dumps(
        [[log_id, each.size, base64.b64encode(b"".join(each.roots)).decode()] for log_id, each in ranges],
        separators=(",", ":"),
    )


def _parsed_ranges(text: str) -> tuple[tuple[str, CompactRange], ...]:
    found: list[tuple[str, CompactRange]] = []
    try:
        for log_id, size, encoded in orjson.loads(text):
            blob = base64.b64decode(encoded, validate=True)
            roots = tuple(blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES))
            if int(size).bit_count() * HASH_BYTES != len(blob):
                raise ValueError("other roots than the size has")
            found.append((str(log_id), CompactRange(size=int(size), roots=roots)))
    except (ValueError, TypeError) as error:
        raise NoteError(f"`{_RANGES}` of a commit is not the JSON that it should be: {error}") from error
    return tuple(found)
