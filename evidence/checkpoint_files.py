"""Checkpoints as files, out of the table's reach: one for each landing, made once and never written again.

    FOLDER/YYYY-MM-DD/HH/<version of the table, 20 digits>.notes

The operator may put the folder on write-once storage: what stands there is what a rewritten table is held against.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evidence.durability import create_file, make_folders
from evidence.errors import EvidenceDamagedError
from evidence.failpoints import reach
from evidence.note import Note, written_notes

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_HOUR = re.compile(r"\d\d", re.ASCII)
_FILE = re.compile(r"(\d{20})\.notes", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Args: folder: made when the first file is written."""

    folder: Path

    def write(self, version: int, time_ms: int, notes: Sequence[Note]) -> None:
        """Keep the notes of the landing that made this version of the table; doing so twice changes nothing.

        Args: time_ms: of the commit, milliseconds since the epoch.
        Raises: EvidenceDamagedError: other notes stand there: two histories. OSError: it may not be durable.
        Cost: one fsync of the file, one of its folder.
        """
        path = self.path_of(version, time_ms)
        reach("checkpoints.before_file")
        make_folders(path.parent)
        text = written_notes(notes)
        if not create_file(path, text, mode=0o444) and not self.holds(path, notes):
            raise EvidenceDamagedError(
                f"`{path}` holds other checkpoints than version {version} of the evidence table: one of the two was "
                f"replaced; nothing is written until you have found out which",
                file=str(path),
            )
        reach("checkpoints.after_file")

    def holds(self, path: Path, notes: Sequence[Note]) -> bool:
        """Whether a file holds just these notes. Raises: OSError."""
        return path.read_bytes() == written_notes(notes).encode()

    def path_of(self, version: int, time_ms: int) -> Path:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        return self.folder / f"{moment:%Y-%m-%d}" / f"{moment:%H}" / f"{version:020d}.notes"

    def newest(self) -> tuple[int, Path] | None:
        """Version and path of the newest file; None: there is none. Raises: OSError. Cost: three listings."""
        if not self.folder.is_dir():
            return None
        for day in _newest_first(self.folder, _DAY):
            for hour in _newest_first(day, _HOUR):
                if files := _newest_first(hour, _FILE):
                    return int(files[0].stem), files[0]
        return None


def _newest_first(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return sorted((path for path in folder.iterdir() if name.fullmatch(path.name)), reverse=True)
