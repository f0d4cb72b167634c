"""Dates leave a table in an object store as they leave one on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import DAY_US, NOON_US, log
from unit.evidence.s3_server import BUCKET, serving_apart

from evidence.checkpoint_files import CheckpointFiles
from evidence.delta.departing import depart, survey
from evidence.delta.heads import Signing
from evidence.delta.reading import open_dataset
from evidence.delta.signed_sizes import SignedSizes
from evidence.delta.table import EvidenceTable
from evidence.retention import Retirement
from evidence.signing_keys import KeyFiles, Signer
from evidence.storage import storage_at
from evidence.verify.verifier import Options, verify

PLACE = f"s3://{BUCKET}/fleet/decisions"
NAME = "controlplane-test"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serving_apart(monkeypatch):
        yield


def test_what_left_is_proven_and_landing_goes_on(server: None, tmp_path: Path) -> None:
    keys = KeyFiles(private=tmp_path / "key.json", notes=tmp_path / "notes", public=tmp_path / "vkey")
    keys.create(NAME, created_at="2026-09-04T12:00:00Z", random_bytes=bytes)
    files = CheckpointFiles(folder=storage_at(f"s3://{BUCKET}/kept"))
    signing = Signing(signer=Signer(files=keys), files=files)
    table = EvidenceTable.open_or_create(PLACE, signing=signing)
    for first in (0, 4):
        table.land([log(first, first + 3, step_us=DAY_US // 2)], ingest_time_us=NOON_US)
        assert table.heads is not None
        table.heads.record()

    found = survey(PLACE, (), keep_days=10, now_us=NOON_US + 13 * DAY_US)
    departure = depart(found, SignedSizes(f"s3://{BUCKET}/fleet/checkpoints", [keys.read().public]))
    table.retire(departure, Retirement.of(departure, name=NAME, time_us=NOON_US))

    left = open_dataset(PLACE).to_table(columns=["seq"]).column("seq").to_pylist()
    assert sorted(left) == list(range(8 - len(left), 8)) and 0 < len(left) < 8
    table = EvidenceTable.open_or_create(PLACE, signing=signing)
    assert table.land([log(8, 9, step_us=DAY_US // 2)], ingest_time_us=NOON_US).landed == {"host-000": 9}
    report = verify(PLACE, Options(keys=[str(keys.read().public)], jobs=1))
    assert report.holds and report.rows == len(left) + 2, report.faults
