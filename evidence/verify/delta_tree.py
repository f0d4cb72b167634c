"""The Delta log's own Merkle tree: whether its entries are the ones that were signed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evidence.checkpoint import DELTA_LOG
from evidence.merkle import CompactRange
from evidence.verify.faults import Faults
from evidence.verify.walk import Point, Ranges, signed_range


def check_delta_log(leaves: Sequence[bytes], points: Sequence[Point], ranges: Ranges, faults: Faults) -> int:
    """Compare the entries with every signed root.

    Args:
        leaves: of the versions 0, 1, 2, …
        points, ranges: as `LogWalk` takes them.
    Returns: how many entries, from the first on, the newest signed root covers that they led to.
    """
    tree: CompactRange | None = CompactRange()
    reached = done = 0
    for point in points:
        if point.size > len(leaves):
            where = f"`{point.source}`" if point.version is None else f"version {point.version}"
            faults.add(
                "tail_missing",
                f"the table ends at version {len(leaves) - 1}; the checkpoint of {where} covers {point.size} versions",
                log_id=DELTA_LOG,
                file=point.source or None,
                version=point.size - 1,
            )
            continue
        if tree is not None:
            tree = tree.append(leaves[done : point.size])
            done = point.size
            if tree.root() == point.root:
                reached = point.size
                continue
        if point.version is None:
            if tree is not None:
                faults.add(
                    "split_view",
                    f"`{point.source}` has another history of the table up to version {point.size - 1}",
                    log_id=DELTA_LOG,
                    file=point.source,
                    version=point.size - 1,
                )
            continue
        if tree is not None:
            faults.add(
                "delta_log_rewritten",
                f"the log of versions {reached} to {point.size - 1} is not the one that version {point.version} signed",
                log_id=DELTA_LOG,
                version=reached,
            )
        # Where it is known what was signed, the check goes on from there.
        tree = signed_range(ranges, point)
        if tree is not None:
            reached = done = point.size
    return reached
