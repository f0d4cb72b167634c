"""docs/stops.md is held to the code: its commands are ours, its policy compiles, its tables name what there is."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.stops import registry as stop_registry
from actors.stops import room
from actors.stops.live import TARGET_TYPES
from controlplane.cli.app import app
from controlplane.cli.stop import TargetType
from controlplane.service.management.bodies import StopTarget
from policies.compile import compile_sources
from policies.stops import StopClause

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "stops.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.split("```")[1].splitlines() if line.startswith("controlplane ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_is_one_of_ours(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    shown = CliRunner().invoke(app, [*words, "--data", str(tmp_path / "none")])
    assert shown.exit_code == 1 and "no control plane" in shown.stderr, shown.output


def test_the_page_names_every_kind_of_target_as_the_command_and_the_door_have_them() -> None:
    written = re.findall(r"^\| `([a-z]+)(?: [A-Z]+)?` \|", PAGE.split("## What a stop does")[0], re.MULTILINE)
    door: Any = StopTarget.model_fields["type"].annotation
    assert set(written) == set(TARGET_TYPES) == {one.value for one in TargetType} == set(door.__args__)


def test_the_policy_of_the_page_stops_whom_it_says() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    bundle = compile_sources([("stops.md", text)])
    hour = StopClause(agent=True, workflow=False, lasts_us=3_600_000_000)
    assert bundle.stops == {"containment/probing": hour}


def test_the_page_names_every_event_that_the_registry_leaves() -> None:
    source = Path(stop_registry.__file__).read_text(encoding="utf-8")
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    left = {text for text in texts if isinstance(text, str) and re.fullmatch(r"stop_[a-z_]+", text)}
    assert left == set(re.findall(r"^\| `(stop_\w+)` \|", PAGE, re.MULTILINE))
    types = (ROOT / "docs" / "evidence-format.md").read_text(encoding="utf-8")
    assert all(f"`{event}`" in types for event in left)


def test_the_numbers_of_the_page_are_the_codes() -> None:
    assert f"at most {room.MAX_GLOBS} of them" in PAGE
    assert stop_registry.RELEASE_REQUEST_US == 24 * 3_600_000_000 and "within a day" in PAGE
    assert stop_registry.STOPS_KEPT_US == 7 * 24 * 3_600_000_000 and "for a week" in PAGE


def test_every_file_that_the_page_links_to_is_there() -> None:
    for target, heading in re.findall(r"\]\(([\w.-]+)(?:#([\w-]+))?\)", PAGE):
        text = (ROOT / "docs" / target).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-")
            for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert not heading or heading in headings, (target, heading)
