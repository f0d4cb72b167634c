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
    segment_nodes,
    segment_tiles,
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


@given(
    st.integers(min_value=1, max_value=len(LEAVES)),
    st.lists(st.tuples(st.integers(min_value=1, max_value=len(LEAVES)), st.booleans())),
)
def test_a_log_of_rows_and_of_segments_that_left_has_the_root_of_all_its_leaves(
    size: int, pieces: list[tuple[int, bool]]
) -> None:
    """However the log is split, and whichever of its pieces are known by their nodes alone."""
    tree, first = CompactRange(), 0
    for length, left in [*pieces, (size, True)]:
        leaves = LEAVES[first : min(first + length, size)]
        if not leaves:
            break
        tree = (
            tree.append_nodes(first, len(leaves), segment_nodes(leaves, first))
            if left
            else tree.append(leaves)
        )
        first += len(leaves)
    assert tree == CompactRange().append(LEAVES[:size])
    assert tree.root() == naive_root(LEAVES[:size])


@given(st.integers(min_value=0, max_value=2**40), st.integers(min_value=1, max_value=2**40))
def test_a_segment_is_tiled_by_the_largest_aligned_subtrees(first: int, count: int) -> None:
    position = first
    for tile in segment_tiles(first, count):
        left = first + count - position
        assert tile.bit_count() == 1 and position % tile == 0 and tile <= left
        assert position % (2 * tile) != 0 or 2 * tile > left
        position += tile
    assert position == first + count


@pytest.mark.parametrize(
    ("first", "count", "nodes"),
    [
        pytest.param(2, 4, LEAVES[:3], id="begins before the end of the tree"),
        pytest.param(4, 4, LEAVES[:1], id="begins after the end of the tree"),
        pytest.param(3, 0, [], id="empty"),
        pytest.param(3, -1, [], id="negative"),
        pytest.param(3, 5, LEAVES[:1], id="too few nodes"),
        pytest.param(3, 5, LEAVES[:3], id="too many nodes"),
        pytest.param(3, 5, [LEAVES[0], LEAVES[1][:31]], id="a node that is no hash"),
    ],
)
def test_nodes_that_do_not_continue_the_tree_are_refused(first: int, count: int, nodes: list[bytes]) -> None:
    with pytest.raises(ProofError):
        CompactRange().append(LEAVES[:3]).append_nodes(first, count, nodes)


def test_there_are_no_nodes_of_no_leaves() -> None:
    with pytest.raises(ProofError):
        segment_nodes([], 0)
