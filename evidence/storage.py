"""Where evidence lies, a directory or a prefix of a bucket, and what delta-rs leaves to us there.

That is: durability (delta-rs never calls fsync; on an object store a completed PUT is durable), the sizes of data
files, listing, reading a file's bytes, and making a file only where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pyarrow.fs as fs

from evidence import durability
from evidence.durability import LOG_DIRECTORY
from evidence.errors import EvidencePlaceError
from evidence.object_store import ObjectPrefix
from evidence.place import PlaceError, checked_place, is_object_uri, prefix_of
from evidence.store_connection import Connection


class Storage(Protocol):
    """A place for one table, or for files. Names are relative to it, with `/` between their parts.

    What cannot be read or written raises OSError.
    """

    @property
    def uri(self) -> str:
        """What delta-rs opens, and what people are told."""

    def __str__(self) -> str:
        """The same."""

    @property
    def options(self) -> dict[str, str]:
        """Options for delta-rs. No credentials: it finds those where Arrow does."""

    @property
    def files(self) -> fs.FileSystem:
        """Arrow's own file system, rooted here."""

    def beside(self, name: str) -> Storage:
        """The place of that name in the folder that this one lies in."""

    def prepare(self) -> None:
        """Make the place, where places have to be made."""

    def names(self, folder: str = "") -> list[str]:
        """Names of what lies directly in a folder, in order; none where there is no folder."""

    def read(self, name: str) -> bytes:
        """Raises: FileNotFoundError."""

    def create(self, name: str, text: str) -> bool:
        """Write a new file whole, durably, and never again. False: there is one."""

    def check_sizes(self, sizes: Mapping[str, int]) -> None:
        """See `durability.check_sizes`. Raises: EvidenceDamagedError."""

    def sync_versions(self, first: int, last: int) -> None:
        """See `durability.sync_versions`."""

    def sync_files(self, names: Iterable[str]) -> None:
        """See `durability.sync_files`."""

    def sync_log(self, first: int) -> None:
        """See `durability.sync_log`."""


def storage_at(place: str | Path) -> Storage:
    """The storage that a path, or a URI of the form `s3://bucket/prefix`, names; nothing is opened yet.

    How an object store is reached stands in the environment (see `Connection`).

    Raises: EvidencePlaceError: it names no such place.
    """
    try:
        if isinstance(place, str) and is_object_uri(checked_place(place)):
            return ObjectPrefix(place=prefix_of(place), connection=Connection.from_environment(os.environ))
    except PlaceError as error:
        raise EvidencePlaceError(error.message) from error
    return Directory(root=Path(place).absolute())


@dataclass(frozen=True)  # no slots: they leave no room for what is cached
class Directory:
    """A local directory. Args: root: absolute."""

    root: Path

    @property
    def uri(self) -> str:
        return str(self.root)

    def __str__(self) -> str:
        return self.uri

    @property
    def options(self) -> dict[str, str]:
        return {}

    @cached_property
    def files(self) -> fs.FileSystem:
        return fs.SubTreeFileSystem(str(self.root), fs.LocalFileSystem())

    def beside(self, name: str) -> Directory:
        return Directory(root=self.root.parent / name)

    def prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    def names(self, folder: str = "") -> list[str]:
        where = self.root / folder
        return sorted(path.name for path in where.iterdir()) if where.is_dir() else []

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def create(self, name: str, text: str) -> bool:
        path = self.root / name
        durability.make_folders(path.parent)
        return durability.create_file(path, text, mode=0o444)

    def check_sizes(self, sizes: Mapping[str, int]) -> None:
        durability.check_sizes(self.root, sizes)

    def sync_versions(self, first: int, last: int) -> None:
        durability.sync_versions(self.root, first, last)

    def sync_files(self, names: Iterable[str]) -> None:
        durability.sync_files(self.root, [self.root / name for name in names])

    def sync_log(self, first: int) -> None:
        durability.sync_log(self.root, first)


def log_entry(version: int) -> str:
    """Name of the file that records a version of a Delta table."""
    return f"{LOG_DIRECTORY}/{version:020d}.json"
