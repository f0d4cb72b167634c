"""What survives a loss of power is what was synced, and that in the right order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit.evidence.signed_tables import Deployment

from evidence import durability


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, and what was put in the place of what, in their order."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted(descriptor: int) -> None:
        done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        done.append(f"-> {target}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", replaced)
    return done


def test_a_file_that_somebody_wrote_and_could_not_sync_any_more_is_synced(
    tmp_path: Path, synced: list[str]
) -> None:
    path = tmp_path / "1.notes"
    path.write_text("a note")
    assert not durability.create_file(path, "a note", mode=0o444)
    assert synced == [str(path), str(tmp_path)]
    assert not durability.create_file(path, "another note", mode=0o444)
    assert path.read_text() == "a note"


def test_a_new_key_is_in_its_place_for_good_before_anything_is_signed_with_it(
    tmp_path: Path, synced: list[str]
) -> None:
    deployment = Deployment(tmp_path)
    deployment.made()
    keys = deployment.keys
    keys.rotate(time="2026-09-04T12:00:00Z", random_bytes=os.urandom)
    assert synced[synced.index(f"-> {keys.private}", 3) + 1] == str(keys.private.parent)
