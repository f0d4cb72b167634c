"""docs/verifying.md is held to the code: its commands are ours, its tables name every fault, status and member."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner
from unit.evidence.verify.signed_table import KEY_A, landed

from controlplane.cli.app import app
from evidence.proof import FORMAT
from evidence.prove import prove
from evidence.verify import command, report
from evidence.verify.__main__ import main
from evidence.verify.faults import KEPT_PER_CODE, Code, Fault

PAGE = (Path(__file__).parents[3] / "docs" / "verifying.md").read_text(encoding="utf-8")
COMMANDS = PAGE.split("```")[1].strip().splitlines()


def table_of(title: str) -> list[str]:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `?([a-z0-9_]+)`? \|", section, re.MULTILINE)[1:]  # but for the head


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_does_what_it_says(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = landed(tmp_path / "data" / "evidence")
    monkeypatch.chdir(tmp_path)
    proof = prove(str(table.path), "log-a-25", keys=[str(KEY_A.public)])
    Path("proof.json").write_text(proof.to_json(), encoding="utf-8")
    line = line.replace("$VKEY", str(KEY_A.public)).replace("/mnt/copy/decisions", str(table.path))
    line = line.replace("/mnt/worm/checkpoint-files", str(table.files))
    words = shlex.split(line.replace("01991f3a-5c00-7000-8000-0000000000aa", "log-a-25"))
    if words[0] == "python":
        assert main(words[3:]) == 0
        return
    if words[2] in ("prove", "verify") and str(table.path) not in words:
        words += ["--table", str(table.path)] if words[2] == "prove" else [str(table.path)]
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output


def test_the_table_of_faults_has_every_code_and_their_places() -> None:
    assert table_of("Faults") == list(get_args(Code))
    fields = Fault.__dataclass_fields__
    assert all(f"`{name}`" in PAGE for name in fields)


def test_the_statuses_are_the_codes() -> None:
    assert table_of("Exit status") == ["0", "1", "2"]
    assert (command.HOLDS, command.DOES_NOT_HOLD, command.CANNOT_TELL) == (0, 1, 2)
    assert f"the first {report.SHOWN} of a kind" in PAGE
    assert f"has the first {KEPT_PER_CODE} of each" in PAGE


def test_the_members_of_a_proof_are_those_that_are_written(tmp_path: Path) -> None:
    table = landed(tmp_path)
    written = json.loads(prove(str(table.path), "log-a-25", keys=[str(KEY_A.public)]).to_json())
    assert re.findall(r"^\| `(\w+)` \|", PAGE.split("## A proof of one event")[1], re.MULTILINE) == list(
        written
    )
    assert f"`{FORMAT}`" in PAGE
