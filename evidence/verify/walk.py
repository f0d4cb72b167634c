"""One log, walked from its first leaf to its last: no gap, nothing twice, at every checkpoint the signed root. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from evidence.merkle import HASH_BYTES, CompactRange, ProofError
from evidence.retention import Segment
from evidence.verify.faults import Code, Faults, named, seqs


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A signed root of a log.

    Attributes:
        version: of the commit that carries it; None: it comes from elsewhere, `source`.
    """

    size: int
    root: bytes
    version: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where rows lie: positions `first` to `last` of a log are within this file (with others in between, perhaps)."""

    first: int
    last: int
    file: str


Ranges = Callable[[int], CompactRange | None]


def signed_range(ranges: Ranges, point: Point) -> CompactRange | None:
    """The stored range of a commit's checkpoint, if there is one and it leads to the signed root."""
    found = ranges(point.size) if point.version is not None else None
    return found if found is not None and found.root() == point.root else None


@dataclass(slots=True, kw_only=True)
class LogWalk:
    """The state of the walk.

    Args:
        points: by ascending size; those of commits before others of the same size.
        ranges: finds the compact range of a size, if one is stored: where the walk goes on after a hole.
        segments: what left under retention, by the position where it begins.
    Attributes:
        position: the next row's `seq`.
        reached: size of the last signed root that the rows led to.
        checked, unchecked: signed roots that were compared, and those that lie in holes.
    """

    log_id: str
    faults: Faults
    points: Sequence[Point] = ()
    ranges: Ranges = lambda size: None
    segments: Mapping[int, Segment] = field(default_factory=dict)
    position: int = 0
    reached: int = 0
    rows: int = 0
    retained: int = 0
    checked: int = 0
    unchecked: int = 0
    spans: list[Span] = field(default_factory=list)
    _range: CompactRange | None = field(default_factory=CompactRange)
    _good: CompactRange = field(default_factory=CompactRange)  # at the last signed root that was met
    _trail: list[list[bytes] | Segment] = field(default_factory=list)  # what came since
    _stored: dict[int, bytes] = field(default_factory=dict)  # and what files say of leaves that differ
    _next: int = 0
    _left: int = 0

    def feed(self, positions: pa.Array, leaves: bytes, stored: bytes | None) -> None:
        """Rows of the next date, by ascending position: 64-bit `seq`s and 32 bytes of leaf each.

        Args: stored: the `leaf_hash`es as they stand in the files; None: they are the leaves.
        Cost: 1 µs a row.
        """
        self.rows += len(positions)
        for first, begin, end in _runs(positions):
            cut = slice(begin * HASH_BYTES, end * HASH_BYTES)
            self._run(first, leaves[cut], None if stored is None else stored[cut])

    def end(self) -> None:
        """After the last row."""
        self._leave(None)
        if self._left < len(self.segments):
            self._fault(
                "delta_operation",
                self.position,
                self.position,
                "not all left that a retention note says has left",
            )
        signed = max((point.size for point in self.points if point.version is not None), default=0)
        if self.position > signed:
            text = f"no checkpoint covers {seqs(signed, self.position - 1)}"
            self._fault("checkpoint_missing", signed, self.position - 1, text)
        rest = self.points[self._next :]
        self.unchecked += len(rest)
        if rest:
            self._too_short(rest[-1])

    def _too_short(self, point: Point) -> None:
        none = self.position == 0
        where = f"`{point.source}`" if point.version is None else f"version {point.version}"
        self.faults.add(
            "log_missing" if none else "tail_missing",
            f"log `{self.log_id}` has {'no rows' if none else f'{self.position} rows'}; the checkpoint of {where} "
            f"covers {point.size}",
            log_id=self.log_id,
            first_seq=self.position,
            last_seq=point.size - 1,
            file=point.source or None,
            version=point.version,
        )

    def _run(self, first: int, leaves: bytes, stored: bytes | None) -> None:
        """Rows without a gap between them."""
        end = first + len(leaves) // HASH_BYTES
        self._leave(first)
        if first < self.position:
            again = min(self.position, end)
            text = seqs(first, again - 1, "there again, or after later ones")
            self._fault("row_duplicate", first, again - 1, text)
            if again == end:
                return
            leaves = leaves[(again - first) * HASH_BYTES :]
            stored = None if stored is None else stored[(again - first) * HASH_BYTES :]
            first = again
        while first > self.position:
            upto = min((at for at in self.segments if self.position < at < first), default=first)
            text = seqs(self.position, upto - 1, "missing")
            self._fault("row_missing", self.position, upto - 1, text)
            self._skip(upto)
            self._leave(first)
        while self.position < end:
            upto = min(end, self.points[self._next].size) if self._next < len(self.points) else end
            cut = slice((self.position - first) * HASH_BYTES, (upto - first) * HASH_BYTES)
            self._append(leaves[cut], None if stored is None else stored[cut])
            self._compare()

    def _append(self, leaves: bytes, stored: bytes | None) -> None:
        hashes = [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]
        if self._range is not None:
            if stored is not None and stored != leaves:
                for index, leaf in enumerate(hashes):
                    was = stored[index * HASH_BYTES : (index + 1) * HASH_BYTES]
                    if was != leaf:
                        self._stored[self.position + index] = was
            self._range = self._range.append(hashes)
            self._trail.append(hashes)
        self.position += len(hashes)

    def _leave(self, first: int | None) -> None:
        """Go on over what left under retention, up to the row `first`, or as far as it goes."""
        while (first is None or self.position < first) and self.position in self.segments:
            segment = self.segments[self.position]
            self._left += 1
            if self._range is not None:
                try:
                    self._range = self._range.append_nodes(segment.first, segment.count, segment.nodes)
                    self._trail.append(segment)
                except ProofError as error:
                    self._fault(
                        "delta_operation",
                        segment.first,
                        segment.first + segment.count - 1,
                        f"its retention note: {error.message}",
                    )
                    self._lose()
            self.retained += segment.count
            self._skip(segment.first + segment.count, whole=True)

    def _skip(self, position: int, *, whole: bool = False) -> None:
        """Go on at `position`; `whole`: the range covers what lies between."""
        if not whole:
            self._lose()
        self.position = position
        while self._next < len(self.points) and self.points[self._next].size < position:
            self._next += 1
            self.unchecked += 1
        self._compare()

    def _compare(self) -> None:
        """Look at every signed root of this size."""
        while self._next < len(self.points) and self.points[self._next].size == self.position:
            point = self.points[self._next]
            self._next += 1
            if self._range is None:
                self.unchecked += 1
                self._resume(point)
                continue
            self.checked += 1
            if self._range.root() != point.root:
                self._differs(point)
            else:
                self._accept()

    def _accept(self) -> None:
        assert self._range is not None
        self._good, self.reached = self._range, self._range.size
        self._trail.clear()
        self._stored.clear()

    def _differs(self, point: Point) -> None:
        if self._stored:
            # The rows that differ from their stored leaves are named already. If those leaves lead to the signed
            # root, then they are the only ones: what was signed is known, and the walk goes on with it.
            signed = self._as_stored()
            if signed.root() == point.root:
                self._range = signed
                self._accept()
                return
        root = self._range.root() if self._range else b""
        if point.version is None:
            self.faults.add(
                "split_view",
                f"`{point.source}` has another history of log `{self.log_id}`: at size {point.size} the root "
                f"{point.root.hex()}, signed; these rows have {root.hex()}",
                log_id=self.log_id,
                first_seq=self._good.size,
                last_seq=point.size - 1,
                file=point.source,
            )
            return
        if self._good.size == point.size:
            what = f"version {point.version} signs another root of size {point.size} than an earlier one"
        else:
            what = (
                f"{seqs(self._good.size, point.size - 1, 'not what version')} {point.version} signed: root "
                f"{root.hex()}, expected {point.root.hex()}"
            )
        self._fault("checkpoint_inconsistent", self._good.size, point.size - 1, what, version=point.version)
        if self._good.size < point.size:
            self._lose()
            self._resume(point)

    def _resume(self, point: Point) -> None:
        """Go on from what was signed, where that is known."""
        self._range = signed_range(self.ranges, point)
        self._good = self._range or self._good

    def _lose(self) -> None:
        self._range = None
        self._trail.clear()
        self._stored.clear()

    def _as_stored(self) -> CompactRange:
        found = self._good
        for piece in self._trail:
            if isinstance(piece, Segment):
                found = found.append_nodes(piece.first, piece.count, piece.nodes)
            else:
                start = found.size
                found = found.append(
                    [self._stored.get(start + index, leaf) for index, leaf in enumerate(piece)]
                )
        return found

    def _fault(self, code: Code, first: int, last: int, what: str, *, version: int | None = None) -> None:
        files = list(dict.fromkeys(s.file for s in self.spans if s.first <= last and s.last >= first))
        within = f", within {named(files)}" if files else ""
        self.faults.add(
            code,
            f"log `{self.log_id}`: {what}{within}",
            log_id=self.log_id,
            first_seq=first,
            last_seq=max(first, last),
            file=files[0] if len(files) == 1 else None,
            version=version,
        )


def _runs(positions: pa.Array) -> Iterator[tuple[int, int, int]]:
    """Stretches without a gap: the first position, and the indices of its begin and end."""
    count = len(positions)
    if not count:
        return
    steps = pc.subtract(positions.slice(1), positions.slice(0, count - 1))
    breaks = pc.indices_nonzero(pc.not_equal(steps, 1)).to_pylist()
    begins = [0, *(index + 1 for index in breaks)]
    for begin, end in zip(begins, [*begins[1:], count], strict=True):
        yield positions[begin].as_py(), begin, end
