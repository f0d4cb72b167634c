"""The Merkle tree against the recursive definitions of RFC 6962, section 2.1, written down as they stand."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.merkle import (
    CompactRange,
    ProofError,
    consistency_proof,
    inclusion_proof,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [sha256(b"\x00%d" % i).digest() for i in range(70)]
SIZES = st.integers(min_value=1, max_value=len(LEAVES))


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


@given(st.integers(min_value=0, max_value=len(LEAVES)), st.integers(min_value=0, max_value=len(LEAVES)))
def test_a_range_that_grows_has_the_root_of_the_whole(first: int, size: int) -> None:
    grown = CompactRange().append(LEAVES[: min(first, size)]).append(LEAVES[min(first, size) : size])
    assert grown.root() == root(LEAVES[:size]) == naive_root(LEAVES[:size])
    assert (grown.size, len(grown.roots)) == (size, size.bit_count())


@given(st.data(), SIZES)
def test_an_inclusion_proof_is_the_path_and_proves_this_leaf_alone(data: st.DataObject, size: int) -> None:
    index, other = (data.draw(st.integers(min_value=0, max_value=size - 1)) for _ in range(2))
    leaves = LEAVES[:size]
    proof = inclusion_proof(leaves, index)
    assert list(proof) == naive_path(index, leaves)
    verify_inclusion(index=index, size=size, leaf=leaves[index], proof=proof, root=root(leaves))
    if other != index:
        with pytest.raises(ProofError):
            verify_inclusion(index=index, size=size, leaf=leaves[other], proof=proof, root=root(leaves))


@given(SIZES, SIZES)
def test_a_consistency_proof_is_the_subproof_and_proves_the_prefix(a: int, b: int) -> None:
    size1, size2 = sorted((a, b))
    old, new = LEAVES[:size1], LEAVES[:size2]
    proof = consistency_proof(new, size1)
    assert list(proof) == naive_subproof(size1, new, True)
    verify_consistency(size1=size1, size2=size2, root1=root(old), root2=root(new), proof=proof)
    forged = root([*old[:-1], b"\xff" * 32])
    with pytest.raises(ProofError):
        verify_consistency(size1=size1, size2=size2, root1=forged, root2=root(new), proof=proof)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_there_is_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(LEAVES[:size], index)


@pytest.mark.parametrize("size", [0, 4])
def test_there_is_no_consistency_proof_from_nothing_or_to_less(size: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(LEAVES[:3], size)


def test_a_proof_between_equal_trees_is_empty() -> None:
    assert consistency_proof(LEAVES[:5], 5) == ()
