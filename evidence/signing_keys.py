"""The evidence key on disk: made, read, rotated. Whoever reads the private half can sign in the deployment's name.

evidence.json   0600: {"name", "private": base64 of the 32-byte seed, "created_at"}
keys.notes      the rotations so far, as notes (see `evidence.rotation`)
keys.vkey       the public half that is in force, one line, to be copied
evidence.signed a table was signed: from then on none is taken for one from before there were checkpoints
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evidence.durability import replace_file
from evidence.errors import EvidenceKeyError
from evidence.note import Note, NoteError, PrivateKey, PublicKey, parse_notes, written_notes
from evidence.rotation import Rotation, chain_to, rotate

log = logging.getLogger(__name__)

_SEED_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """Where the key of one deployment lies.

    Args:
        private: the file with the private half; its folder is ours alone.
        notes: the rotations.
        public: the verifier key.
    """

    private: Path
    notes: Path
    public: Path

    @property
    def signed(self) -> Path:
        """There once a commit of a table was signed; beside the private half, where nobody else writes."""
        return self.private.with_suffix(".signed")

    def create(self, name: str, *, created_at: str, random_bytes: Callable[[int], bytes]) -> bool:
        """Make the first key. Returns: whether it was made here; one that is there stays as it is.

        Args:
            name: of the deployment in its notes; no spaces, no `+`.
            created_at: RFC 3339, UTC.
        Raises: EvidenceKeyError: there was one before (its public half is there) and it is gone; a name that is none.
        """
        with self._locked():
            if self.private.exists():
                self._publish(self.read().public)  # a crash may have left it out
                return False
            if self.public.exists():
                raise EvidenceKeyError(
                    f"`{self.private}` is missing, but `{self.public}` says that there was a key: put it back from a "
                    f"backup; with a new one nobody who knows the old one believes the evidence any more",
                    path=str(self.private),
                )
            try:
                key = PrivateKey(name, seed := random_bytes(_SEED_BYTES))
            except NoteError as error:
                raise EvidenceKeyError(error.message) from error
            replace_file(self.private, _written(key, seed, created_at), mode=0o600)
            self._publish(key.public)
        return True

    def read(self) -> PrivateKey:
        """The key in force. Raises: EvidenceKeyError."""
        return _read(self.private)

    def rotations(self, current: PublicKey) -> list[Note]:
        """The rotations that lead to `current`, oldest first. Raises: EvidenceKeyError: the notes are damaged."""
        try:
            return chain_to(current, self._notes())
        except NoteError as error:
            raise EvidenceKeyError(
                f"cannot use `{self.notes}`: {error.message}; restore it from a backup", path=str(self.notes)
            ) from error

    def rotate(self, *, time: str, random_bytes: Callable[[int], bytes]) -> Rotation:
        """Replace the key; the old private half is gone afterwards. The writer goes on with the new one by itself.

        Args: time: now, RFC 3339, UTC.
        Raises: EvidenceKeyError: there is no key, or the files cannot be written.
        """
        with self._locked() as folder:
            old, draft = self.read(), self.private.with_suffix(".next")
            # INVARIANT (no gap): the new key is on disk, then the note that hands over to it, and only then does it
            # replace the old one. A crash in between leaves the old key in force; the next attempt takes the new key
            # up that it finds, so that no note hands over to a key that is lost.
            if draft.exists():
                new = _read(draft)
            else:
                new = PrivateKey(old.public.name, seed := random_bytes(_SEED_BYTES))
                replace_file(draft, _written(new, seed, time), mode=0o600)
            notes = self._notes()
            chain = chain_to(new.public, notes)
            if not chain or Rotation.verified(chain[-1]).old != old.public:
                chain.append(rotate(old, new, time=time))
                replace_file(self.notes, written_notes([*notes, chain[-1]]), mode=0o644)
            os.replace(draft, self.private)  # noqa: PTH105 - says that it replaces
            os.fsync(folder)  # nothing is signed with a key that a loss of power takes back
            self._publish(new.public)
            return Rotation.verified(chain[-1])

    def _publish(self, key: PublicKey) -> None:
        text = f"{key}\n"
        if not self.public.exists() or self.public.read_text(encoding="utf-8") != text:
            replace_file(self.public, text, mode=0o644)

    def _notes(self) -> list[Note]:
        try:
            return parse_notes(self.notes.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EvidenceKeyError(f"cannot read `{self.notes}`: {error}", path=str(self.notes)) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """One rotation at a time: two would hand over from one key to two. Yields: the folder's descriptor."""
        try:
            folder = os.open(self.private.parent, os.O_RDONLY)
        except OSError as error:
            raise EvidenceKeyError(f"cannot use `{self.private.parent}`: {error}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield folder
        except OSError as error:
            raise EvidenceKeyError(f"cannot write the evidence key: {error}") from error
        finally:
            os.close(folder)


@dataclass(slots=True, kw_only=True)
class Signer:
    """The key in force as the writer uses it: read again when its file was replaced."""

    files: KeyFiles
    _read: tuple[tuple[int, int, int], PrivateKey, tuple[Note, ...]] | None = field(default=None, init=False)
    _remembered: bool = field(default=False, init=False)

    def has_signed(self) -> bool:
        """Whether a table was ever signed, as far as anybody remembers."""
        return self.files.signed.exists()

    def remember(self) -> None:
        """A signed commit was seen. Where the folder cannot be written, nobody remembers: it is as it was before."""
        if not self._remembered:
            self._remembered = True
            try:
                if not self.files.signed.exists():
                    replace_file(self.files.signed, "", mode=0o600)
            except OSError as error:
                log.warning("cannot remember in `%s` that a table was signed: %s", self.files.signed, error)

    def current(self) -> tuple[PrivateKey, tuple[Note, ...]]:
        """The key, and the rotations that led to it, oldest first.

        Raises: EvidenceKeyError. Cost: one stat, unless the key has changed.
        """
        try:
            status = self.files.private.stat()
        except OSError as error:
            raise EvidenceKeyError(
                f"cannot read `{self.files.private}`: {(error.strerror or str(error)).lower()}; put it back from a "
                "backup, or, where there never was one, make it with `controlplane keys evidence create`",
                path=str(self.files.private),
            ) from error
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._read is None or self._read[0] != mark:
            key = self.files.read()
            self._read = (mark, key, tuple(self.files.rotations(key.public)))
        return self._read[1], self._read[2]

    def known(self) -> list[PublicKey]:
        """The key in force, and those that it came after. Raises: EvidenceKeyError."""
        key, rotations = self.current()
        return [key.public, *(Rotation.verified(note).old for note in rotations)]


def _written(key: PrivateKey, seed: bytes, created_at: str) -> str:
    private = base64.b64encode(seed).decode()
    return (
        json.dumps({"name": key.public.name, "private": private, "created_at": created_at}, indent=2) + "\n"
    )


def _read(path: Path) -> PrivateKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise EvidenceKeyError(f"`{path}` is readable by others; run `chmod 600 {path}`", path=str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
        return PrivateKey(found["name"], base64.b64decode(found["private"], validate=True))
    except FileNotFoundError as error:
        raise EvidenceKeyError(
            f"there is no evidence key at `{path}`: put it back from a backup, or, where there never was one, make it "
            "with `controlplane keys evidence create`",
            path=str(path),
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Never the parser's words: they quote what they read.
        raise EvidenceKeyError(
            f"cannot use `{path}` ({type(error).__name__}): put it back from a backup", path=str(path)
        ) from None
