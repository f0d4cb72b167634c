"""Files of notes: checkpoints that somebody has kept, and an auditor's own memory of the newest ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evidence.note import Note, NoteError, parse_notes, written_notes
from evidence.verify.faults import Faults, UnreadableError
from evidence.verify.files import Files

SUFFIX = ".notes"


def kept_notes(locations: Sequence[str], faults: Faults) -> Iterator[tuple[str, list[Note]]]:
    """The notes of files, and of every `.notes` file in folders; with the name of each file.

    Raises: UnreadableError: there is no such file or folder, or one without notes.
    """
    for location in locations:
        folder, name = os.path.split(location.rstrip("/"))
        parent = Files.at(folder or ".")
        if parent.size(name) is not None:
            yield from _notes(parent, name, location, faults)
            continue
        empty = True
        for source, notes in notes_in(Files.at(location), location, faults):
            empty = False
            yield source, notes
        if empty:
            raise UnreadableError(f"`{location}` is neither a file of notes nor a folder that has any")


def notes_in(files: Files, location: str, faults: Faults) -> Iterator[tuple[str, list[Note]]]:
    """The notes of every `.notes` file in a folder and below; a file that holds none is a fault."""
    for name in sorted(files.list(recursive=True)):
        if name.endswith(SUFFIX):
            yield from _notes(files, name, f"{location.rstrip('/')}/{name}", faults)


def _notes(files: Files, name: str, source: str, faults: Faults) -> Iterator[tuple[str, list[Note]]]:
    try:
        yield source, parse_notes(files.read(name).decode())
    except (NoteError, UnicodeDecodeError) as error:
        # Whoever cut it short hides something, perhaps.
        faults.add("checkpoint_forged", f"`{source}` holds no notes: {error}", file=source)


def remember(path: Path, newest: Mapping[str, Note]) -> None:
    """Replace an auditor's memory by the newest checkpoint of each origin.

    Args: newest: by origin. Raises: OSError.
    """
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(written_notes(newest[origin] for origin in sorted(newest)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
