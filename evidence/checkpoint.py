"""Checkpoints: the size and root hash of a Merkle tree, in the text of C2SP `tlog-checkpoint`. Pure.

    <origin: which log>
    <size: how many leaves, decimal>
    <root hash: base64 of 32 bytes>

An origin of ours is `<name of the deployment>/<log id>`; the note that carries the text is signed under that name.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from evidence.note import Note, NoteError, PrivateKey, signed_note

DELTA_LOG: Final = "_delta_log"
"""In the place of a log id: the log whose leaves are the entries of the Delta log, byte for byte."""
KEY_ROTATIONS: Final = "_keys"
RETENTION: Final = "_retention"

_ROOT_BYTES: Final = 32
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The tree of the log `origin` had this root (32 bytes) when it had `size` leaves."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text; extension lines after the third are allowed, and ignored. Raises: NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("a checkpoint is lines of origin, size and root hash, none of them empty")
        origin, size, encoded = lines[:3]
        if not _SIZE.fullmatch(size):
            raise NoteError(f"the size `{size[:30]}` of a checkpoint of `{origin[:100]}` is no number")
        try:
            root = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            root = b""
        if len(root) != _ROOT_BYTES:
            raise NoteError(f"the root hash of a checkpoint of `{origin[:100]}` is not base64 of 32 bytes")
        return cls(origin=origin, size=int(size), root=root)

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: PrivateKey) -> Note:
        """The note of this checkpoint, signed under the name that is its origin. Cost: 25 µs."""
        return signed_note(self.text, key.named(self.origin))


def origin_of(name: str, log_id: str) -> str:
    """The origin of one log of a deployment; also of what stands in a log id's place (`DELTA_LOG`, …)."""
    return f"{name}/{log_id}"


def log_id_of(name: str, origin: str) -> str | None:
    """The inverse; None: the origin is not this deployment's."""
    prefix = f"{name}/"
    return origin[len(prefix) :] if origin.startswith(prefix) and len(origin) > len(prefix) else None
