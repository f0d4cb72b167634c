"""Which node's disk a folder of journals lies on: a mark in the folder itself.

Journals are on one node's local disk. Ray starts an owner on the node that bears its node's name, but a name is only
what an operator wrote: a new machine may bear it, with an empty disk. An owner that opened a new journal there would
forget what its agents have done. So each folder gets a mark when it is first used, the head remembers it, and an owner
opens its journal only where the mark is the one that it was started for.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from actors.journal import JournalError


class Place(NamedTuple):
    """Where an owner's journal lies.

    Attributes:
        node: the node's name, see `actors.placement.journals_resource`.
        mark: of its folder of journals, 16 hexadecimal digits.
    """

    node: str
    mark: str


class MisplacedError(JournalError):
    """This is not the disk that holds the journals: nothing is opened, and nothing is created, here."""

    code = "journal_misplaced"


def claim(folder: Path, node: str, *, random: bytes) -> str:
    """Mark a folder as a node's, or read the mark that it has. The folder is made if need be. Durable.

    Args:
        random: 8 random bytes, for a new mark.
    Returns: the mark. Of two that claim at once both get the same.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, node)
    draft = path.with_name(f".{path.name}.{random.hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"node": node, "mark": random.hex()}, file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike rename, link never replaces
    finally:
        draft.unlink()
    entries = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)
    return _mark_of(path)


def refuse_another(folder: Path, place: Place) -> None:
    """INVARIANT (pinned): called before a journal is opened, and with it possibly created.

    Raises: MisplacedError: the folder does not bear this place's mark.
    """
    try:
        found = _mark_of(_path(folder, place.node))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MisplacedError(
            f"`{folder}` does not hold the journals of node `{place.node}` ({error}); give that name to the machine "
            f"that has them, or restore them here",
            expected=place.mark,
        ) from None
    if found != place.mark:
        raise MisplacedError(
            f"`{folder}` holds other journals of a node `{place.node}` than this control plane's; give that name to "
            f"the machine that has them, or restore them here",
            expected=place.mark,
            found=found,
        )


def _path(folder: Path, node: str) -> Path:
    return folder / f"node-{node}.json"


def _mark_of(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["mark"])
