"""Checkpoints as files, out of the table's reach: one for each landing, made once and never written again.

    FOLDER/YYYY-MM-DD/HH/<version of the table, 20 digits>.notes

The operator may put the folder on write-once storage: what stands there is what a rewritten table is held against.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evidence.errors import EvidenceDamagedError
from evidence.failpoints import reach
from evidence.note import Note, written_notes
from evidence.storage import Storage

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_HOUR = re.compile(r"\d\d", re.ASCII)
_FILE = re.compile(r"(\d{20})\.notes", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFiles:
    """Args: folder: made when the first file is written."""

    folder: Storage

    def write(self, version: int, time_ms: int, notes: Sequence[Note]) -> None:
        """Keep the notes of the landing that made this version of the table; doing so twice changes nothing.

        Args: time_ms: of the commit, milliseconds since the epoch.
        Raises: EvidenceDamagedError: other notes stand there: two histories. OSError: it may not be durable.
        Cost: one fsync of the file, one of its folder; on an object store two requests.
        """
        name = self.name_of(version, time_ms)
        reach("checkpoints.before_file")
        if not self.folder.create(name, written_notes(notes)) and not self.holds(name, notes):
            raise EvidenceDamagedError(
                f"`{self.folder}/{name}` holds other checkpoints than version {version} of the evidence table: one "
                f"of the two was replaced; nothing is written until you have found out which",
                file=f"{self.folder}/{name}",
            )
        reach("checkpoints.after_file")

    def holds(self, name: str, notes: Sequence[Note]) -> bool:
        """Whether a file holds just these notes. Raises: OSError."""
        return self.folder.read(name) == written_notes(notes).encode()

    def name_of(self, version: int, time_ms: int) -> str:
        """Relative to the folder."""
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        return f"{moment:%Y-%m-%d}/{moment:%H}/{version:020d}.notes"

    def newest(self) -> tuple[int, str] | None:
        """Version and name of the newest file; None: there is none. Raises: OSError. Cost: three listings."""
        for day in self._newest_first("", _DAY):
            for hour in self._newest_first(day, _HOUR):
                if names := self._newest_first(f"{day}/{hour}", _FILE):
                    return int(names[0].removesuffix(".notes")), f"{day}/{hour}/{names[0]}"
        return None

    def _newest_first(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        return [name for name in reversed(self.folder.names(folder)) if pattern.fullmatch(name)]
