"""Signed tree heads: a checkpoint with the compact range that it was made of, and following a log along them. Pure.

ValueError
└── HeadMismatchError   the leaves lead to another root than the one that was signed
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from evidence.checkpoint import Checkpoint, origin_of
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.note import Note, PrivateKey


class HeadMismatchError(ValueError):
    """`size`: where; -1 for what was stored of a range."""

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """A log's tree at one size: `note` bears the signed checkpoint, `range` has its root."""

    log_id: str
    note: Note
    checkpoint: Checkpoint
    range: CompactRange


def sign_head(name: str, log_id: str, range_: CompactRange, key: PrivateKey) -> TreeHead:
    """Sign where a log's tree stands. Args: name: of the deployment. Cost: 45 µs."""
    checkpoint = Checkpoint(origin=origin_of(name, log_id), size=range_.size, root=range_.root())
    return TreeHead(log_id=log_id, note=checkpoint.signed(key), checkpoint=checkpoint, range=range_)


def packed(range_: CompactRange) -> bytes:
    """The roots of a range, 32 bytes each, largest subtree first."""
    return b"".join(range_.roots)


def unpacked(checkpoint: Checkpoint, roots: bytes) -> CompactRange:
    """The range that a checkpoint was made of. Raises: HeadMismatchError: these roots are not the signed one's."""
    count = checkpoint.size.bit_count()
    found = CompactRange(
        size=checkpoint.size,
        roots=tuple(roots[first : first + HASH_BYTES] for first in range(0, len(roots), HASH_BYTES)),
    )
    if len(roots) != count * HASH_BYTES or found.root() != checkpoint.root:
        raise HeadMismatchError(
            f"what is stored of `{checkpoint.origin}` at size {checkpoint.size} is not what was signed",
            size=-1,
        )
    return found


def followed(
    start: CompactRange, leaves: Iterable[bytes], signed: Sequence[Checkpoint]
) -> Iterator[CompactRange]:
    """Append leaves, and look at each signed size whether they lead to the signed root.

    Args:
        start: where the tree stands, at or before the first size.
        leaves: those from `start.size` on; taken one by one, no more than are needed.
        signed: checkpoints of one log by ascending size.
    Yields: the range at each of these sizes.
    Raises: HeadMismatchError: another root, or too few leaves.
    """
    rest, reached = iter(leaves), start
    for checkpoint in signed:
        reached = reached.append(islice(rest, max(0, checkpoint.size - reached.size)))
        if reached.size != checkpoint.size:
            raise HeadMismatchError(
                f"`{checkpoint.origin}` has {reached.size} leaves where {checkpoint.size} were signed",
                size=checkpoint.size,
            )
        if reached.root() != checkpoint.root:
            raise HeadMismatchError(
                f"`{checkpoint.origin}` at size {checkpoint.size} has the root {reached.root().hex()}, and "
                f"{checkpoint.root.hex()} was signed",
                size=checkpoint.size,
            )
        yield reached
