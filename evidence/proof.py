"""A proof that one event stands in a signed log, in one file: what it holds, and how a stranger checks it. Pure.

ValueError
└── NoProofError   the file proves nothing, whatever the reason
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from evidence.checkpoint import Checkpoint, log_id_of
from evidence.merkle import ProofError, verify_inclusion
from evidence.note import Note, NoteError, PublicKey
from evidence.record import leaf_hash
from evidence.rotation import Rotation

FORMAT: Final = "controlplane-evidence-proof/v1"
MAX_BYTES: Final = 16 * 2**20
_MEMBERS: Final = {"format", "row", "index", "hashes", "checkpoint", "rotations"}
_MAX_ROTATIONS: Final = 1000
_EXACT: Final = 2**53 - 1

Row = Mapping[str, str | int | list[str]]


class NoProofError(ValueError):
    """It proves nothing; `message` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One event, and its way up to a signed root.

    Attributes:
        row: the canonical object: each column that is not null, but `ingest_time` and `leaf_hash`.
        index: its position in its log.
        hashes: the inclusion proof of RFC 6962, lowest first, 32 bytes each.
        checkpoint: the note that signs the root.
        rotations: notes that link the key of that checkpoint to earlier and later ones.
    """

    row: Row
    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note
    rotations: tuple[Note, ...] = ()

    def to_json(self) -> str:
        written = {
            "format": FORMAT,
            "row": self.row,
            "index": self.index,
            "hashes": [base64.b64encode(each).decode() for each in self.hashes],
            "checkpoint": str(self.checkpoint),
            "rotations": [str(note) for note in self.rotations],
        }
        return json.dumps(written, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, content: bytes) -> Proof:
        """Raises: NoProofError: it is no proof of this format."""
        if len(content) > MAX_BYTES:
            raise NoProofError(f"a proof of {len(content)} bytes; at most {MAX_BYTES} are read")
        try:
            found = json.loads(content, object_pairs_hook=_once, parse_float=_no_fraction)
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise NoProofError(f"it is not of the format `{FORMAT}`")
            if found.keys() != _MEMBERS:
                raise NoProofError(f"it has not the members {', '.join(sorted(_MEMBERS))}, and no others")
            if type(found["index"]) is not int or len(found["rotations"]) > _MAX_ROTATIONS:
                raise NoProofError("`index` is a number, and there are at most 1000 rotations")
            return cls(
                row=_row(found["row"]),
                index=found["index"],
                hashes=tuple(base64.b64decode(each, validate=True) for each in found["hashes"]),
                checkpoint=Note.parse(found["checkpoint"]),
                rotations=tuple(map(Note.parse, found["rotations"])),
            )
        except NoProofError:
            raise
        except (ValueError, TypeError, RecursionError, binascii.Error) as error:
            raise NoProofError(f"it cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What a proof shows: the row stands at `index` of the log in the tree that `key` signed."""

    name: str
    log_id: str
    index: int
    size: int
    root: bytes
    key: PublicKey
    row: Row

    def lines(self) -> list[str]:
        """For people: what it proves, and what not."""
        return [
            f"PROVEN: event `{self.row.get('event_id')}` is row {self.index} of log `{self.log_id}`, in the tree of "
            f"{self.size} rows that `{self.name}` signed (key {self.key.id.hex()})",
            "it proves that the deployment recorded just this row at this place, and cannot deny it",
            "it does not prove that what the row says is true, nor when it was signed, nor what else the log holds: "
            "for the whole log, `controlplane evidence verify`",
        ]


def check(proof: Proof, pinned: Sequence[PublicKey]) -> Proven:
    """Check a proof, offline.

    Args: pinned: keys of the deployment that the reader vouches for, at least one.
    Raises: NoProofError. Cost: 0.2 ms, and 0.1 ms for each rotation.
    """
    try:
        canonical = orjson.dumps(proof.row, option=orjson.OPT_SORT_KEYS)
        checkpoint = Checkpoint.parse(proof.checkpoint.text)
        verify_inclusion(
            index=proof.index,
            size=checkpoint.size,
            leaf=leaf_hash(canonical),
            proof=proof.hashes,
            root=checkpoint.root,
        )
        key = _signer(proof.checkpoint, _linked(pinned, proof.rotations))
    except (NoteError, ProofError) as error:
        raise NoProofError(error.message) from error
    except TypeError as error:  # a lone surrogate
        raise NoProofError(f"the row has no canonical form: {error}") from error
    # A row names its log and position itself; a note of another log says nothing of it.
    log_id = log_id_of(key.name, checkpoint.origin)
    if log_id is None or log_id != proof.row.get("log_id") or proof.index != proof.row.get("seq"):
        raise NoProofError(
            f"the row says that it is number {proof.row.get('seq')} of log `{proof.row.get('log_id')}`; "
            f"the proof is of number {proof.index} of `{checkpoint.origin}`"
        )
    return Proven(
        name=key.name,
        log_id=log_id,
        index=proof.index,
        size=checkpoint.size,
        root=checkpoint.root,
        key=key,
        row=proof.row,
    )


def _linked(pinned: Sequence[PublicKey], rotations: Sequence[Note]) -> list[PublicKey]:
    """The pinned keys, and those that rotations lead to: signed by both, a rotation vouches in both directions."""
    steps = [Rotation.verified(note) for note in rotations]
    # Whoever has a key that was replaced can hand over from it once more, to a key of his own.
    if len({step.old for step in set(steps)}) < len(set(steps)):
        raise NoProofError("two rotations hand over from the same key: one of them is forged")
    known = list(pinned)
    reached = True
    while reached:
        reached = False
        for step in steps:
            for one, other in ((step.old, step.new), (step.new, step.old)):
                if one in known and other not in known:
                    known.append(other)
                    reached = True
    return known


def _signer(note: Note, keys: Sequence[PublicKey]) -> PublicKey:
    for key in keys:
        if note.signed_by(key.named(note.origin)):
            return key
    found = ", ".join(sorted(each.key_id.hex() for each in note.signatures))
    raise NoProofError(
        f"the checkpoint of `{note.origin[:200]}` is signed by no key that was given, or that a rotation leads to "
        f"(key ids {found}): is it the right --key? A proof needs a key of its own time, or an older one"
    )


def _row(found: Any) -> Row:
    """The canonical object; nothing in it that the format does not have."""
    if not isinstance(found, dict):
        raise NoProofError("`row` is no object")
    for name, value in found.items():
        whole = type(value) is int and -_EXACT <= value <= _EXACT
        texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not name.isascii() or not (whole or texts or isinstance(value, str)):
            raise NoProofError(f"`row` has a value of `{name[:100]}` that the format does not have")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers do not agree on what holds of a name that stands there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoProofError("a name stands there twice")
    return found


def _no_fraction(text: str) -> float:
    raise NoProofError(f"`{text[:30]}` is no whole number")
