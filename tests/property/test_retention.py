"""Which dates may leave, against the definition written down; and the note that stands for what left."""

from __future__ import annotations

from datetime import date, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.merkle import segment_nodes
from evidence.note import NoteError
from evidence.retention import (
    DAY_US,
    MAX_PARTITIONS,
    Partition,
    Retirement,
    Segment,
    SegmentNodes,
    choose,
)

EPOCH = date(1970, 1, 1)
LEAVES = [sha256(b"\x00%d" % i).digest() for i in range(200)]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Partition], dict[date, tuple[str, ...]], int, int]:
    days = draw(st.lists(st.integers(min_value=0, max_value=400), unique=True, max_size=50))
    partitions = [
        Partition(
            date=EPOCH + timedelta(days=day),
            rows=1,
            size_bytes=1,
            landed_us=(day + draw(st.integers(min_value=0, max_value=300))) * DAY_US,
        )
        for day in days
    ]
    held = {
        each.date: draw(st.sampled_from([(), ("hld_1",), ("hld_1", "hld_2")]))
        for each in partitions
        if draw(st.booleans())
    }
    now_us = draw(st.integers(min_value=0, max_value=800 * DAY_US))
    return partitions, held, draw(st.integers(min_value=1, max_value=400)), now_us


@given(tables())
def test_what_leaves_is_old_has_landed_long_ago_and_is_not_held(
    table: tuple[list[Partition], dict[date, tuple[str, ...]], int, int],
) -> None:
    partitions, held, keep_days, now_us = table
    choice = choose(partitions, held, keep_days=keep_days, now_us=now_us)

    def old(each: Partition) -> bool:
        """Whether the last microsecond of the date is `keep_days` behind us."""
        return ((each.date - EPOCH).days + 1) * DAY_US + keep_days * DAY_US <= now_us

    def late(each: Partition) -> bool:
        return each.landed_us + keep_days * DAY_US > now_us

    free = [each for each in partitions if old(each) and not late(each) and not held.get(each.date)]
    assert list(choice.leaving) == sorted(free, key=lambda each: each.date)[:MAX_PARTITIONS]
    assert choice.held == {
        each.date: held[each.date] for each in partitions if old(each) and held.get(each.date)
    }
    assert set(choice.late) == {each.date for each in partitions if old(each) and late(each)}


@given(st.integers(min_value=0, max_value=2**40), st.integers(min_value=1, max_value=len(LEAVES)))
def test_nodes_that_grow_leaf_by_leaf_are_those_of_the_whole_segment(first: int, count: int) -> None:
    growing = SegmentNodes(first)
    for leaf in LEAVES[:count]:
        growing.append(leaf)
    assert (growing.nodes(), growing.end) == (segment_nodes(LEAVES[:count], first), first + count)


SEGMENTS = st.dictionaries(
    st.sampled_from(["control.0a", "host-000.1b", "host-001.2c"]),
    st.lists(
        st.tuples(st.integers(min_value=0, max_value=100), st.integers(min_value=1, max_value=60)),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
)


@given(
    SEGMENTS,
    st.lists(st.dates(), min_size=1, unique=True, max_size=5),
    st.integers(min_value=0, max_value=2**32),
)
def test_a_retention_note_reads_as_it_was_written(
    logs: dict[str, list[tuple[int, int]]], dates: list[date], time_s: int
) -> None:
    segments = []
    for log_id, gaps in sorted(logs.items()):
        first = 0
        for gap, count in gaps:
            first += gap
            nodes = segment_nodes(LEAVES[:count], first)
            segments.append(Segment(log_id=log_id, first=first, count=count, nodes=nodes))
            first += count
    written = Retirement(
        origin="cp/_retention",
        time_us=time_s * 1_000_000,
        partitions=tuple(sorted(dates)),
        segments=tuple(segments),
    )
    assert Retirement.parse(written.text) == written


GOOD = Retirement(
    origin="cp/_retention",
    time_us=1_700_000_000_000_000,
    partitions=(date(2026, 1, 1), date(2026, 1, 2)),
    segments=(
        Segment(log_id="a", first=3, count=2, nodes=segment_nodes(LEAVES[:2], 3)),
        Segment(log_id="b", first=0, count=4, nodes=segment_nodes(LEAVES[:4], 0)),
    ),
).text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("controlplane evidence retention", "controlplane evidence"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20+00:00"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:61Z"),
        ("2026-01-01,2026-01-02", "2026-01-02,2026-01-01"),
        ("2026-01-01,2026-01-02", "2026-01-01,2026-01-01"),
        ("2026-01-01,2026-01-02", "2026-01-01,"),
        ("2026-01-01,2026-01-02", "20260101,2026-01-02"),
        ("\na 3 2 ", "\nc 3 2 "),
        ("\na 3 2 ", "\na 03 2 "),
        ("\na 3 2 ", "\na 3 6 "),
        ("\na 3 2 ", "\na 3 0 "),
        ("\nb 0 4 ", "\na 4 4 "),
        ("\nb 0 4 ", "\nb 0  4 "),
        ("=\n", "\n"),
    ],
)
def test_a_text_in_another_form_is_no_retention_note(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(NoteError):
        Retirement.parse(GOOD.replace(old, new, 1))
