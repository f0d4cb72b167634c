"""Retention: which dates of the table may leave, and the text that stands for what left. Pure.

A date leaves as a whole: its partition with every row of every log. What remains of each log are the roots of the
subtrees that its rows were leaves of (`evidence.merkle.segment_nodes`), in a note that the deployment signs:

    <name>/_retention
    controlplane evidence retention
    <RFC 3339 time, UTC>
    partitions <date>,<date>…
    <log id> <first seq> <count> <base64 of the nodes, 32 bytes each>
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from evidence.merkle import HASH_BYTES, ProofError, node_hash, segment_tiles
from evidence.note import NoteError

DAY_US: Final = 86_400_000_000
SIX_MONTHS_DAYS: Final = 183
"""How long the logs of a high-risk system are kept at least: EU AI Act, articles 19(1) and 26(6)."""
MAX_PARTITIONS: Final = 31
"""Dates that leave under one note."""

_TITLE: Final = "controlplane evidence retention"
_SEGMENT: Final = re.compile(r"(\S{1,256}) (0|[1-9][0-9]{0,15}) ([1-9][0-9]{0,15}) ([A-Za-z0-9+/=]+)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One date of the table, as it is now. `landed_us`: when the newest of its rows landed."""

    date: date
    rows: int
    size_bytes: int
    landed_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a run does: the dates that leave, oldest first; which are due but held, by which holds; which are old
    enough but hold rows that landed too late to leave now."""

    leaving: tuple[Partition, ...]
    held: Mapping[date, tuple[str, ...]]
    late: tuple[date, ...]


def past_due(dates: Iterable[date], *, keep_days: int, now_us: int) -> list[date]:
    """The dates that ended `keep_days` ago or earlier, ascending.

    Args: now_us: microseconds since the epoch.
    """
    # A date ends with the last of its microseconds: the rows of its evening are kept as long as any.
    last = (_EPOCH + timedelta(microseconds=now_us - keep_days * DAY_US)).date() - timedelta(days=1)
    return sorted(each for each in dates if each <= last)


def choose(
    partitions: Iterable[Partition], held: Mapping[date, Sequence[str]], *, keep_days: int, now_us: int
) -> Choice:
    """Which dates leave.

    Args:
        held: ids of the holds that match a row of a date, for each date that has such rows.
        keep_days: how long each row is kept after it happened and, should that be later, after it landed: one that
            comes late, from a host that was down or whose clock was wrong, is not gone before anybody saw it.
    """
    due = {each.date: each for each in partitions}
    dates = past_due(due, keep_days=keep_days, now_us=now_us)
    late = [each for each in dates if due[each].landed_us > now_us - keep_days * DAY_US]
    free = [each for each in dates if not held.get(each) and each not in late]
    return Choice(
        leaving=tuple(due[each] for each in free[:MAX_PARTITIONS]),
        held={each: tuple(held[each]) for each in dates if held.get(each)},
        late=tuple(late),
    )


class SegmentNodes:
    """The nodes of a segment of a log, leaf after leaf: what `merkle.segment_nodes` gives, without all leaves at once.

    Args: first: position of its first leaf.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self._nodes: list[tuple[int, bytes]] = []

    @property
    def end(self) -> int:
        return self.first + self.count

    def append(self, leaf: bytes) -> None:
        """Cost: amortised one node hash."""
        position, size, node = self.end, 1, leaf
        nodes = self._nodes
        # Only a left sibling of the same size that belongs to the segment is merged with.
        while position & 1 and nodes and nodes[-1][0] == size:
            node = node_hash(nodes.pop()[1], node)
            position >>= 1
            size <<= 1
        nodes.append((size, node))
        self.count += 1

    def nodes(self) -> tuple[bytes, ...]:
        return tuple(node for _, node in self._nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows `first` … `first + count - 1` of one log, of which the nodes alone are left."""

    log_id: str
    first: int
    count: int
    nodes: tuple[bytes, ...]

    @property
    def end(self) -> int:
        return self.first + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """What left the table in one commit.

    Attributes:
        origin: `<name>/_retention`.
        time_us: when, microseconds since the epoch; the text has whole seconds.
        partitions: the dates, ascending.
        segments: by log id, then by `first`.
    """

    origin: str
    time_us: int
    partitions: tuple[date, ...]
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The note's text."""
        time = (_EPOCH + timedelta(microseconds=self.time_us)).strftime("%Y-%m-%dT%H:%M:%SZ")
        dates = ",".join(each.isoformat() for each in self.partitions)
        lines = [self.origin, _TITLE, time, f"partitions {dates}"]
        lines += [
            f"{each.log_id} {each.first} {each.count} {base64.b64encode(b''.join(each.nodes)).decode()}"
            for each in self.segments
        ]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Retirement:
        """Read a note's text. Raises: NoteError: it is not written as `text` writes it."""
        lines = text.split("\n")
        if len(lines) < 5 or lines[-1] or lines[1] != _TITLE or not lines[3].startswith("partitions "):
            raise NoteError(f"a retention note is lines of origin, `{_TITLE}`, time, partitions and segments")
        try:
            time = datetime.strptime(lines[2], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            dates = tuple(map(date.fromisoformat, lines[3].removeprefix("partitions ").split(",")))
        except ValueError as error:
            raise NoteError(f"a time or date of a retention note is none: {error}") from error
        found = cls(
            origin=lines[0],
            time_us=(time - _EPOCH) // timedelta(microseconds=1),
            partitions=dates,
            segments=tuple(map(_segment, lines[4:-1])),
        )
        order = [(each.log_id, each.first) for each in found.segments]
        overlapping = any(
            left.log_id == right.log_id and left.end > right.first
            for left, right in zip(found.segments, found.segments[1:], strict=False)
        )
        if order != sorted(order) or overlapping or list(dates) != sorted(set(dates)):
            raise NoteError("the dates and the segments of a retention note ascend, and do not overlap")
        if found.text != text:
            raise NoteError("a retention note is not in the one form that it has")
        return found


def _segment(line: str) -> Segment:
    matched = _SEGMENT.fullmatch(line)
    if matched is None:
        raise NoteError(f"`{line[:100]}` is no segment: expected `log first count base64`")
    log_id, first, count = matched[1], int(matched[2]), int(matched[3])
    try:
        blob = base64.b64decode(matched[4], validate=True)
        tiles = segment_tiles(first, count)
    except (binascii.Error, ProofError) as error:
        raise NoteError(f"a segment of log `{log_id}` cannot be read: {error}") from error
    if len(blob) != HASH_BYTES * len(tiles):
        raise NoteError(
            f"the segment of log `{log_id}` from {first} has {len(tiles)} nodes of {HASH_BYTES} bytes, not {len(blob)} "
            "bytes"
        )
    nodes = tuple(blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES))
    return Segment(log_id=log_id, first=first, count=count, nodes=nodes)
