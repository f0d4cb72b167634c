"""The files of a table, wherever they lie: a folder on this machine or in an object store (`s3://…`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq

from evidence.place import PlaceError, is_object_uri, prefix_of
from evidence.store_connection import Connection
from evidence.verify.faults import UnreadableError

_MAX_BYTES: Final = 256 * 2**20  # of an entry of the Delta log, or a file of notes


@dataclass(frozen=True, slots=True)
class Files:
    """A folder, read and never written. Names are relative to it, with `/`; it can be pickled."""

    system: fs.FileSystem
    root: str

    @classmethod
    def at(cls, location: str) -> Files:
        """Args: location: a path, or a URI such as `s3://bucket/evidence/decisions`. Raises: UnreadableError."""
        if "://" not in location:
            return cls(fs.LocalFileSystem(), str(Path(location).absolute()))
        with readable(location):
            if is_object_uri(location):
                return cls(Connection.from_environment(os.environ).for_arrow(), prefix_of(location).path)
            system, path = fs.FileSystem.from_uri(location)
            return cls(system, path.rstrip("/"))

    def list(self, folder: str = "", *, recursive: bool = False) -> dict[str, int]:
        """Size in bytes of each file in a folder, by name; empty when there is no such folder."""
        selector = fs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
        with readable(self._path(folder)):
            found = self.system.get_file_info(selector)
        cut = len(self.root) + 1
        return {info.path[cut:]: info.size for info in found if info.type == fs.FileType.File}

    def read(self, name: str) -> bytes:
        """The whole file. Raises: UnreadableError: it cannot be read, or has more than 256 MiB."""
        with readable(name), self.system.open_input_stream(self._path(name)) as stream:
            content: bytes = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UnreadableError(f"`{name}` has more than {_MAX_BYTES} bytes")
        return content

    def size(self, name: str) -> int | None:
        """Size in bytes; None: there is no such file."""
        with readable(name):
            info = self.system.get_file_info(self._path(name))
        return int(info.size) if info.type == fs.FileType.File else None

    def parquet(self, name: str, **options: Any) -> pq.ParquetFile:
        """Raises: what pyarrow raises for a file that is none."""
        return pq.ParquetFile(self.system.open_input_file(self._path(name)), **options)

    @property
    def parent(self) -> Files:
        """The folder that this one lies in."""
        return Files(self.system, self.root.rpartition("/")[0])

    def beside(self, name: str) -> Files:
        """The folder of this name beside this one."""
        return Files(self.system, f"{self.parent.root}/{name}")

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root


@contextmanager
def readable(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, PlaceError) as error:
        raise UnreadableError(f"cannot read `{what}`: {error}") from error
