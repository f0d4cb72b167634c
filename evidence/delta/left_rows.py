"""Following a log along its checkpoints where rows of it have left: the nodes that remain stand for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from evidence.checkpoint import Checkpoint
from evidence.delta.retiring import retirements
from evidence.errors import EvidenceDamagedError
from evidence.merkle import CompactRange, ProofError
from evidence.retention import Segment
from evidence.storage import Storage
from evidence.tree_heads import followed


class LeftRows:
    """What left in the versions `oldest` to `newest` of the table at `root`; read when somebody asks.

    Nobody's signature is looked at: the nodes prove themselves, as the roots that follow from them were signed.
    """

    def __init__(self, root: Storage, *, newest: int, oldest: int) -> None:
        self._root = root
        self._versions = newest, oldest
        self._segments: dict[str, list[Segment]] | None = None

    def followed(
        self,
        start: CompactRange,
        log_id: str,
        signed: Sequence[Checkpoint],
        leaves: Callable[[int, int], Iterable[bytes]],
    ) -> Iterator[CompactRange]:
        """As `evidence.tree_heads.followed`, over what has left.

        Args: leaves: those of the rows that are there, from one position to before another.
        Yields: the range at each of the signed sizes, but for those that lie within a segment that left.
        Raises: HeadMismatchError, EvidenceDamagedError.
        """
        reached, waiting = start, list(signed)
        for segment in self._of(log_id):
            if segment.end <= reached.size:
                continue
            if segment.first >= waiting[-1].size:
                break
            before = [each for each in waiting if each.size <= segment.first]
            for at in followed(reached, leaves(reached.size, segment.first), before):
                reached = at
                yield reached
            try:
                reached = reached.append(leaves(reached.size, segment.first)).append_nodes(
                    segment.first, segment.count, segment.nodes
                )
            except ProofError as error:
                raise EvidenceDamagedError(
                    f"what left log `{log_id}` does not continue its tree: {error}; the checkpoints table may be an "
                    "older copy"
                ) from error
            waiting = [each for each in waiting if each.size >= reached.size]
            if not waiting:
                return
        yield from followed(reached, leaves(reached.size, waiting[-1].size), waiting)

    def _of(self, log_id: str) -> list[Segment]:
        """By ascending position."""
        if self._segments is None:
            self._segments = {}
            for left in retirements(self._root, *self._versions):
                for segment in left.retirement.segments:
                    self._segments.setdefault(segment.log_id, []).append(segment)
            for segments in self._segments.values():
                segments.sort(key=lambda each: each.first)
        return self._segments.get(log_id, [])
