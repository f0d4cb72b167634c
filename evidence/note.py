"""Signed notes: text signed by Ed25519 keys, as C2SP `signed-note` and `tlog-cosignature` write them. Pure.

A note is text, an empty line, and a line for each signature. A key is known by its name and a 4-byte id, derived from
the name and the key; a name is non-empty and has neither spaces nor `+`. What a note says is to be believed only once a
signature of a key that one knows has been verified.

ValueError
└── NoteError   not a note or not a key; or (`bad_signature`) signed by nobody who was asked for
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE: Final = 0x01
"""Type of an Ed25519 signature of the text."""
COSIGNATURE: Final = 0x04
"""Type of a witness's: over the text and the time (seconds since the epoch) at which it saw that it is consistent."""

MAX_NOTE_CHARACTERS: Final = 1_000_000
MAX_SIGNATURES: Final = 64

_NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8


class NoteError(ValueError):
    """`code`: `invalid_note`, `invalid_key` or `bad_signature`."""

    def __init__(self, message: str, *, code: str = "invalid_note") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One line under a note: who signed (`name`, `key_id` of 4 bytes), and the bytes that the key's type says."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, with its final newline, and its signatures; `str` writes the note."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, written: str) -> Note:
        """Read one note. Raises: NoteError: it is none, or has more than 64 signatures or a million characters."""
        if len(written) > MAX_NOTE_CHARACTERS:
            raise NoteError(f"a note of {len(written)} characters; at most {MAX_NOTE_CHARACTERS} are read")
        if _CONTROL.search(written) or _SURROGATE.search(written):
            raise NoteError("a note has no control characters but newlines, and is UTF-8")
        text, gap, lines = written.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise NoteError("a note is a text, an empty line, and a line for each signature")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise NoteError(f"a note with {len(signatures)} signatures; at most {MAX_SIGNATURES} are read")
        return cls(text=text + "\n", signatures=signatures)

    @property
    def origin(self) -> str:
        """The text's first line: what it is about."""
        return self.text.partition("\n")[0]

    def signed_by(self, key: PublicKey) -> bool:
        """Whether this key signed the text.

        Returns: False: no signature bears the key's name and id.
        Raises: NoteError: one does, and does not verify: the note is to be rejected whole. Cost: 60 µs.
        """
        claimed = [each for each in self.signatures if (each.name, each.key_id) == (key.name, key.id)]
        for each in claimed:
            key.verify(self.text, each.blob)
        return bool(claimed)

    def signed(self, *keys: PrivateKey) -> Note:
        """The note with the signatures of these keys as well."""
        added = tuple(key.sign(self.text) for key in keys)
        return Note(text=self.text, signatures=self.signatures + added)

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))


def signed_note(text: str, *keys: PrivateKey) -> Note:
    """A new note. Args: text: ends with a newline. Raises: NoteError. Cost: 20 µs a key."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("a note's text ends with a newline and has no other control characters")
    return Note(text=text, signatures=()).signed(*keys)


def parse_notes(written: str) -> list[Note]:
    """The notes of a file of several, each followed by an empty line; of notes whose texts have no empty lines.

    Raises: NoteError: a part is no note.
    """
    parts = [part for part in written.split("\n\n") if part.strip("\n")]
    if len(parts) % 2:
        raise NoteError(
            "a file of notes has a text and its signatures in turn, with an empty line after each"
        )
    return [
        Note.parse(f"{text.lstrip(chr(10))}\n\n{lines.rstrip(chr(10))}\n")
        for text, lines in zip(parts[::2], parts[1::2], strict=True)
    ]


def written_notes(notes: Iterable[Note]) -> str:
    """A file of several notes, as `parse_notes` reads it."""
    return "".join(f"{note}\n" for note in notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that notes are verified with.

    Attributes:
        name: whose it is.
        key: 32 bytes.
        type: `SIGNATURE` or `COSIGNATURE`.
    """

    name: str
    key: bytes
    type: int = SIGNATURE

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key) != _KEY_BYTES or self.type not in (SIGNATURE, COSIGNATURE):
            raise NoteError("a key of a type or length that is not known here", code="invalid_key")

    @classmethod
    def parse(cls, vkey: str) -> PublicKey:
        """Read `<name>+<id, 8 hexadecimal digits>+<base64 of type and key>`. Raises: NoteError."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        blob = _decoded(encoded)
        if blob is None or len(blob) != 1 + _KEY_BYTES:
            raise NoteError(
                f"`{vkey[:100]}` is no key: expected `name+1a2b3c4d+base64`, see C2SP signed-note",
                code="invalid_key",
            )
        found = cls(name=name, key=blob[1:], type=blob[0])
        if found.id.hex() != key_id:
            raise NoteError(
                f"the key of `{name}` has the id {found.id.hex()}, not {key_id[:8]}: a character is wrong",
                code="invalid_key",
            )
        return found

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name, newline, type, key)."""
        return _key_id(self.name, self.type, self.key)

    def named(self, name: str) -> PublicKey:
        """The same key under another name, and so with another id."""
        return PublicKey(name=name, key=self.key, type=self.type)

    def verify(self, text: str, blob: bytes) -> None:
        """Check one signature. Raises: NoteError: it is not this key's of this text. Cost: 60 µs."""
        message = text.encode()
        if self.type == COSIGNATURE:
            message = _cosigned(text, int.from_bytes(blob[:_TIME_BYTES], "big"))
            blob = blob[_TIME_BYTES:]
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(blob, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteError(
                f"a signature in the name of `{self.name}` is not its key's", code="bad_signature"
            ) from error

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.key).decode()}"


class PrivateKey:
    """A key that signs notes. Args: name: whose it is; seed: 32 random bytes, the secret."""

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != _KEY_BYTES:
            raise NoteError(f"a private key is {_KEY_BYTES} bytes long", code="invalid_key")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public = PublicKey(name=name, key=self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.name}, …)"  # never in a log or a traceback

    def named(self, name: str) -> PrivateKey:
        """The same key under another name."""
        return PrivateKey(name, self._seed)

    def sign(self, text: str) -> Signature:
        """Cost: 20 µs."""
        return Signature(name=self.public.name, key_id=self.public.id, blob=self._key.sign(text.encode()))

    def cosign(self, text: str, *, time_s: int) -> Signature:
        """A witness's cosignature. Args: time_s: seconds since the epoch; when it saw that the log is consistent."""
        key = PublicKey(name=self.public.name, key=self.public.key, type=COSIGNATURE)
        blob = time_s.to_bytes(_TIME_BYTES, "big") + self._key.sign(_cosigned(text, time_s))
        return Signature(name=key.name, key_id=key.id, blob=blob)


def cosigned_at(note: Note, witness: PublicKey) -> int | None:
    """When this witness saw the note to be consistent, seconds since the epoch; None: it did not sign it.

    Raises: NoteError: see `Note.signed_by`.
    """
    if not note.signed_by(witness):
        return None
    times = [
        int.from_bytes(each.blob[:_TIME_BYTES], "big")
        for each in note.signatures
        if (each.name, each.key_id) == (witness.name, witness.id)
    ]
    return max(times)


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = _decoded(encoded)
    if dash != "—" or not _NAME.fullmatch(name) or blob is None or len(blob) <= _ID_BYTES:
        raise NoteError("a signature line is `— name base64`")
    return Signature(name=name, key_id=blob[:_ID_BYTES], blob=blob[_ID_BYTES:])


def _key_id(name: str, type_: int, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([type_]) + key).digest()[:_ID_BYTES]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise NoteError(f"`{name[:100]}` is no name of a key: no spaces, no `+`", code="invalid_key")


def _decoded(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


def first_signer(note: Note, keys: Sequence[PublicKey]) -> PublicKey:
    """Which of these keys signed the note.

    Raises: NoteError: none did (`bad_signature`), or one whose name and id stand there did not.
    """
    for key in keys:
        if note.signed_by(key):
            return key
    raise NoteError(f"the note of `{note.origin[:100]}` is signed by no known key", code="bad_signature")
