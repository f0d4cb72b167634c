"""A table grows with the software: new nullable columns, old rows and their leaves as they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from unit.evidence.evidence_samples import NOON_US, log

from evidence.columns import SCHEMA
from evidence.delta.optimizing import optimize
from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable
from evidence.errors import SchemaMismatchError
from evidence.query import query
from evidence.record import canonical_from_arrow, leaf_hash

# The software of a later version: one column more, in everything that reads the list of columns.
SOFTWARE = """
import json, sys
sys.path.insert(0, {tests!r})
import pyarrow as pa
from evidence import columns
columns.COLUMNS = (*columns.COLUMNS, columns.Column(name="country", type=pa.string(), comment="where it happened"))
columns.SCHEMA = pa.schema([pa.field(c.name, c.type, nullable=not c.required) for c in columns.COLUMNS])
columns.COMMENTS = {{c.name: c.comment for c in columns.COLUMNS}}
columns.SCHEMA_VERSION = 2
"""
WRITES = """
from unit.evidence.evidence_samples import NOON_US, full_row, log, record
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
table = EvidenceTable.open_or_create({path!r})
old = log({first}, 14)
times = {{n: NOON_US + n * 1000 for n in range(15, 20)}}
new = [record(full_row(seq=n, event_id=f"e-{{n}}", event_time=at, schema_version=2, country="CH"))
       for n, at in times.items()]
batch = LogBatch(log_id="host-000", first_seq=15, last_seq=19, records=new)
landing = table.land([old, batch], ingest_time_us=NOON_US)
print(json.dumps([landing.landed["host-000"], landing.rows, [leaf.hex() for _, leaf in new]]))
"""


READS = """
from evidence.query import query
rows = query({path!r}, "SELECT country, seq, leaf_hash IS NOT NULL AS leaf FROM evidence ORDER BY seq").to_pylist()
from evidence.export.stream import Export
print(json.dumps([rows, len([*Export({path!r}, "ocsf", product_version="2")])]))
"""


def later(path: Path, what: str = WRITES, *, first: int = 0) -> list[Any]:
    code = (SOFTWARE + what).format(tests=str(Path(__file__).parents[2]), path=str(path), first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "decisions"
    EvidenceTable.open_or_create(str(path)).land([log(0, 9)], ingest_time_us=NOON_US)
    return path


def test_a_later_version_adds_its_columns_in_one_commit_and_goes_on(path: Path) -> None:
    before = DeltaTable(path).version()
    landed, rows, _ = later(path)  # what had landed is handed over again, and dropped
    assert (landed, rows) == (19, 10)
    history = DeltaTable(path).history()
    assert [entry["operation"] for entry in history if entry["version"] > before] == ["WRITE", "ADD COLUMN"]
    assert [f.name for f in DeltaTable(path).schema().fields] == [*SCHEMA.names, "country"]
    assert DeltaTable(path).schema().fields[-1].metadata["comment"] == "where it happened"
    assert later(path, first=10)[:2] == [19, 0]
    assert len(DeltaTable(path).history()) == len(history)


def test_rows_of_both_versions_keep_the_leaves_that_were_journalled(path: Path) -> None:
    _, _, added = later(path)
    rows = DeltaTable(path).to_pyarrow_table().sort_by("seq")
    recomputed = [leaf_hash(canonical) for canonical in canonical_from_arrow(rows)]
    assert recomputed == rows.column("leaf_hash").to_pylist()
    assert recomputed == [leaf for _, leaf in log(0, 14).records] + [bytes.fromhex(leaf) for leaf in added]


def test_an_earlier_version_reads_the_grown_table_and_refuses_to_write_it(path: Path) -> None:
    later(path)
    answer = query(str(path), "SELECT country, count(*) AS n FROM evidence GROUP BY ALL ORDER BY ALL")
    assert answer.to_pylist() == [{"country": "CH", "n": 5}, {"country": None, "n": 15}]
    assert open_dataset(str(path)).count_rows() == 20
    version = DeltaTable(path).version()
    with pytest.raises(
        SchemaMismatchError, match="made by a later version: it has the column `country`; up"
    ) as e:
        EvidenceTable.open_or_create(str(path))
    assert e.value.fields == {"column": "country", "expected": "absent", "found": "string"}
    with pytest.raises(SchemaMismatchError, match="made by a later version"):
        optimize(str(path), target_size_bytes=2**30)
    assert DeltaTable(path).version() == version


def test_a_later_version_reads_a_table_that_has_not_grown_yet(path: Path) -> None:
    version = DeltaTable(path).version()
    rows, exported = later(path, READS)
    assert rows == [{"country": None, "seq": seq, "leaf": True} for seq in range(10)]
    assert exported == 10
    assert DeltaTable(path).version() == version
