from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from unit.evidence.evidence_samples import NOON_US, log
from unit.evidence.s3_server import BUCKET, SECRET, Asked, S3Server, serving

from controlplane.errors import InputError
from evidence.checkpoint_files import CheckpointFiles
from evidence.delta.heads import Signing
from evidence.delta.maintenance import Cadence
from evidence.delta.optimizing import optimize
from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable, Landing
from evidence.errors import (
    EvidenceDamagedError,
    EvidenceUnavailableError,
    NoEvidenceError,
    SchemaMismatchError,
)
from evidence.export.stream import Export
from evidence.landing import LogBatch
from evidence.query import query
from evidence.record import canonical_from_arrow, leaf_hash
from evidence.signing_keys import KeyFiles, Signer
from evidence.storage import storage_at
from evidence.verify.faults import UnreadableError
from evidence.verify.report import Report
from evidence.verify.verifier import Options, verify

PREFIX = "fleet/decisions"
PLACE = f"s3://{BUCKET}/{PREFIX}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving(monkeypatch) as server:
        yield server


FILES = f"s3://{BUCKET}/kept/checkpoint-files"


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    keys = KeyFiles(private=tmp_path / "key.json", notes=tmp_path / "notes", public=tmp_path / "vkey")
    keys.create("controlplane-test", created_at="2026-09-04T12:00:00Z", random_bytes=bytes)
    return Signing(signer=Signer(files=keys), files=CheckpointFiles(folder=storage_at(FILES)))


def land(table: EvidenceTable, *batches: LogBatch) -> Landing:
    return table.land(batches, ingest_time_us=NOON_US)


def seqs(log_id: str = "host-000") -> list[int]:
    rows = open_dataset(PLACE).to_table(columns=["log_id", "seq"]).to_pylist()
    return sorted(row["seq"] for row in rows if row["log_id"] == log_id)


def test_each_row_lands_exactly_once_and_its_leaf_can_be_recomputed(server: S3Server) -> None:
    table = EvidenceTable.open_or_create(PLACE)
    for batch in (log(0, 999, step_us=300_000_000), log(500, 1_499, step_us=300_000_000), log(0, 9)):
        assert land(table, batch).refused == {}
    assert seqs() == list(range(1_500))
    reopened = EvidenceTable.open_or_create(PLACE)
    assert (reopened.version, reopened.landed("host-000")) == (table.version, 1_499)
    rows = open_dataset(PLACE).to_table().sort_by("seq")
    assert rows.column("leaf_hash").to_pylist() == [leaf_hash(text) for text in canonical_from_arrow(rows)]


def test_it_is_queried_where_it_lies_by_our_query_by_duckdb_and_by_polars(server: S3Server) -> None:
    land(EvidenceTable.open_or_create(PLACE), log(0, 99), log(0, 9, log_id="host-001"))
    sql = "SELECT log_id, count(*) AS n FROM evidence WHERE decision = 'deny' GROUP BY 1 ORDER BY 1"
    expected = [("host-000", 100), ("host-001", 10)]
    assert [tuple(row.values()) for row in query(PLACE, sql).to_pylist()] == expected
    assert query(PLACE, "SELECT seq FROM evidence LIMIT 1").num_rows == 1  # a scan that is abandoned
    with duckdb.connect() as connection:
        connection.register("evidence", open_dataset(PLACE))
        assert connection.sql(sql).fetchall() == expected
    counted = pl.scan_delta(PLACE).group_by("log_id").len().sort("log_id").collect()
    assert counted.rows() == expected


def test_its_views_answer_it_is_exported_and_not_optimized_beside_its_writer(server: S3Server) -> None:
    land(EvidenceTable.open_or_create(PLACE), log(0, 99))
    assert query(PLACE, "SELECT rule, count(*) AS n FROM denials GROUP BY rule").to_pylist() == [
        {"rule": "treasury/large-transfer", "n": 100}
    ]
    first = Export(PLACE, "otel", product_version="1")
    assert (len([*first]), first.rows, first.cursor) == (1, 100, {"host-000": 99})
    assert [*Export(PLACE, "otel", product_version="1", after=first.cursor)] == []
    with pytest.raises(InputError, match="rewriting beside the writer is not safe"):
        optimize(PLACE, target_size_bytes=2**20)


def test_what_two_writers_commit_at_the_same_time_lands_once(server: S3Server) -> None:
    """Both have looked, and both PUT the same version: the store lets one of them win."""
    writers = [EvidenceTable.open_or_create(PLACE) for _ in range(2)]
    version = writers[0].version + 1
    both, waiting = threading.Barrier(2), [None, None]
    entry = f"{PREFIX}/_delta_log/{version:020d}.json"

    def together(asked: Asked) -> int | None:
        if asked.method == "PUT" and asked.key == entry and waiting:
            waiting.pop()
            both.wait(timeout=30)
        return None

    server.trouble = together
    landings: list[Landing] = []

    def write(writer: EvidenceTable, own: str) -> None:
        landings.append(land(writer, log(0, 9), log(0, 4, log_id=own)))

    threads = [
        threading.Thread(target=write, args=(writer, f"own-{number}"))
        for number, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    puts = [asked for asked in server.asked if asked.method == "PUT" and asked.key == entry]
    assert [asked.condition for asked in puts] == ["*", "*"]
    assert sorted(landing.version for landing in landings) == [version, version + 1]
    assert all(landing.landed["host-000"] == 9 for landing in landings)
    assert seqs() == list(range(10))
    assert seqs("own-0") == seqs("own-1") == list(range(5))


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from unit.evidence.evidence_samples import NOON_US, log
from evidence.checkpoint_files import CheckpointFiles
from evidence.delta.heads import Signing
from evidence.delta.maintenance import Cadence
from evidence.delta.table import EvidenceTable
table = EvidenceTable.open_or_create({place!r}, cadence=Cadence(compaction_commits=5, checkpoint_commits=3))
first = table.landed("host-000") + 1
while True:
    landing = table.land([log(first, first + 9)], ingest_time_us=NOON_US)
    assert not landing.refused and landing.maintenance_error is None, landing
    first += 10
    print(landing.landed["host-000"], flush=True)
"""


@pytest.mark.parametrize("point", ["data", "entry", "entry_served", "compaction"])
def test_a_writer_that_is_killed_in_the_middle_loses_nothing_and_lands_nothing_twice(
    server: S3Server, point: str
) -> None:
    code = WRITER.format(tests=str(Path(__file__).parents[2]), place=PLACE)
    reached, go_on = threading.Event(), threading.Event()
    after = {"data": 4, "entry": 4, "entry_served": 4, "compaction": 6}[point]

    def trouble(asked: Asked) -> int | None:
        entries = [one for one in server.asked if one.method == "PUT" and one.key.endswith(".json")]
        is_entry = asked.method == "PUT" and asked.key.endswith(".json")
        stop = {
            "data": asked.method == "PUT" and asked.key.endswith(".parquet") and len(entries) == after,
            "entry": is_entry and len(entries) == after,
            # What delta-rs asks next, once its commit is there.
            "entry_served": asked.method == "GET" and len(entries) == after,
            "compaction": asked.method == "GET" and "event_date" in asked.key,
        }[point]
        if stop and not reached.is_set():
            reached.set()
            go_on.wait(timeout=60)
        return None

    server.trouble = trouble
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert reached.wait(timeout=60)
    writer.send_signal(signal.SIGKILL)
    told = [int(line) for line in writer.communicate()[0].split()]
    go_on.set()
    server.trouble = lambda asked: None
    table = EvidenceTable.open_or_create(PLACE)
    landed = table.landed("host-000")
    assert landed >= max(told, default=-1)
    assert seqs() == list(range(landed + 1))
    last = max(told, default=-1) + 20
    assert land(table, log(max(told, default=-1) + 1, last)).landed == {"host-000": last}
    assert seqs() == list(range(last + 1))


def test_while_the_store_is_gone_nothing_lands_and_once_it_is_back_landing_goes_on(server: S3Server) -> None:
    table = EvidenceTable.open_or_create(PLACE)
    land(table, log(0, 9))
    server.stop()
    for attempt in (lambda: land(table, log(10, 19)), lambda: EvidenceTable.open_or_create(PLACE)):
        with pytest.raises(EvidenceUnavailableError, match="the evidence table at `s3://") as caught:
            attempt()
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    with pytest.raises(EvidenceUnavailableError, match="cannot read"):
        open_dataset(PLACE)
    server.start()
    assert land(table, log(10, 19)).landed == {"host-000": 19}
    assert seqs() == list(range(20))


def test_requests_that_are_refused_now_and_then_cost_nothing(server: S3Server) -> None:
    count = 0

    def busy(asked: Asked) -> int | None:
        nonlocal count
        count += 1
        return 503 if count % 7 == 0 else None

    server.trouble = busy
    table = EvidenceTable.open_or_create(PLACE, cadence=Cadence(compaction_commits=4, checkpoint_commits=3))
    for first in range(0, 150, 10):
        landing = land(table, log(first, first + 9))
        assert (landing.landed, landing.maintenance_error) == ({"host-000": first + 9}, None)
    assert seqs() == list(range(150))


def test_a_commit_whose_answer_is_lost_lands_once(server: S3Server) -> None:
    """The store has made the object and says 503: the client asks again and finds its own commit in the way."""
    table = EvidenceTable.open_or_create(PLACE)
    version = table.version + 1
    lost: list[str] = []

    def unanswered(asked: Asked) -> int | None:
        if asked.method == "PUT" and asked.key.endswith(f"{version:020d}.json") and not lost:
            lost.append(asked.key)
            return 503
        return None

    server.trouble_after = unanswered
    assert land(table, log(0, 9)).landed == {"host-000": 9}
    assert lost
    assert seqs() == list(range(10))


def test_compaction_and_checkpoints_keep_rows_and_positions(server: S3Server) -> None:
    cadence = Cadence(
        compaction_commits=4, checkpoint_commits=5, large_compaction_commits=9, replaced_files_hours=0
    )
    table = EvidenceTable.open_or_create(PLACE, cadence=cadence)
    for first in range(0, 200, 10):
        assert land(table, log(first, first + 9)).maintenance_error is None
    assert seqs() == list(range(200))
    assert EvidenceTable.open_or_create(PLACE).landed("host-000") == 199
    assert len([key for key in server.keys(PREFIX) if key.endswith("zstd.parquet")]) < 10
    assert f"{PREFIX}/_delta_log/_last_checkpoint" in server.keys(PREFIX)


def test_a_commit_reads_few_entries_of_the_log_however_long_it_is(server: S3Server) -> None:
    table = EvidenceTable.open_or_create(PLACE)
    most = 0
    for first in range(45):
        server.asked.clear()
        land(table, log(first, first))
        entries = {asked.key for asked in server.asked if asked.key.endswith(".json")}
        most = max(most, len(entries))
    assert most <= 25


def test_a_data_object_that_is_gone_or_another_is_noticed_when_the_table_is_opened(server: S3Server) -> None:
    land(EvidenceTable.open_or_create(PLACE), log(0, 9))
    (key,) = [key for key in server.keys(PREFIX) if key.endswith(".parquet")]
    server.client.put_object(Bucket=BUCKET, Key=key, Body=b"cut short")
    with pytest.raises(EvidenceDamagedError, match="has 9 bytes instead of"):
        EvidenceTable.open_or_create(PLACE)
    server.client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(EvidenceDamagedError, match="is missing"):
        EvidenceTable.open_or_create(PLACE)


def test_something_else_under_the_prefix_is_a_schema_mismatch(server: S3Server) -> None:
    server.client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/notes.txt", Body=b"mine")
    with pytest.raises(SchemaMismatchError, match="is not empty and holds no evidence table"):
        EvidenceTable.open_or_create(PLACE)


def test_reading_where_no_table_is_creates_none_and_a_missing_bucket_is_said(server: S3Server) -> None:
    with pytest.raises(NoEvidenceError):
        open_dataset(PLACE)
    assert server.keys() == []
    with pytest.raises(EvidenceUnavailableError, match="NoSuchBucket"):
        EvidenceTable.open_or_create("s3://another-bucket/decisions")


def test_a_file_is_made_only_where_there_is_none(server: S3Server) -> None:
    storage = storage_at(f"s3://{BUCKET}/fleet/checkpoint-files")
    name = "2026-09-04/12/00000000000000000007.notes"
    assert storage.create(name, "a note\n")
    assert not storage.create(name, "another\n")
    assert storage.read(name) == b"a note\n"
    assert storage.names() == ["2026-09-04"]
    assert storage.names("2026-09-04/12") == ["00000000000000000007.notes"]
    assert storage.names("2026-09-05") == []
    assert storage.beside("decisions").uri == PLACE
    with pytest.raises(FileNotFoundError):
        storage.read("none")


def test_each_landing_leaves_its_checkpoints_in_the_commit_in_their_table_and_as_an_object(
    server: S3Server, signing: Signing
) -> None:
    table = EvidenceTable.open_or_create(PLACE, signing=signing)
    for first in (0, 10):
        version = land(table, log(first, first + 9)).version
        assert table.heads is not None
        table.heads.record()
    recorded = pl.read_delta(f"s3://{BUCKET}/fleet/checkpoints").filter(pl.col("log_id") == "host-000")
    assert recorded.sort("size")["size"].to_list() == [10, 20]
    objects = server.keys("kept/checkpoint-files/")
    assert len(objects) == 2
    newest = server.client.get_object(Bucket=BUCKET, Key=objects[-1])["Body"].read().decode()
    assert objects[-1].endswith(f"/{version:020d}.notes")
    assert recorded.sort("size")["note"][1] in newest
    reopened = EvidenceTable.open_or_create(PLACE, signing=signing)
    assert land(reopened, log(15, 29)).landed == {"host-000": 29}


def test_a_checkpoint_object_that_is_not_of_this_history_stops_landing(
    server: S3Server, signing: Signing
) -> None:
    land(EvidenceTable.open_or_create(PLACE, signing=signing), log(0, 9))
    (key,) = server.keys("kept/checkpoint-files/")
    with pytest.raises(EvidenceDamagedError, match="is not of the history"):
        # Another table, which has come to other versions, over the same checkpoint files.
        EvidenceTable.open_or_create(f"s3://{BUCKET}/other/decisions", signing=signing)
    server.client.put_object(Bucket=BUCKET, Key=key, Body=b"another history")
    with pytest.raises(EvidenceDamagedError, match="holds other checkpoints"):
        EvidenceTable.open_or_create(PLACE, signing=signing)


def test_a_checkpoint_object_that_cannot_be_written_stops_landing_until_it_can(
    server: S3Server, signing: Signing
) -> None:
    table = EvidenceTable.open_or_create(PLACE, signing=signing)
    server.trouble = lambda asked: 403 if asked.key.startswith("kept/") and asked.method == "PUT" else None
    with pytest.raises(EvidenceUnavailableError):
        land(table, log(0, 9))
    server.trouble = lambda asked: None
    assert land(table, log(0, 9)).landed == {"host-000": 9}
    assert len(server.keys("kept/checkpoint-files/")) == 1
    assert seqs() == list(range(10))


def verified(signing: Signing) -> Report:
    return verify(PLACE, Options(keys=[str(signing.signer.current()[0].public)], checkpoints=[FILES], jobs=2))


def test_it_is_verified_where_it_lies_against_checkpoints_in_another_prefix(
    server: S3Server, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evidence.verify.workers._FEW_BYTES", 0)  # worker processes, however small it is
    cadence = Cadence(compaction_commits=4, checkpoint_commits=3)
    table = EvidenceTable.open_or_create(PLACE, cadence=cadence, signing=signing)
    for first in range(0, 60, 10):
        landed = table.version + 1
        assert land(table, log(first, first + 9)).maintenance_error is None
    assert table.heads is not None
    table.heads.record()
    report = verified(signing)
    assert (report.holds, report.rows) == (True, 60), report.lines()

    # Who can write to the table's prefix takes the last landing away, and all that came after.
    for key in server.keys(f"{PREFIX}/_delta_log/"):
        if Path(key).name >= f"{landed:020d}":
            server.client.delete_object(Bucket=BUCKET, Key=key)
    codes = {fault.code for fault in verified(signing).faults}
    assert codes == {"tail_missing"}
    server.stop()
    with pytest.raises(UnreadableError):
        verified(signing)
