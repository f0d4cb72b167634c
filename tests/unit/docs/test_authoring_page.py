"""docs/authoring.md is executed: its files, its commands, and what they print."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.service.in_process_plane import in_process_plane

from controlplane.cli.app import app
from controlplane.cli.policy import app as policy_commands
from policies.error import Source
from policies.lint.finding import CODES
from policies.loader import load_documents

PAGE = (Path(__file__).parents[3] / "docs" / "authoring.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = re.findall(r"```console\n\$ controlplane (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
(HAPPENED,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
EXPLAINED = 2  # the third of what happened


@dataclass
class Desk:
    """A folder with the page's files and the evidence of what happened."""

    folder: Path
    table: Path
    decisions: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.activate(FILES["desk.yaml"])
        plane.register("desk.1")
        session = plane.send("POST", "/v1/sessions", {"agent": "desk.1"}).json["session"]
        found = Desk(folder, plane.evidence)
        for step in json.loads(HAPPENED):
            context = {"arguments": step["arguments"], "session": session}
            body: dict[str, Any] = {
                "subject": {"type": "agent", "id": "desk.1"},
                "action": {"name": "call"},
                "resource": {"type": "tool", "id": step["tool"]},
                "context": context,
            }
            answer = plane.send("POST", "/access/v1/evaluation", body).json["context"]
            assert answer["effect"] == step["effect"]
            found.decisions.append(answer["id"])
            if "outcome" in step:
                plane.send("POST", f"/v1/decisions/{answer['id']}/outcome", {"status": step["outcome"]})
        plane.decision_rows()
        yield found


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """What a command prints in the desk's folder; simulations and explanations look at its evidence."""
    monkeypatch.chdir(desk.folder)
    for name in ("CONTROLPLANE_URL", "CONTROLPLANE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTROLPLANE_DATA", str(desk.folder / "none"))

    def printed(command: str) -> str:
        words = shlex.split(command.replace("DECISION", desk.decisions[EXPLAINED]))
        if words[1] == "simulate":
            words += ["--table", str(desk.table), "--recorded", "desk.yaml"]
        if words[1] == "explain":
            words += ["--table", str(desk.table), "--bundle", "desk.yaml"]
        return CliRunner().invoke(app, words).output

    return printed


def comparable(text: str) -> list[str]:
    """Without what is different each time: ids become their order of appearance, times and spaces nothing."""
    ids: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return ids.setdefault(found.group(), f"id-{len(ids)}")

    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", named, text)
    text = re.sub(r"\b(ses|wfl)_[\w.-]+", named, text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"\d+\.\d[smhd] before", "AGO", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_each_command_prints_what_the_page_shows(
    run: Callable[[str], str], command: str, expected: str
) -> None:
    assert comparable(run(command)) == comparable(expected)


def test_the_page_names_every_command_for_authors() -> None:
    names = {command.name for command in policy_commands.registered_commands}
    assert names == set(re.findall(r"^\| `controlplane policy (\w+)` \|", PAGE, flags=re.MULTILINE))


def test_the_page_names_every_code_of_lint() -> None:
    assert sorted(code for code in CODES if f"`{code}`" not in PAGE) == []


def test_every_file_of_the_page_loads() -> None:
    for name, text in FILES.items():
        load_documents([Source(name=name, text=text)])
