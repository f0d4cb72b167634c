"""Where evidence is signed and kept: what `up` makes, remembers and refuses."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
from unit.lifecycle.test_up import running

from controlplane.errors import ConflictError
from controlplane.evidence_settings import EvidenceSettings, EvidenceSettingsError, evidence_keys
from controlplane.lifecycle.up import Request, settle
from controlplane.settings import Settings
from evidence.errors import EvidenceKeyError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.create_or_open(tmp_path / "cp")


def folder_of(settings: Settings) -> Path:
    return Path(EvidenceSettings.read(settings.evidence_settings).checkpoint_folder(settings))


def test_up_makes_the_evidence_key_once(settings: Settings) -> None:
    settle(Request(data=settings.data))
    key = evidence_keys(settings).read().public
    assert key.name == f"controlplane-{settings.instance}"
    settle(Request(data=settings.data))
    assert evidence_keys(settings).read().public == key


def test_up_makes_no_new_key_in_the_place_of_a_lost_one(settings: Settings) -> None:
    settle(Request(data=settings.data))
    settings.evidence_key.unlink()
    with pytest.raises(EvidenceKeyError, match="from a backup"):
        settle(Request(data=settings.data))


def test_the_folder_of_checkpoint_files_is_remembered_and_not_changed_while_it_runs(
    settings: Settings, tmp_path: Path
) -> None:
    default = settings.data / "evidence" / "checkpoint-files"
    settle(Request(data=settings.data))
    assert not settings.evidence_settings.exists()
    assert folder_of(settings) == default
    for folder in (tmp_path / "worm", None, tmp_path / "worm"):
        settle(Request(data=settings.data, checkpoint_files=None if folder is None else str(folder)))
        assert folder_of(settings) == tmp_path / "worm"
    running(settings)
    settle(Request(data=settings.data, checkpoint_files=str(tmp_path / "worm")))
    with pytest.raises(ConflictError) as caught:
        settle(Request(data=settings.data, checkpoint_files=str(tmp_path / "other")))
    assert caught.value.code == "runs_with_other_evidence_settings"
    assert str(tmp_path / "worm") in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "[]", '{"checkpoint_files": 1}', '{"checkpoint_files": "here"}', '{"x": 1}']
)
def test_evidence_settings_that_are_none_are_told_by_file(settings: Settings, text: str) -> None:
    settings.evidence_settings.write_text(text)
    with pytest.raises(EvidenceSettingsError, match=str(settings.evidence_settings)):
        settle(Request(data=settings.data))


@pytest.mark.parametrize("table", ["decisions", "checkpoints"])
def test_checkpoint_files_do_not_lie_in_a_table_that_would_remove_them(
    settings: Settings, table: str
) -> None:
    folder = settings.data / "logs" / ".." / "evidence" / table / "files"
    with pytest.raises(EvidenceSettingsError, match="lies in a table"):
        settle(Request(data=settings.data, checkpoint_files=str(folder)))
    assert not settings.evidence_settings.exists()


def test_the_key_itself_does_not_travel_to_the_writer(settings: Settings) -> None:
    settle(Request(data=settings.data))
    seed = json.loads(settings.evidence_key.read_text())["private"]
    sent = pickle.dumps(evidence_keys(settings))
    assert b"evidence.json" in sent
    assert seed.encode() not in sent and base64.b64decode(seed) not in sent
