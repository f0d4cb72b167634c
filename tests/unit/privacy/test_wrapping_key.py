"""The wrapping key: made once, read by whoever owns it, refused where others could read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controlplane.privacy.wrapping_key import read_wrapping_key
from controlplane.settings import DataDirectoryError, Settings


def test_a_data_directory_has_one_and_keeps_it(tmp_path: Path) -> None:
    path = Settings.create_or_open(tmp_path / "cp").wrapping_key
    key = read_wrapping_key(path)
    assert len(key) == 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    Settings.create_or_open(tmp_path / "cp")
    assert read_wrapping_key(path) == key


def test_a_data_directory_from_before_there_were_any_gets_one_and_its_other_secrets_stay(
    tmp_path: Path,
) -> None:
    settings = Settings.create_or_open(tmp_path / "cp")
    before = settings.secrets.read_bytes()
    settings.wrapping_key.unlink()
    Settings.create_or_open(tmp_path / "cp")
    assert len(read_wrapping_key(settings.wrapping_key)) == 32
    assert settings.secrets.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"wrapping_key": "zz"}', '{"wrapping_key": "00"}', '{"wrapping_key": 1}']
)
def test_one_that_is_damaged_is_refused(tmp_path: Path, text: str) -> None:
    path = Settings.create_or_open(tmp_path / "cp").wrapping_key
    path.write_text(text)
    with pytest.raises(DataDirectoryError):
        read_wrapping_key(path)


def test_one_that_others_can_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = Settings.create_or_open(tmp_path / "cp").wrapping_key
    path.chmod(0o644)
    with pytest.raises(DataDirectoryError, match="readable by others"):
        read_wrapping_key(path)
    path.unlink()
    with pytest.raises(DataDirectoryError, match="cannot read"):
        read_wrapping_key(path)
