from __future__ import annotations

import pytest

from policies.error import PolicyErrors, Source
from policies.yaml_tree import MAX_DEPTH, MAX_SOURCE_BYTES, read_yaml


def read(text: str) -> list[object]:
    return [node.plain() for node in read_yaml(Source(name="f.yaml", text=text))]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("true", True), ("False", False),
        ("~", None), ("null", None), ("1", 1), ("-1", -1), ("0x1f", 31), ("0o17", 15), ("017", 17), ("1.5", 1.5),
        ("1e3", 1000.0), ("1_000", "1_000"), ("12:30", "12:30"), ("2026-01-01", "2026-01-01"), ("'1'", "1"),
        ('"true"', "true"), ("9007199254740992", 2**53), ("١", "١"),
    ],
)  # fmt: skip
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    assert read(f"a: {written}") == [{"a": value}]


def test_keys_are_text_even_where_they_look_like_booleans_or_numbers() -> None:
    assert read("{on: 1, no: 2, 3: 4}") == [{"on": 1, "no": 2, "3": 4}]


def test_two_surrogates_that_json_writes_for_one_character_are_that_character() -> None:
    assert read(r'{"\ud83d\ude00": "a\ud83d\ude00\ud83d\ude01"}') == [{"\U0001f600": "a\U0001f600\U0001f601"}]


def test_empty_documents_are_left_out() -> None:
    assert read("---\n---\na: 1\n---\n# nothing\n") == [{"a": 1}]


def test_every_value_knows_its_line_and_column() -> None:
    (root,) = read_yaml(Source(name="f", text="a:\n  - b: 1\n    c: [x, y]\n"))
    node = root.find(("a", 0, "c", 1))
    assert (node.line, node.column) == (3, 12)
    assert root.find(("a", 0, "c")).key == (3, 5)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: &x 1", "alias", 1),
        ("a: 1\nb: *x", "alias", 2),
        ("a: &x [1]\nb: [*x, *x]", "alias", 1),
        ("a: !!python/object:os.system x", "tag", 1),
        ("a: !x 1", "tag", 1),
        ("a: 1\nb: 2\na: 3", "duplicate_key", 3),
        ("? [a]\n: 1", "invalid_key", 1),
        ("a: [", "invalid_yaml", 1),
        ("\ta: 1", "invalid_yaml", 1),
        ('a: "\\0"', "nul", 1),
        ("a: 1\nb: \0", "nul", 2),
        ('a: "\\ud800"', "surrogate", 1),
        ("a: 9007199254740993", "number", 1),
        ("a: " + "9" * 5000, "number", 1),
        ("a: 1e999", "number", 1),
        ("a: .nan", "number", 1),
        ("a: -.inf", "number", 1),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too_deep", 1),
        ("[" * 100_000, "too_deep", 1),
        ("a" * (MAX_SOURCE_BYTES + 1), "too_large", 1),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_what_policies_do_not_use_is_refused_with_its_place(text: str, code: str, line: int) -> None:
    with pytest.raises(PolicyErrors) as refused:
        read(text)
    (error,) = refused.value.errors
    assert (error.code, error.line) == (code, line)


@pytest.mark.parametrize("text", ["{past: once[10m] a, then: deny}", "[not a since[1h] b, c]"])
def test_a_window_in_a_text_that_has_to_be_quoted_comes_with_the_hint_to_quote_it(text: str) -> None:
    with pytest.raises(PolicyErrors, match=r"not valid YAML: .*; inside .* is quoted"):
        read(text)


def test_what_is_not_yaml_for_another_reason_comes_without_it() -> None:
    with pytest.raises(PolicyErrors) as refused:
        read("a: [1, 2")
    assert refused.value.errors[0].hint == ""
