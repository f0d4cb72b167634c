"""docs/evidence-format.md is executed: its programs run against a fresh table, its table of columns is ours."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import NOON_US, full_row, log, record

from evidence.columns import COLUMNS
from evidence.delta.shape import CONSTRAINTS, PROPERTIES
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch

DOC = (Path(__file__).parents[3] / "docs" / "evidence-format.md").read_text(encoding="utf-8")


def run(needle: str, path: Path) -> str:
    """Run the one Python program of the page that contains `needle`."""
    (program,) = [code for code in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL) if needle in code]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
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
    assert run("hashlib", tmp_path).splitlines() == expected


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
