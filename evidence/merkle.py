"""RFC 6962 Merkle trees over leaf hashes: root, proofs, and their verification. Pure.

Positions are 0-based; a hash is 32 bytes of SHA-256. Leaves are `evidence.record.leaf_hash`.
Source: RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4; verification is checked against the vectors
of transparency-dev/merkle, generation against a naive recursive tree.

ValueError
└── ProofError   a proof that proves nothing, whatever the reason
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


class ProofError(ValueError):
    """`fields`: both sides of a mismatch, where there are two (`expected`, `found`)."""

    code: Final = "invalid_proof"

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over a one byte and the two children."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactRange:
    """All that must be kept of a tree to append to it: the roots of its perfect subtrees, largest first.

    There is one for each bit that is set in `size`, so that a log of a billion leaves needs 30 hashes.
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def append(self, leaves: Iterable[bytes]) -> CompactRange:
        """The range after these leaves; amortised one node hash for each."""
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            node = leaf
            position = size
            while position & 1:
                node = node_hash(roots.pop(), node)
                position >>= 1
            roots.append(node)
            size += 1
        return CompactRange(size=size, roots=tuple(roots))

    def append_nodes(self, first: int, count: int, nodes: Sequence[bytes]) -> CompactRange:
        """The range after a segment of which the leaves are gone: `nodes` as `segment_nodes` made them.

        Raises: ProofError: the segment does not begin where this range ends, or these are not its nodes' number.
        Cost: O(log count) hashes.
        """
        if first != self.size:
            raise ProofError(
                f"a segment that begins at {first} does not continue a tree of {self.size} leaves"
            )
        tiles = segment_tiles(first, count)
        if len(nodes) != len(tiles):
            raise ProofError(
                f"a segment of {count} leaves from {first} has {len(tiles)} nodes, not {len(nodes)}"
            )
        _check_hashes(*nodes)
        size, roots = self.size, list(self.roots)
        for tile, node in zip(tiles, nodes, strict=True):
            position, merged = size // tile, node
            while position & 1:
                merged = node_hash(roots.pop(), merged)
                position >>= 1
            roots.append(merged)
            size += tile
        return CompactRange(size=size, roots=tuple(roots))

    def root(self) -> bytes:
        """The tree's root hash; of an empty tree, the hash of nothing."""
        if not self.roots:
            return EMPTY_ROOT
        node = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            node = node_hash(left, node)
        return node


def root(leaves: Sequence[bytes]) -> bytes:
    """Root hash of a tree of these leaves. Cost: O(n) hashes, O(log n) memory."""
    return CompactRange().append(leaves).root()


def segment_tiles(first: int, count: int) -> tuple[int, ...]:
    """Sizes of the perfect, aligned subtrees that tile the leaves `first` … `first + count - 1`, left to right.

    Each is the largest that may begin where it begins. Any tree that holds the segment has them as inner nodes,
    so that their roots stand for its leaves. Raises: ProofError: an empty segment. Cost: O(log count).
    """
    if first < 0 or count < 1:
        raise ProofError(f"there is no segment of {count} leaves from {first}")
    tiles: list[int] = []
    position, end = first, first + count
    while position < end:
        largest = 1 << (end - position).bit_length() - 1
        tiles.append(min(position & -position, largest) if position else largest)
        position += tiles[-1]
    return tuple(tiles)


def segment_nodes(leaves: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """Roots of the subtrees that tile a segment of a log, `leaves` being those from position `first` on.

    With them `CompactRange.append_nodes` continues a tree over leaves that are gone. Raises: ProofError: no leaves.
    Cost: O(n) hashes; 2 log n nodes at most.
    """
    nodes: list[bytes] = []
    begin = 0
    for tile in segment_tiles(first, len(leaves)):
        nodes.append(root(leaves[begin : begin + tile]))
        begin += tile
    return tuple(nodes)


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The siblings from leaf `index` up to the root, lowest first (RFC 6962, PATH). Cost: O(n) hashes."""
    if not 0 <= index < len(leaves):
        raise ProofError(f"leaf {index} lies outside a tree of {len(leaves)} leaves")
    proof: list[bytes] = []
    first, last = 0, len(leaves)
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            proof.append(root(leaves[middle:last]))
            last = middle
        else:
            proof.append(root(leaves[first:middle]))
            first = middle
    return tuple(reversed(proof))


def consistency_proof(leaves: Sequence[bytes], size: int) -> tuple[bytes, ...]:
    """Proves that the tree of the first `size` leaves is a prefix of this one (RFC 6962, PROOF).

    Cost: O(n) hashes. Raises: ProofError: `size` lies outside 1 … len(leaves).
    """
    if not 0 < size <= len(leaves):
        raise ProofError(f"no consistency proof from size {size} to size {len(leaves)}")
    proof: list[bytes] = []
    first, last = 0, len(leaves)
    whole = True  # the subtree in view is the whole old tree: its hash is the old root, which is known
    while size != last:
        middle = first + _split(last - first)
        if size <= middle:
            proof.append(root(leaves[middle:last]))
            last = middle
        else:
            proof.append(root(leaves[first:middle]))
            first = middle
            whole = False
    if not whole:
        proof.append(root(leaves[first:last]))
    return tuple(reversed(proof))


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is number `index` in the tree of `size` leaves with this root.

    Raises: ProofError: it does not follow. Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} lies outside a tree of {size} leaves")
    _check_hashes(leaf, root, *proof)
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError(f"inclusion proof is too long: {len(proof)} hashes")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofError(f"inclusion proof is too short: {len(proof)} hashes")
    _check_root(expected=root, found=node)


def verify_consistency(*, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree (size1, root1) is a prefix of the tree (size2, root2).

    Raises: ProofError: it does not follow; also from an empty tree, of which everything would
        follow. Source: RFC 9162 section 2.1.4.2.
    """
    if size1 == 0:
        raise ProofError("a proof from an empty tree proves nothing")
    if not 0 < size1 <= size2:
        raise ProofError(f"a tree of {size1} leaves is no prefix of one of {size2}")
    if size1 == size2:
        if proof:
            raise ProofError("a proof between trees of one size is empty")
        _check_root(expected=root1, found=root2)
        return
    _check_hashes(root1, root2, *proof)
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)  # the old tree is one perfect subtree: its root is known, and left out
    if not path:
        raise ProofError("consistency proof is too short: 0 hashes")
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError(f"consistency proof is too long: {len(proof)} hashes")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise ProofError(f"consistency proof is too short: {len(proof)} hashes")
    _check_root(expected=root1, found=old)
    _check_root(expected=root2, found=new)


def _split(count: int) -> int:
    """The largest power of two below `count` (at least 2): where RFC 6962 divides a tree."""
    return 1 << (count - 1).bit_length() - 1


def _check_hashes(*hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(f"a hash is {HASH_BYTES} bytes long, not {len(value)}")


def _check_root(*, expected: bytes, found: bytes) -> None:
    if expected != found:
        raise ProofError("the proof leads to another root", expected=expected.hex(), found=found.hex())
