"""A prefix of a bucket in an S3-compatible object store as a place for evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow.fs as fs

from evidence.errors import EvidenceDamagedError
from evidence.place import Prefix
from evidence.store_connection import Connection


@dataclass(frozen=True)  # no slots: they leave no room for what is cached
class ObjectPrefix:
    """See `evidence.storage.Storage`."""

    place: Prefix
    connection: Connection = field(default_factory=Connection)

    @property
    def uri(self) -> str:
        return str(self.place)

    def __str__(self) -> str:
        return self.uri

    @property
    def options(self) -> dict[str, str]:
        return self.connection.for_delta()

    @cached_property
    def files(self) -> fs.FileSystem:
        return fs.SubTreeFileSystem(self.place.path, self.connection.for_arrow())

    def beside(self, name: str) -> ObjectPrefix:
        above = self.place.key.rpartition("/")[0]
        key = f"{above}/{name}" if above else name
        return ObjectPrefix(place=Prefix(bucket=self.place.bucket, key=key), connection=self.connection)

    def prepare(self) -> None:
        """A prefix needs no making."""

    def names(self, folder: str = "") -> list[str]:
        return sorted(info.base_name for info in self._listed(folder))

    def read(self, name: str) -> bytes:
        with self.files.open_input_stream(name) as stream:
            content: bytes = stream.read()
        return content

    def create(self, name: str, text: str) -> bool:
        """Looks, then writes: Arrow's client knows no conditional PUT.

        Whoever writes here has won the name before, by a Delta commit (which is conditional); against those who have
        not, the bucket's versions and object lock keep what was written first.
        """
        if self._exists(name):
            return False
        with self.files.open_output_stream(name) as stream:
            stream.write(text.encode())
        return True

    def check_sizes(self, sizes: Mapping[str, int]) -> None:
        folders = {name.rpartition("/")[0] for name in sizes}
        there = {info.path: info.size for folder in folders for info in self._listed(folder)}
        for name, expected in sizes.items():
            found = there.get(name, -1)
            if found != expected:
                what = "is missing" if found < 0 else f"has {found} bytes instead of {expected}"
                raise EvidenceDamagedError(
                    f"evidence file `{name}` {what}; restore it from a copy or an earlier version of the object, "
                    f"nothing is written until then",
                    file=name,
                    expected=expected,
                    found=found,
                )

    # INVARIANT (trim): a PUT that S3 has confirmed is durable, and delta-rs waits for that.

    def sync_versions(self, first: int, last: int) -> None:
        """What delta-rs has written is durable."""

    def sync_files(self, names: Iterable[str]) -> None:
        """What delta-rs has written is durable."""

    def sync_log(self, first: int) -> None:
        """What delta-rs has written is durable."""

    def _exists(self, name: str) -> bool:
        there: bool = self.files.get_file_info(name).type != fs.FileType.NotFound
        return there

    def _listed(self, folder: str) -> list[fs.FileInfo]:
        found: list[fs.FileInfo] = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return found
