"""docs/architecture.md says which invariants there are and where; the code says the same."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("actors", "controlplane", "evidence", "graph", "policies", "sdk")
_ROW = re.compile(r"^\| ([a-z ]+) \| .+ \| ((?:`[a-z_/]+\.py`(?:, )?)+) \|$", re.MULTILINE)
_MARK = re.compile(r"INVARIANT \(([a-z ]+)\)")


def test_every_invariant_stands_where_the_page_says_and_every_one_in_the_code_is_on_the_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    listed = {(name, file) for name, files in _ROW.findall(page) for file in re.findall(r"`([^`]+)`", files)}
    marked = {
        (name, str(path.relative_to(ROOT)))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in _MARK.findall(path.read_text())
    }
    assert len(marked) > 20
    assert listed == marked, "on the page or in the code alone: " + str(sorted(listed ^ marked))


def test_every_file_and_command_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|md))`", page))
    assert named and all((ROOT / file).is_file() for file in named), sorted(
        file for file in named if not (ROOT / file).is_file()
    )
