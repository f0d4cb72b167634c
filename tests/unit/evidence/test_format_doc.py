"""docs/evidence-format.md is executed: its programs run against a fresh table, its table of columns is ours."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from unit.evidence.evidence_samples import NOON_US, full_row, log, record
from unit.evidence.signed_tables import Deployment

from evidence.columns import COLUMNS
from evidence.delta import checkpoints
from evidence.delta.maintenance import Cadence
from evidence.delta.shape import CONSTRAINTS, PROPERTIES
from evidence.delta.table import EvidenceTable
from evidence.durability import log_file
from evidence.landing import LogBatch
from evidence.note import parse_notes
from evidence.rotation import Rotation

DOC = (Path(__file__).parents[3] / "docs" / "evidence-format.md").read_text(encoding="utf-8")


LEAVES = "def json_value"
CHECK = "class Tree"


def ran(needle: str, path: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the one Python program of the page that contains `needle`."""
    (program,) = [code for code in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL) if needle in code]
    command = [sys.executable, "-c", program, str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=given)


def run(needle: str, path: Path) -> str:
    done = ran(needle, path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_for_leaves_recomputes_those_that_were_journalled(tmp_path: Path) -> None:
    batches = [log(0, 9), log(0, 4, log_id="host-001")]
    EvidenceTable.open_or_create(str(tmp_path)).land(batches, ingest_time_us=NOON_US)
    expected = [
        f"{batch.log_id} {batch.first_seq + n} {leaf.hex()} ok"
        for batch in batches
        for n, (_, leaf) in enumerate(batch.records)
    ]
    assert run(LEAVES, tmp_path).splitlines() == expected


@pytest.fixture
def signed(tmp_path: Path) -> Deployment:
    """Three landings of one log, two of another; a compaction and a rotation between them."""
    made = Deployment(tmp_path).made()
    table = made.opened(cadence=Cadence(compaction_commits=2))
    table.land([log(0, 9), log(0, 4, log_id="host-001")], ingest_time_us=NOON_US)
    table.land([log(10, 16)], ingest_time_us=NOON_US)
    made.keys.rotate(time="2026-09-05T12:00:00Z", random_bytes=made.seed)
    table.land([log(17, 20), log(5, 6, log_id="host-001")], ingest_time_us=NOON_US)
    return made


def first_key(made: Deployment) -> str:
    return str(Rotation.verified(parse_notes(made.keys.notes.read_text())[0]).old)


@pytest.mark.parametrize(("log_id", "sizes"), [("host-000", [10, 17, 21]), ("host-001", [5, 7])])
def test_the_program_for_checkpoints_follows_a_log(log_id: str, sizes: list[int], signed: Deployment) -> None:
    leaves = run(LEAVES, signed.path)
    done = ran(CHECK, signed.path, first_key(signed), log_id, given=leaves)
    assert done.returncode == 0, done.stderr
    assert [int(size) for size in re.findall(r"has (\d+) leaves", done.stdout)] == sizes


def test_the_program_for_checkpoints_sees_another_row_key_or_entry(signed: Deployment) -> None:
    leaves, key = run(LEAVES, signed.path), first_key(signed)
    lines = leaves.splitlines()
    swapped = "\n".join([lines[0].replace(" 0 ", " 1 "), *lines[2:]])
    for given, vkey, what in (
        (swapped, key, "another root"),
        ("\n".join(lines[:-3]), key, "were signed"),
        (leaves, str(signed.key()), "not signed by the key in force"),
    ):
        log_id = "host-001" if what == "were signed" else "host-000"
        done = ran(CHECK, signed.path, vkey, log_id, given=given)
        assert done.returncode != 0 and what in done.stderr
    entry = log_file(signed.path, 1)
    entry.write_bytes(entry.read_bytes() + b"\n")
    assert "_delta_log: another root" in ran(CHECK, signed.path, key, "host-000", given=leaves).stderr


def test_the_columns_of_the_table_of_checkpoints_are_those_of_the_page() -> None:
    section = DOC.partition("### The table of checkpoints")[2].partition("###")[0]
    written = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    types = {"date": pa.date32(), "long": pa.int64(), "string": pa.string(), "binary": pa.binary()}
    types["timestamp"] = pa.timestamp("us", tz="UTC")
    assert [(name, types[kind]) for name, kind in written] == [(f.name, f.type) for f in checkpoints.SCHEMA]


@pytest.mark.parametrize("reader", ["duckdb", "polars"])
def test_the_example_queries_run(reader: str, tmp_path: Path) -> None:
    yesterday_us = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1e6)
    rows = [
        full_row(seq=0, event_time=yesterday_us),
        full_row(seq=1, event_time=yesterday_us, rule_ids=[], reason_code="default_deny"),
    ]
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=1, records=[record(row) for row in rows])
    EvidenceTable.open_or_create(str(tmp_path)).land([batch], ingest_time_us=NOON_US)
    printed = run(f"import {reader}", tmp_path)
    assert "treasury-bot" in printed
    assert "default_deny" in printed


def test_the_columns_of_the_page_are_those_of_the_table() -> None:
    written = re.findall(r"^\| `(\w+)` \| [a-z ]+ \| (yes|) \| (.+) \|$", DOC, re.MULTILINE)
    comments = ((c.name, "yes" if c.required else "", c.comment.replace("||", "‖")) for c in COLUMNS)
    assert written == list(comments)


def test_the_properties_and_constraints_of_the_page_are_those_of_the_table() -> None:
    assert all(f"`{name}`" in DOC for name in [*PROPERTIES, *CONSTRAINTS])
    assert all(f"`{name}`" in DOC for name in PROPERTIES["delta.dataSkippingStatsColumns"].split(","))
