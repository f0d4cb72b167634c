"""The change of a deployment's evidence key: a note that the old and the new key sign. Pure.

<name>/_keys
controlplane evidence key rotation
<old vkey>
<new vkey>
<time, RFC 3339, UTC>
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from evidence.checkpoint import KEY_ROTATIONS, origin_of
from evidence.note import Note, NoteError, PrivateKey, PublicKey, signed_note

_TITLE: Final = "controlplane evidence key rotation"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """From `time` on `new` signs for the deployment that both keys are named after, and `old` no more."""

    old: PublicKey
    new: PublicKey
    time: str

    @property
    def text(self) -> str:
        origin = origin_of(self.old.name, KEY_ROTATIONS)
        return f"{origin}\n{_TITLE}\n{self.old}\n{self.new}\n{self.time}\n"

    @classmethod
    def verified(cls, note: Note) -> Rotation:
        """What a rotation note says, once both keys' signatures hold.

        That says nothing about the old key: whoever reads it must know that one already.

        Raises: NoteError: it is no rotation, of two deployments, or one of the keys did not sign it.
        """
        lines = note.text.split("\n")
        if len(lines) != 6 or lines[1] != _TITLE or not _TIME.fullmatch(lines[4]):
            raise NoteError(f"the note of `{note.origin[:100]}` is no rotation of a key")
        found = cls(old=PublicKey.parse(lines[2]), new=PublicKey.parse(lines[3]), time=lines[4])
        # Compared whole: what is signed is the only way to write what was read.
        if found.old.name != found.new.name or found.old == found.new or found.text != note.text:
            raise NoteError(f"the rotation of `{note.origin[:100]}` is not from one key of a name to another")
        for key in (found.old, found.new):
            if not note.signed_by(key.named(note.origin)):
                raise NoteError(
                    f"the rotation to {found.new.id.hex()} lacks the signature of {key.id.hex()}",
                    code="bad_signature",
                )
        return found


def rotate(old: PrivateKey, new: PrivateKey, *, time: str) -> Note:
    """The note that hands over from one key to the other. Args: time: RFC 3339, UTC."""
    rotation = Rotation(old=old.public, new=new.public, time=time)
    origin = origin_of(old.public.name, KEY_ROTATIONS)
    return signed_note(rotation.text, old.named(origin), new.named(origin))


def chain_to(current: PublicKey, notes: Iterable[Note]) -> list[Note]:
    """The rotations that lead to the key `current`, oldest first; others are left out.

    Raises: NoteError: a note is no rotation. Cost: two verifications a note.
    """
    by_new = {}
    for note in notes:
        rotation = Rotation.verified(note)
        by_new[rotation.new] = (rotation.old, note)
    chain: list[Note] = []
    key = current
    while key in by_new:
        key, note = by_new.pop(key)  # taken out, so that a circle ends
        chain.append(note)
    return chain[::-1]
