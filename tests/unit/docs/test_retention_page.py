"""docs/retention.md is held to the code: its commands are ours, its numbers and events the code's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.retention import entries, runs
from controlplane.cli.app import app
from evidence.delta.maintenance import Cadence
from evidence.retention import MAX_PARTITIONS, SIX_MONTHS_DAYS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.split("```")[1].splitlines() if line.startswith("controlplane ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_is_one_of_ours(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    shown = CliRunner().invoke(app, [*words, "--data", str(tmp_path / "none")])
    assert shown.exit_code == 1 and "no control plane" in shown.stderr, shown.output


def test_the_page_names_every_option_of_a_hold() -> None:
    shown = CliRunner().invoke(app, ["evidence", "hold", "add", "--help"], env={"COLUMNS": "200"}).stdout
    theirs = {"--reason", "--data", "--url", "--key", "--json", "--help"}
    assert set(re.findall(r"--[a-z]+", PAGE.split("## Legal hold")[1].split("Nobody needs")[0])) == (
        set(re.findall(r"--[a-z]+", shown.split("Options")[1])) - theirs
    )


def test_the_numbers_of_the_page_are_the_codes() -> None:
    assert f"{SIX_MONTHS_DAYS} days (six months)" in PAGE
    assert f"{MAX_PARTITIONS} dates a run" in PAGE and f"{runs.SCHEDULED_PARTITIONS} dates at most" in PAGE
    assert entries.MAX_HOLDS == 1_000 and "1 000 holds" in PAGE
    assert Cadence().replaced_files_hours == 2 and "two hours later at the earliest" in PAGE
    assert (runs.FIRST_AFTER_S, runs.EVERY_S) == (600, 86_400) and "ten minutes after it started" in PAGE


def test_every_event_is_in_the_list_of_the_format() -> None:
    source = Path(entries.__file__).read_text(encoding="utf-8")
    events = set(re.findall(r'"(retention_set|hold_set|hold_released|retention)", tenant', source))
    assert len(events) == 4
    page = (ROOT / "docs" / "evidence-format.md").read_text(encoding="utf-8")
    assert all(f"`{event}`" in page for event in events)
