"""The tables of limits in docs/operations.md give the numbers that stand in the code."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SECTION = (
    (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("\n## Limits\n")[1].split("\n## ")[0]
)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith("| what |")
]
PLACE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`((?: `[^`]+`)+)")
NAMED = [
    (what, bound, path, name)
    for what, bound, where, _ in ROWS
    for path, names in PLACE.findall(where)
    for name in re.findall(r"`([^`]+)`", names)
]


def spelled(name: str, value: Any) -> str:
    """How a number stands in the table, by the unit in its name."""
    match name.rsplit("_", 1)[-1]:
        case "BYTES":
            unit, size = next(
                (u, s) for u, s in (("GiB", 30), ("MiB", 20), ("KiB", 10)) if not value % (1 << s)
            )
            return f"{value >> size} {unit}"
        case "MS":
            return f"{value / 1000:g} s"
        case "US":
            hours = value / 3_600_000_000
            return f"{hours:g} h" if hours <= 24 else f"{hours / 24:g} days"
        case _:
            return f"{value:,}".replace(",", " ")


def found(path: str, name: str) -> Any:
    """A constant of a module, or the default of a dataclass's field: `Class.field`."""
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    owner, _, field = name.rpartition(".")
    if not owner:
        return getattr(module, name)
    return {each.name: each.default for each in dataclasses.fields(getattr(module, owner))}[field]


def test_every_row_of_ours_says_where_its_number_stands() -> None:
    assert len(ROWS) > 30 and all(len(row) == 4 for row in ROWS)
    elsewhere = [what for what, _, where, _ in ROWS if not PLACE.search(where)]
    assert elsewhere == ["connections"]  # Ray Serve's own


@pytest.mark.parametrize(("what", "bound", "path", "name"), NAMED)
def test_a_number_of_the_tables_is_the_codes(what: str, bound: str, path: str, name: str) -> None:
    literal = re.fullmatch(r'"?[a-z_]+"?(?:=|: )([0-9]+)', name)
    if literal:
        assert name in (ROOT / path).read_text(encoding="utf-8")
        number = f"{int(literal[1]):,}".replace(",", " ")
    elif name == "RAY_ROTATION_MAX_BYTES":
        assert '"RAY_ROTATION_MAX_BYTES": str(16 * 1024 * 1024)' in (ROOT / path).read_text(encoding="utf-8")
        number = "16 MiB"
    else:
        number = spelled(name, found(path, name))
    assert re.search(rf"(?<![0-9] )(?<![0-9]){re.escape(number)}(?![0-9]| [0-9])", bound), (what, number)


def test_a_bound_of_evidence_that_waits_is_said_the_same_everywhere() -> None:
    from actors.bounds import EVIDENCE_BACKLOG

    number = spelled("", EVIDENCE_BACKLOG)
    assert SECTION.count(number) == 2
    help_text = (ROOT / "controlplane" / "cli" / "running.py").read_text(encoding="utf-8")
    assert f"[default: {EVIDENCE_BACKLOG}]" in help_text
