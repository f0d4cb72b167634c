"""What `up` makes of a place for evidence, and who gets the credentials of an object store."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import NOON_US, log
from unit.evidence.s3_server import BUCKET, SECRET, S3Server, serving
from unit.lifecycle.test_up import running

from actors.store_access import take_access
from controlplane.errors import ConflictError
from controlplane.evidence_settings import EvidenceSettings, EvidenceSettingsError, evidence_place
from controlplane.lifecycle.environment import (
    attached_environment,
    cluster_environment,
    supervisor_environment,
)
from controlplane.lifecycle.ports import draw
from controlplane.lifecycle.store_access import leave_access
from controlplane.lifecycle.up import Request, settle
from controlplane.settings import Settings
from evidence.delta.table import EvidenceTable
from evidence.errors import EvidenceDamagedError, EvidencePlaceError, EvidenceUnavailableError

PLACE = f"s3://{BUCKET}/fleet/decisions"
ACCESS = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-central-1"}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings.create_or_open(tmp_path / "cp")
    yield settings
    shutil.rmtree(settings.private_temp, ignore_errors=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving(monkeypatch) as server:
        yield server


def up(settings: Settings, place: str | Path) -> None:
    settle(Request(data=settings.data, evidence=str(place)))


def test_the_place_is_remembered_and_not_changed_while_it_runs(server: S3Server, settings: Settings) -> None:
    settle(Request(data=settings.data))
    assert evidence_place(settings) == str(settings.evidence_table)
    up(settings, f"{PLACE}/")
    settle(Request(data=settings.data))
    assert evidence_place(settings) == PLACE
    assert SECRET not in settings.evidence_settings.read_text()
    running(settings)
    up(settings, PLACE)
    with pytest.raises(ConflictError) as caught:
        up(settings, f"s3://{BUCKET}/other")
    assert caught.value.code == "runs_with_other_evidence_settings"
    assert PLACE in caught.value.message


@pytest.mark.parametrize("folder", ["decisions", "decisions/files", "checkpoints/files"])
def test_checkpoint_files_lie_in_no_table_of_a_store_either(folder: str, settings: Settings) -> None:
    with pytest.raises(EvidenceSettingsError, match="lies in a table"):
        settle(Request(data=settings.data, evidence=PLACE, checkpoint_files=f"s3://{BUCKET}/fleet/{folder}"))
    assert not settings.evidence_settings.exists()


@pytest.mark.parametrize("place", ["s3:/bucket/prefix", "gs://bucket/prefix", "s3://bucket"])
def test_no_place_is_refused_and_not_remembered(place: str, settings: Settings) -> None:
    with pytest.raises(EvidencePlaceError):
        up(settings, place)
    assert not settings.evidence_settings.exists()


def test_a_store_that_cannot_be_reached_is_told_at_once(server: S3Server, settings: Settings) -> None:
    with pytest.raises(EvidenceUnavailableError, match="NoSuchBucket"):
        up(settings, "s3://another-bucket/decisions")
    server.stop()
    with pytest.raises(EvidenceUnavailableError, match="cannot read the evidence at `s3://"):
        up(settings, PLACE)
    assert not settings.evidence_settings.exists()


def copied(server: S3Server, table: Path) -> None:
    for path in table.rglob("*"):
        if path.is_file():
            key = f"fleet/decisions/{path.relative_to(table)}"
            server.client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


def test_once_rows_have_landed_only_a_whole_copy_of_them_is_gone_on_with(
    server: S3Server, settings: Settings
) -> None:
    table = EvidenceTable.open_or_create(str(settings.evidence_table))
    up(settings, settings.data / "elsewhere")  # an empty table is no reason to stay
    up(settings, settings.evidence_table)
    table.land([log(0, 9)], ingest_time_us=NOON_US)
    with pytest.raises(EvidencePlaceError, match="10 rows of evidence have landed") as caught:
        up(settings, PLACE)
    assert caught.value.code == "evidence_not_moved"
    copied(server, settings.evidence_table)
    newer = table.land([log(10, 19)], ingest_time_us=NOON_US)
    with pytest.raises(EvidencePlaceError) as caught:
        up(settings, PLACE)
    assert (caught.value.fields["expected"], caught.value.fields["found"]) == (
        newer.version,
        newer.version - 1,
    )
    copied(server, settings.evidence_table)
    up(settings, PLACE)
    assert EvidenceTable.open_or_create(evidence_place(settings)).landed("host-000") == 19
    # And back, but not to what lacks a file.
    next(settings.evidence_table.rglob("*.parquet")).unlink()
    with pytest.raises(EvidenceDamagedError, match="is missing"):
        up(settings, settings.evidence_table)
    assert evidence_place(settings) == PLACE


def test_another_table_of_the_same_version_is_no_copy(settings: Settings, tmp_path: Path) -> None:
    for place, name in ((settings.evidence_table, "host-000"), (tmp_path / "other", "host-001")):
        EvidenceTable.open_or_create(str(place)).land([log(0, 9, log_id=name)], ingest_time_us=NOON_US)
    with pytest.raises(EvidencePlaceError):
        up(settings, tmp_path / "other")


def test_only_the_supervisor_inherits_the_credentials(settings: Settings) -> None:
    base = ACCESS | {"PATH": "/bin", "HOME": "/root"}
    ports = draw(random.Random(1))
    assert ACCESS.items() <= supervisor_environment(settings, base).items()
    for environment in (
        cluster_environment(settings, ports, base, haproxy="/bin/false"),
        attached_environment(settings, "10.0.0.1:6379", base),
    ):
        assert not [name for name in environment if name.startswith("AWS_")]
        assert (environment["PATH"], environment["HOME"]) == ("/bin", "/root")


def test_they_are_left_for_the_writer_in_a_private_file_outside_of_the_data_directory(
    settings: Settings,
) -> None:
    leave_access(settings, ACCESS)
    assert not settings.store_access.exists()  # nothing lies in a store
    EvidenceSettings(table=PLACE).write(settings.evidence_settings)
    leave_access(settings, ACCESS | {"PATH": "/bin"})
    assert not settings.store_access.is_relative_to(settings.data)
    assert settings.store_access.stat().st_mode & 0o777 == 0o600
    assert settings.store_access.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(settings.store_access.read_text()) == ACCESS
    leave_access(settings, {"PATH": "/bin"})  # a supervisor that was started without them
    environ = {"PATH": "/usr/bin"}
    take_access(str(settings.store_access), environ)
    assert environ == ACCESS | {"PATH": "/usr/bin"}


def test_a_writer_without_such_a_file_takes_what_it_has(tmp_path: Path) -> None:
    environ = {"AWS_PROFILE": "fleet"}
    for path in ("", str(tmp_path / "none")):
        take_access(path, environ)
    assert environ == {"AWS_PROFILE": "fleet"}
