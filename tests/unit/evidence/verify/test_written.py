"""What our own writer writes verifies, whatever happens to it on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import NOON_US, log
from unit.evidence.signed_tables import Deployment

from evidence.delta.maintenance import Cadence
from evidence.verify.report import Report
from evidence.verify.verifier import Options, verify

CADENCE = Cadence(
    compaction_commits=3, checkpoint_commits=4, large_compaction_commits=7, replaced_files_hours=0
)


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path).made()


def verified(made: Deployment) -> Report:
    return verify(
        str(made.path), Options(keys=[str(made.key())], checkpoints=[str(made.files.folder)], jobs=1)
    )


def test_landings_of_many_logs_with_compactions_and_checkpoints(made: Deployment) -> None:
    table = made.opened(cadence=CADENCE)
    for step in range(12):
        batches = [log(step * 5, step * 5 + 4, log_id=f"host-00{n}", step_us=2_000_000_000) for n in range(3)]
        table.land(batches, ingest_time_us=NOON_US)
        if table.heads is not None:
            table.heads.record()
    report = verified(made)
    assert report.holds, report.faults
    assert (report.rows, report.checkpoints_table) == (180, True)


def test_several_writers_and_a_writer_that_was_killed_before_it_recorded(made: Deployment) -> None:
    one, two = made.opened(), made.opened()
    for step in range(6):
        table = one if step % 2 else two
        table.land([log(step * 5, step * 5 + 4)], ingest_time_us=NOON_US)
        if step != 3 and table.heads is not None:
            table.heads.record()
    report = verified(made)
    assert report.holds, report.faults


def test_rotations(made: Deployment) -> None:
    table = made.opened()
    first = made.key()
    for step in range(3):
        table.land([log(step * 5, step * 5 + 4)], ingest_time_us=NOON_US)
        made.keys.rotate(time="2026-09-04T12:00:00Z", random_bytes=made.seed)
        made.keys.rotate(time="2026-09-04T12:00:01Z", random_bytes=made.seed)
    table.land([log(15, 19)], ingest_time_us=NOON_US)
    report = verified(made)
    assert report.holds, report.faults
    assert report.keys[0] == str(first)
    assert len(report.keys) == 7
    assert verify(str(made.path), Options(keys=[str(first)], jobs=1)).holds


def test_a_table_that_began_without_signatures(made: Deployment) -> None:
    from evidence.delta.table import EvidenceTable

    EvidenceTable.open_or_create(str(made.path)).land([log(0, 9)], ingest_time_us=NOON_US)
    made.opened().land([log(10, 19)], ingest_time_us=NOON_US)
    report = verified(made)
    assert report.holds, report.faults


def test_a_copy_of_the_table_alone(made: Deployment, tmp_path: Path) -> None:
    made.opened().land([log(0, 9)], ingest_time_us=NOON_US)
    copy = tmp_path / "elsewhere" / "copied"
    shutil.copytree(made.path, copy)
    for folder, _, files in os.walk(copy):
        for name in files:
            (Path(folder) / name).chmod(0o400)
    report = verify(str(copy), Options(keys=[str(made.key())], jobs=1))
    assert (report.holds, report.checkpoints_table) == (True, False)
