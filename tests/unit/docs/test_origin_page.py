"""`docs/origin.md` names the facts, forms and bounds that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.origin import Fact, decoding, origins, spelling, telling, tokens, told, units
from policies.origin.tokens import only_name, read

PAGE = (Path(__file__).parents[3] / "docs" / "origin.md").read_text()


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_facts_stand_in_their_order() -> None:
    assert [row[0].strip("`") for row in rows("Facts")] == [fact.value for fact in Fact]
    assert [fact.badness for fact in Fact] == sorted(fact.badness for fact in Fact)


@pytest.mark.parametrize(
    "row", [row for row in rows("Tokens") if row[0].startswith("`")], ids=lambda row: row[0]
)
def test_examples_in_a_row_are_one_token_of_its_form(row: list[str]) -> None:
    form = row[0].strip("`")
    examples = re.findall(r"`([^`]+)`", row[2])
    found = [tokens.as_one_name(text) or only_name(read(text).words) for text in examples]
    assert all(name is not None and name.startswith(form) for name in found)
    assert len(set(found)) == (1 if form != "i:" else len(examples))


def test_every_cue_is_named() -> None:
    (row,) = (row for row in rows("Tokens") if row[0] == "`n:`")
    assert f"at least {spelling.FEWEST_DIGITS} digits" in row[1]
    named = set(re.findall(r"`([^`]+)`", row[1]))
    assert named - {"#"} == tokens.CUES - {"ids"}
    assert {f"{decoding.DEPTH} levels"} == {"3 levels"}


def test_the_bounds_are_the_codes() -> None:
    found = {row[0]: row[1] for row in rows("Bounds")}
    assert found == {
        "characters read of a task or result": f"{telling.MOST_CHARACTERS:,}",
        "leaves read of a result": f"{telling.MOST_LEAVES:,}",
        "characters decoded of a text": f"{decoding.MOST_CHARACTERS:,}",
        "names / words / pairs of one result": f"{told.MOST_NAMES:,} / {told.MOST_WORDS:,} / {told.MOST_PAIRS:,}",
        "names of a workflow": f"{origins.MOST_NAMES:,}",
        "words and pairs of a workflow": f"{origins.MOST_PHRASES:,}",
        "of these, the task's, never forgotten": "half",
        "results that an explanation can name": f"{origins.MOST_SOURCES}",
        "results awaited": f"{origins.MOST_AWAITED}",
        "units of an argument": f"{units.MOST_UNITS}",
        "characters of one argument's value": f"{units.MOST_CHARACTERS:,}",
        "state": "64 KiB",
    }
    assert f"{telling.LONGEST_VALUE} characters and {telling.MOST_VALUE_WORDS} words" in PAGE


def test_a_full_state_fits() -> None:
    fixed = 1 + 16 + 2 + 2 * 2 + 3 * 2
    sources = 16 * (origins.MOST_SOURCES + origins.MOST_AWAITED)
    assert fixed + sources + origins.MOST_NAMES * (8 + 2) + origins.MOST_PHRASES * (4 + 2) <= 65_536
