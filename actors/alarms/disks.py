"""How much room a file system has left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from actors.journal_folder import Place


class Disk(NamedTuple):
    """`place`: what lies there, e.g. ``journals on head``. `free_bytes`: for whoever is not root."""

    place: str
    free_bytes: int
    size_bytes: int


def journals_of(place: Place | None) -> str:
    """What to call the disk of an owner's journal: one name for all owners of a node."""
    return f"journals on {place.node}" if place else "journals"


def measure(path: Path, place: str) -> Disk | None:
    """The file system that `path`, or the nearest folder above that exists, lies on; None: it cannot be read.

    Cost: a system call, about 2 µs on a local disk.
    """
    for folder in (path, *path.parents):
        try:
            found = os.statvfs(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return Disk(place, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
    return None
