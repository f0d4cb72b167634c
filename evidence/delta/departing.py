"""What may leave the table: which dates, held by which holds; and whether their rows are those that were signed.

Reads one snapshot of the table and changes nothing; may run beside landing, in another thread or process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable

from evidence.checkpoint import Checkpoint
from evidence.delta.reading import dataset_of
from evidence.delta.retiring import Left, retirements
from evidence.delta.shape import PARTITION, opened, unavailable
from evidence.delta.signed_sizes import SignedSizes
from evidence.errors import EvidenceDamagedError, NoEvidenceError
from evidence.merkle import HASH_BYTES, CompactRange
from evidence.retention import Choice, Departure, Hold, Partition, Segment, SegmentNodes, choose, past_due
from evidence.storage import Storage, storage_at
from evidence.verify.canonical import NullInListError, leaves

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HELD_BY = ("tenant_id", "agent_id", "parent_agent_id", "session_id", "workflow_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a run would do with one snapshot of the table. `files`: of each date that leaves, relative to the table."""

    table: DeltaTable
    storage: Storage
    choice: Choice
    files: Mapping[date, frozenset[str]]


def survey(path: str, holds: Sequence[Hold], *, keep_days: int, now_us: int) -> Survey:
    """Which dates leave now, and what holds back the others that are old enough.

    Args: keep_days, now_us: see `evidence.retention.choose`.
    Raises: NoEvidenceError, EvidenceUnavailableError, EvidenceDamagedError.
    Cost: the Parquet footers of all dates that are old enough, and a scan of five of their columns if there are holds.
    """
    with _readable(), unavailable(f"cannot read the evidence table at `{path}`"):
        storage = storage_at(path)
        table = opened(storage)
        if table is None:
            raise NoEvidenceError(f"no evidence table at `{path}`")
        actions = pa.table(table.get_add_actions(flatten=True))
        files: dict[date, list[tuple[str, int, int]]] = {}
        for day, name, size_bytes, rows in zip(
            *(
                actions.column(name).to_pylist()
                for name in (f"partition.{PARTITION}", "path", "size_bytes", "num_records")
            ),
            strict=True,
        ):
            files.setdefault(day, []).append((name, size_bytes, rows))
        due = past_due(files, keep_days=keep_days, now_us=now_us)
        partitions = [
            Partition(
                date=day,
                rows=sum(rows for _, _, rows in files[day]),
                size_bytes=sum(size_bytes for _, size_bytes, _ in files[day]),
                landed_us=max(_landed_us(storage, name) for name, _, _ in files[day]),
            )
            for day in due
        ]
        choice = choose(
            partitions, _held(dataset_of(table, storage), due, holds), keep_days=keep_days, now_us=now_us
        )
    leaving = {each.date: frozenset(name for name, _, _ in files[each.date]) for each in choice.leaving}
    return Survey(table=table, storage=storage, choice=choice, files=leaving)


def depart(
    found: Survey, signed: SignedSizes, *, progress: Callable[[int], None] = lambda rows: None
) -> Departure:
    """Recompute the leaves of all rows that are to leave, and hold them against what was signed.

    Args: progress: told how many rows were read since it was last told.
    Raises:
        EvidenceDamagedError: rows are not those that were signed, or no signed checkpoint covers them: nothing may
            leave, or retention would do away with the traces.
        EvidenceUnavailableError: the table cannot be read.
    Cost: about 10 µs a row; memory for the leaves of one date, about 200 bytes a row.
    """
    # INVARIANT (nothing laundered): only rows leave from which, with what is known of their log, the root follows that
    # was signed; what remains of them proves the same.
    with _readable(), unavailable("cannot read the rows that are to leave"):
        rows = dataset_of(found.table, found.storage)
        growing: dict[str, list[SegmentNodes]] = {}
        for day in sorted(found.files):
            for log_id, numbered in _leaves(rows, ds.field(PARTITION) == day, progress).items():
                segments = growing.setdefault(log_id, [])
                for seq, leaf in numbered:
                    if not segments or segments[-1].end != seq:
                        segments.append(SegmentNodes(seq))
                    segments[-1].append(leaf)
        checker = _Checker(rows, signed, lambda: retirements(found.storage, int(found.table.version())))
        ranges: list[tuple[str, CompactRange]] = []
        done: list[Segment] = []
        for log_id in sorted(growing):
            end = 0
            for nodes in sorted(growing[log_id], key=lambda each: each.first):
                if nodes.first < end:
                    raise EvidenceDamagedError(
                        f"row {nodes.first} of log `{log_id}` is there twice, and due to leave; nothing leaves: run "
                        "`controlplane evidence verify`"
                    )
                end = nodes.end
                segment = Segment(log_id=log_id, first=nodes.first, count=nodes.count, nodes=nodes.nodes())
                ranges.append((log_id, checker.check(segment)))
                done.append(segment)
    return Departure(
        dates=tuple(sorted(found.files)),
        files=frozenset().union(*found.files.values()),
        segments=tuple(done),
        ranges=tuple(ranges),
    )


class _Checker:
    """Follows a log from a known tree over a segment to a signed one."""

    def __init__(self, rows: ds.Dataset, signed: SignedSizes, left: Callable[[], Iterator[Left]]) -> None:
        self._rows = rows
        self._signed = signed
        self._left = left

    def check(self, segment: Segment) -> CompactRange:
        """Returns: the log's tree at the end of the segment. Raises: EvidenceDamagedError."""
        log_id = segment.log_id
        reached = self._start(log_id, segment.first).append_nodes(segment.first, segment.count, segment.nodes)
        at_end = reached
        target = self._target(log_id, reached.size)
        while reached.size < target.size:
            further = self._run(log_id, reached.size, target.size)
            if further:
                reached = reached.append(further)
                continue
            # A later date left before this one, which a hold kept.
            reached = self._over(log_id, reached)
            target = self._target(log_id, reached.size)
        if reached.root() != target.root:
            raise EvidenceDamagedError(
                f"rows {segment.first} to {segment.end - 1} of log `{log_id}` are due to leave, but they, or rows near "
                f"them, are not those of the signed checkpoint of size {target.size}; nothing leaves: run "
                "`controlplane evidence verify`",
                expected=target.root.hex(),
                found=reached.root().hex(),
            )
        return at_end

    def _start(self, log_id: str, first: int) -> CompactRange:
        """The log's tree of `first` leaves."""
        known = self._signed.before(log_id, first)
        if known.size == first:
            return known
        between = _numbered(self._rows, log_id, known.size, first)
        have = first
        while have - 1 in between:
            have -= 1
        if have > known.size:
            # What lies between has left: where it ended, its departure says.
            for left in self._left():
                for left_log, range_ in left.ranges:
                    if left_log == log_id and have <= range_.size <= first:
                        have, known = range_.size, range_
                        return known.append([between[seq] for seq in range(have, first)])
            raise self._gap(log_id, have - 1)
        return known.append([between[seq] for seq in range(known.size, first)])

    def _run(self, log_id: str, first: int, end: int) -> list[bytes]:
        """The leaves from `first` on that are there, without a gap."""
        found = _numbered(self._rows, log_id, first, end)
        run: list[bytes] = []
        while first + len(run) in found:
            run.append(found[first + len(run)])
        return run

    def _over(self, log_id: str, reached: CompactRange) -> CompactRange:
        for left in self._left():
            for segment in left.retirement.segments:
                if (segment.log_id, segment.first) == (log_id, reached.size):
                    return reached.append_nodes(segment.first, segment.count, segment.nodes)
        raise self._gap(log_id, reached.size)

    def _target(self, log_id: str, size: int) -> Checkpoint:
        found = self._signed.after(log_id, size)
        if found is None:
            raise EvidenceDamagedError(
                f"no signed checkpoint of log `{log_id}` covers its row {size - 1}, which is due to leave; nothing "
                "leaves until one does"
            )
        return found

    def _gap(self, log_id: str, seq: int) -> EvidenceDamagedError:
        return EvidenceDamagedError(
            f"row {seq} of log `{log_id}` is missing, and no retention note stands for it; nothing leaves: run "
            "`controlplane evidence verify`"
        )


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, NullInListError) as error:
        raise EvidenceDamagedError(f"a file of the evidence table cannot be read: {error}") from error


def _leaves(
    rows: ds.Dataset, condition: ds.Expression, progress: Callable[[int], None] = lambda rows: None
) -> dict[str, list[tuple[int, bytes]]]:
    """(seq, leaf) of the rows of each log, ascending; recomputed, whatever the table says that they are."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for batch in rows.to_batches(filter=condition):
        blob = leaves(batch)
        hashes = (blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES))
        logs, seqs = (batch.column(name).to_pylist() for name in ("log_id", "seq"))
        for log_id, seq, leaf in zip(logs, seqs, hashes, strict=True):
            found.setdefault(log_id, []).append((seq, leaf))
        progress(len(batch))
    for numbered in found.values():
        numbered.sort()
    return found


def _numbered(rows: ds.Dataset, log_id: str, first: int, end: int) -> dict[int, bytes]:
    condition = (ds.field("log_id") == log_id) & (ds.field("seq") >= first) & (ds.field("seq") < end)
    return dict(_leaves(rows, condition).get(log_id, ()))


def _landed_us(storage: Storage, name: str) -> int:
    """When the newest row of a data file landed. Row groups without statistics may hold anything: as if just now."""
    with pq.ParquetFile(name, filesystem=storage.files) as file:
        return _newest_us(file)


def _newest_us(file: pq.ParquetFile) -> int:
    metadata = file.metadata
    names = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    column = names.index("ingest_time")
    newest = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(column).statistics
        if statistics is None or not statistics.has_min_max:
            values = file.read(columns=["ingest_time"]).column(0)
            return int((pc.max(values).as_py() - _EPOCH) // _MICROSECOND)
        newest.append((statistics.max - _EPOCH) // _MICROSECOND)
    return max(newest, default=0)


def _held(rows: ds.Dataset, due: Sequence[date], holds: Sequence[Hold]) -> dict[date, list[str]]:
    """The ids of the holds that match a row of each date."""
    found: dict[date, list[str]] = {}
    for day in due:
        open_ = {hold.id: hold for hold in holds if hold.covers(day)}
        if not open_:
            continue
        for batch in rows.to_batches(columns=list(_HELD_BY), filter=ds.field(PARTITION) == day):
            matched = [identity for identity, hold in open_.items() if _matches(batch, hold)]
            for identity in matched:
                found.setdefault(day, []).append(identity)
                del open_[identity]
            if not open_:
                break
    return found


def _matches(batch: pa.RecordBatch, hold: Hold) -> bool:
    if not len(batch):
        return False
    mask = pc.equal(batch.column("tenant_id"), hold.tenant)
    for name, value in (("session_id", hold.session), ("workflow_id", hold.workflow)):
        if value is not None:
            mask = pc.and_kleene(mask, pc.equal(batch.column(name), value))
    if hold.agent is not None:
        either = (pc.equal(batch.column(name), hold.agent) for name in ("agent_id", "parent_agent_id"))
        mask = pc.and_kleene(mask, pc.or_kleene(*either))
    return bool(pc.any(mask).as_py())
