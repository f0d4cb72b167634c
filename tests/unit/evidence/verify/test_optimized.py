"""A table that an operator optimized verifies, also beside the writer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import DAY_US, NOON_US, log
from unit.evidence.signed_tables import Deployment

from evidence.delta.maintenance import Cadence
from evidence.delta.optimizing import optimize
from evidence.verify.verifier import Options, verify

LARGE = 128 * 2**20


@pytest.mark.parametrize("z_order", [[], ["agent_id", "event_time"]])
def test_what_an_operator_rewrote_between_landings_verifies(z_order: list[str], tmp_path: Path) -> None:
    made = Deployment(tmp_path).made()
    table = made.opened(cadence=Cadence(compaction_commits=3, checkpoint_commits=4))
    for step in range(8):
        table.land([log(step * 5, step * 5 + 4, step_us=DAY_US // 20)], ingest_time_us=NOON_US)
        if step % 3 == 1:
            assert optimize(str(made.path), target_size_bytes=LARGE, z_order=z_order)
    for jobs in (1, 2):
        report = verify(str(made.path), Options(keys=[str(made.key())], jobs=jobs))
        assert report.holds, report.faults
        assert report.rows == 40
    optimize(str(made.path), target_size_bytes=LARGE, z_order=["seq"])
    report = verify(str(made.path), Options(keys=[str(made.key())], jobs=1))
    assert report.holds, report.faults


def test_what_an_operator_rewrites_beside_a_signing_writer_verifies(tmp_path: Path) -> None:
    made = Deployment(tmp_path).made()
    table = made.opened(cadence=Cadence(compaction_commits=5, checkpoint_commits=7))
    table.land([log(0, 4, step_us=DAY_US // 20)], ingest_time_us=NOON_US)
    over = threading.Event()

    def rewritten() -> int:
        count = 0
        while not over.is_set():
            count += len(optimize(str(made.path), target_size_bytes=LARGE, z_order=["seq"]))
        return count

    pool = ThreadPoolExecutor(max_workers=1)
    operator = pool.submit(rewritten)
    for step in range(1, 60):
        landing = table.land([log(step * 5, step * 5 + 4, step_us=DAY_US // 20)], ingest_time_us=NOON_US)
        assert landing.landed == {"host-000": step * 5 + 4}, landing
    over.set()
    assert operator.result()
    report = verify(str(made.path), Options(keys=[str(made.key())], jobs=1))
    assert report.holds, report.faults
    assert report.rows == 300
