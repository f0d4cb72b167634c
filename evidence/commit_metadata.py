"""What a Delta commit of the evidence table says beside its rows: signed checkpoints, in the commit itself. Pure.

It stands in the commit's `commitInfo` under `controlplane.evidence`, as JSON text:
`{"v": 1, "checkpoints": [note, …], "rotations": [note, …], "retention": note}`, the last two where there are any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from evidence.note import Note, NoteError

KEY: Final = "controlplane.evidence"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitEvidence:
    """The notes that one commit carries."""

    checkpoints: tuple[Note, ...] = ()
    rotations: tuple[Note, ...] = ()
    retention: Note | None = None

    @property
    def notes(self) -> tuple[Note, ...]:
        """All of them, as a file of checkpoints holds them: who copies the file has the rotations, too."""
        last = () if self.retention is None else (self.retention,)
        return (*self.rotations, *self.checkpoints, *last)

    def to_json(self) -> str:
        written: dict[str, Any] = {"v": _VERSION, "checkpoints": [str(note) for note in self.checkpoints]}
        if self.rotations:
            written["rotations"] = [str(note) for note in self.rotations]
        if self.retention is not None:
            written["retention"] = str(self.retention)
        return json.dumps(written, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: object) -> CommitEvidence:
        """Raises: NoteError: it is not this JSON, or a part of it is no note."""
        try:
            found = orjson.loads(text)  # type: ignore[arg-type]
            if found["v"] != _VERSION or found.keys() - {"v", "checkpoints", "rotations", "retention"}:
                raise NoteError(f"`{KEY}` of a version that is not known here")
            retention = found.get("retention")
            return cls(
                checkpoints=tuple(map(Note.parse, found["checkpoints"])),
                rotations=tuple(map(Note.parse, found.get("rotations", []))),
                retention=None if retention is None else Note.parse(retention),
            )
        except NoteError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoteError(f"`{KEY}` of a commit is not the JSON that it should be: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What one entry of the Delta log says, as far as checkpoints are concerned.

    Attributes:
        time_ms: when it was committed, milliseconds since the epoch, by the clock of whoever did.
        evidence: the notes that it carries; None: it has no such metadata.
        positions: last `seq` of each log that it adds rows of.
        removes_rows: whether it takes files away without having put their rows into others.
    """

    time_ms: int
    evidence: CommitEvidence | None
    positions: Mapping[str, int]
    removes_rows: bool = False

    @classmethod
    def parse(cls, entry: bytes) -> LogEntry:
        """Read the bytes of one `_delta_log/<version>.json`. Raises: NoteError: they are none."""
        info: dict[str, Any] = {}
        positions: dict[str, int] = {}
        removes_rows = False
        try:
            for line in entry.splitlines():
                if line.startswith(
                    (b'{"commitInfo"', b'{"txn"', b'{"remove"')
                ):  # `add` is long, and says nothing here
                    action = orjson.loads(line)
                    info = action.get("commitInfo", info)
                    removes_rows |= "remove" in action and action["remove"]["dataChange"] is not False
                    if "txn" in action:
                        positions[str(action["txn"]["appId"])] = int(action["txn"]["version"])
            metadata = info.get(KEY)
            return cls(
                time_ms=int(info.get("timestamp", 0)),
                evidence=None if metadata is None else CommitEvidence.parse(metadata),
                positions=positions,
                removes_rows=removes_rows,
            )
        except NoteError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoteError(f"it is no entry of a Delta log: {error}") from error
