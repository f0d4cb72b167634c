"""`controlplane keys evidence`, against a data directory alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from evidence.note import PublicKey, parse_notes
from evidence.rotation import Rotation

Run = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "cp"


def test_a_key_is_made_shown_and_rotated(run: Run, data: Path) -> None:
    made = run("keys", "evidence", "create", "--name", "treasury.example.org", "--data", data)
    first = PublicKey.parse(made.stdout)
    assert (made.exit_code, first.name) == (0, "treasury.example.org")
    rotated = run("keys", "evidence", "rotate", "--data", data, "--json")
    answer = json.loads(rotated.stdout)
    shown = run("keys", "evidence", "show", "--data", data, "--json")
    assert answer["old"] == str(first)
    assert (
        answer["new"] == json.loads(shown.stdout)["vkey"] == (data / "evidence/keys.vkey").read_text().strip()
    )
    (note,) = parse_notes((data / "evidence/keys.notes").read_text())
    assert Rotation.verified(note).old == first


def test_a_second_create_changes_nothing_and_says_so(run: Run, data: Path) -> None:
    first = run("keys", "evidence", "create", "--data", data)
    again = run("keys", "evidence", "create", "--name", "another", "--data", data)
    assert again.stdout == first.stdout
    assert "there is a key already" in again.stderr


@pytest.mark.parametrize("command", ["show", "rotate"])
def test_without_a_key_one_is_told_how_to_make_one(run: Run, data: Path, command: str) -> None:
    assert run("keys", "evidence", "create", "--data", data).exit_code == 0
    (data / "keys" / "evidence.json").unlink()
    done = run("keys", "evidence", command, "--data", data)
    assert done.exit_code == 1
    assert "keys evidence create" in done.stderr


def test_a_name_with_a_space_is_refused(run: Run, data: Path) -> None:
    done = run("keys", "evidence", "create", "--name", "a b", "--data", data, "--json")
    assert (done.exit_code, json.loads(done.stderr)["error"]["code"]) == (1, "evidence_key")


def test_no_command_prints_the_private_half(run: Run, data: Path) -> None:
    printed = run("keys", "evidence", "create", "--data", data).output
    seed = json.loads((data / "keys/evidence.json").read_text())["private"]
    for words in (["show"], ["show", "--json"], ["rotate"], ["rotate", "--json"]):
        printed += run("keys", "evidence", *words, "--data", data).output
    later = json.loads((data / "keys/evidence.json").read_text())["private"]
    assert seed not in printed and later not in printed
