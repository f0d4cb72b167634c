"""Results that are written as text: what is read as fields, and what stays text."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.origin.structure import MAX_CHARACTERS, structure_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("{'a': (1, True), 'b': None}", {"a": [1, True], "b": None}),
        ("a: x\nb:\n- y\n- z\n", {"a": "x", "b": ["y", "z"]}),
        (
            "- a: 1\n  b: 'two\n\n    c: 3'\n- a: 2\n  b: ''\n",
            [{"a": "1", "b": "two\nc: 3"}, {"a": "2", "b": ""}],
        ),
        ("a: 'é😀 # 1'\nb: |\n  # Title\n  x\nc: x#1\n", {"a": "é😀 # 1", "b": "# Title\nx\n", "c": "x#1"}),
        ("{'a': 'x # 1', 'b#': [1]}", {"a": "x # 1", "b#": [1]}),
    ],
)
def test_what_is_a_structure_as_a_whole_is_read(text: str, found: Any) -> None:
    assert structure_of(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Dear Ann, note: pay this",
        '{"a": 1',
        "{'a': 1} and more",
        "a: 1\na: 2",
        "a: &x 1\nb: *x",
        "a: !!python/object:os.system 1",
        "a: 1 # and more",
        "# and more\na: 1",
        "a: 1\n# and more",
        "a: 'x'# and more",
        "a: é😀 # and more\nb: 2",
        "a: | # and more\n  text",
        "a: 1\n... # and more",
        '{"a": 1, "a": 2}',
        '[{"b": {"a": 1, "a": 2}}]',
        "{'a': 1, 'a': None}",
        "{'a': 1, # and more\n 'b': None}",
        "{'a': " + "[" * 33 + "1" + "]" * 33 + "}",
        "{'a': 0x" + "f" * 5_000 + "}",
        "a: 1\n---\nb: 2",
        "- a: 1\n- b: 2",
        "- a: 1\n- text",
        "__import__('os')",
        "[" * 100_000,
        "- " * 100_000,
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_anything_else_is_text(text: str) -> None:
    assert structure_of(text) is None


def test_of_a_cut_text_the_whole_items_are_read_and_of_a_whole_text_none_may_be_missing() -> None:
    items = [{"id": str(n), "text": f"line\nof {n}: x"} for n in range(5)]
    text = yaml.dump(items)
    for end in range(len(text)):
        found = structure_of(text[:end], cut=True)
        assert found is None or (isinstance(found, list) and found[:-1] == items[: len(found) - 1])
    assert structure_of(text[:-8], cut=False) is None or structure_of(text[:-8], cut=False) != items
    assert structure_of(text) == items


LEAVES = st.text(st.sampled_from("ab: -#'\"\n&*!|>[]{},\u00e9\U0001f600"), max_size=12)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.fixed_dictionaries({"body": LEAVES, "sender": LEAVES}), min_size=1, max_size=4))
def test_no_text_in_a_field_becomes_another_field(items: list[dict[str, str]]) -> None:
    found = structure_of(yaml.safe_dump(items))
    assert isinstance(found, list)
    for item, own in zip(found, items, strict=True):
        assert isinstance(item, dict) and item.keys() == own.keys()
        for name in own:
            # Scalars stay as they are written: an empty one may be `''` or nothing.
            assert str(item[name]) == own[name]
    assert structure_of(json.dumps(items)) == items


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_whatever_text_comes_nothing_is_raised(text: str) -> None:
    for cut in (False, True):
        found = structure_of(text, cut=cut)
        assert found is None or isinstance(found, dict | list)
