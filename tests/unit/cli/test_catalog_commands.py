"""`controlplane catalog`: draft and check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]

TOOLS = {
    "tools": [
        {
            "name": "send_mail",
            "description": "Sends a mail.",
            "inputSchema": {
                "properties": {"to": {"type": "string"}, "body": {"type": "string"}},
                "required": ["to"],
            },
        },
        {"name": "frobnicate", "inputSchema": {"properties": {"x": {}}}},
    ]
}


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return path


def test_a_draft_is_yaml_with_a_reason_behind_each_proposal(run: Run, tools: Path) -> None:
    result = run("catalog", "draft", tools)
    assert result.exit_code == 0
    assert result.stdout.startswith("# Drafted from tools.json.")
    assert "    effects: [send]  # send: `send` in its name\n" in result.stdout
    assert (
        "      to: {type: string, role: destination, required: true}  # `to` in its name\n" in result.stdout
    )
    assert "    # effects: left open  # check: no word tells what it does\n" in result.stdout


def test_a_draft_as_json_has_its_reasons_as_fields(run: Run, tools: Path) -> None:
    told = json.loads(run("catalog", "draft", tools, "--json").stdout)
    send, frobnicate = told["tools"]
    assert send["effects"] == {"value": ["send"], "because": "send: `send` in its name", "check": False}
    assert send["args"]["to"]["role"]["value"] == "destination"
    assert frobnicate["effects"]["value"] is None
    assert told["checks"] > 0


def test_a_draft_never_replaces_a_file(run: Run, tools: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    assert run("catalog", "draft", tools, "-o", catalog).exit_code == 0
    drafted = catalog.read_text()
    again = run("catalog", "draft", tools, "-o", catalog)
    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert catalog.read_text() == drafted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "malformed json"),
        ("{}", "no tool in it"),
        ('[{"name": "a", "name": "b"}]', "name"),
        ("[" * 40 + "]" * 40, "deep"),
        (" " * (1 << 20) + "[]", "at most"),
        ('[{"name": "**"}]', "is no id"),
    ],
)
def test_hostile_input_is_refused_in_one_line(run: Run, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "tools.json"
    path.write_text(text)
    result = run("catalog", "draft", path)
    assert result.exit_code == 1
    assert f"`{path}`: " in result.stderr and says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_check_reports_findings_and_fails_on_errors(run: Run, tools: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    run("catalog", "draft", tools, "-o", catalog)
    fine = run("catalog", "check", catalog, "--tools", tools)
    assert fine.exit_code == 0
    assert "[open_effects]" in fine.stdout
    assert fine.stdout.endswith("warnings\n")
    assert run("catalog", "check", catalog, "--strict").exit_code == 1
    more = tmp_path / "more.json"
    more.write_text(json.dumps([{"name": "delete_mail"}]))
    drifted = run("catalog", "check", catalog, "--tools", more, "--json")
    assert drifted.exit_code == 1
    told = json.loads(drifted.stdout)
    assert told["errors"] == 1
    assert [one["code"] for one in told["findings"] if one["level"] == "error"] == ["missing_tool"]


def test_check_says_what_does_not_load(run: Run, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("kind: Catalog\ntools: {t: {effects: [steal]}}\n")
    result = run("catalog", "check", catalog)
    assert result.exit_code == 1
    assert "[unknown_value]" in result.stdout
