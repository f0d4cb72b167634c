"""Values that the tool would treat alike are one key; different ones are never one by accident."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from policies.canonical_values import canonical, digest
from policies.catalog import ARGUMENT_TYPES

ALIKE: list[tuple[str, list[Any]]] = [
    ("iban", ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89\u00a03704\u202f0044 0532 0130 00\n",
              "DE89-3704-0044-0532-0130-00", "ＤＥ89370400440532013000", "\u200bDE89370400440532013000"]),
    ("iban", [12345, "12345", "12 345"]),
    ("email", ["Ann.Lee@Example.COM", "ann.lee@example.com", " ann.lee@example.com ", "Ann Lee <ann.lee@example.com>",
               "ａnn.lee@example.com", "ann.lee@example.com."]),
    ("email", ["x@bücher.example", "X@BÜCHER.example", "x@xn--bcher-kva.example", "x@bu\u0308cher.example"]),
    ("url", ["https://example.com/a", "HTTPS://EXAMPLE.com/a/", "https://example.com:443/a", "https://example.com./a",
             "https://example.com/./b/../a", "https://example.com/%61", " https://example.com/a\n",
             "https:\\\\example.com\\a",
             "https://example.com/a?", "https://example.com/a#"]),
    ("url", ["http://example.com", "http://example.com/", "http://example.com:80", "http://example.com:/"]),
    ("url", ["https://example.com/é", "https://example.com/%C3%A9", "https://example.com/%c3%a9"]),
    ("url", ["http://[::1]:8080/a", "http://[::1]:8080/a/"]),
    ("decimal", [12.5, "12.50", "12.5", "1.25e1", "125E-1", "1250.0e-2"]),
    ("decimal", [0, 0.0, -0.0, "0", "-0.00", "0e5"]),
    ("integer", [7, 7.0, "7", "7.0", "70e-1"]),
    ("number", [1e22, 10**22, "1e22", "10000000000000000000000"]),
    ("boolean", [True, "true", "True", "TRUE"]),
    ("date", ["2026-03-01", "20260301", " 2026-03-01 ", "2026-W09-7"]),
    ("datetime", ["2026-03-01T10:00:00Z", "2026-03-01t10:00:00z", "2026-03-01 10:00:00+00:00",
                  "2026-03-01T12:00:00+02:00",
                  "20260301T100000Z", "2026-03-01T10:00Z", "2026-03-01T10:00:00.000Z"]),
    ("datetime", ["2026-03-01", "2026-03-01T00:00:00"]),
    ("string", ["caf\u00e9", "cafe\u0301"]),
    ("string", [7, 7.0, "7"]),
    ("any", [7, 7.0]),
    ("any", ["caf\u00e9", "cafe\u0301"]),
    ("object", [{"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}]),
    ("list", [[1.0, "x"], [1, "x"]]),
]  # fmt: skip
DIFFERENT: list[tuple[str, list[Any]]] = [
    ("iban", ["DE89370400440532013000", "DE89370400440532013001", "12-3", "123", "", "EVIL"]),
    ("email", ["ann@example.com", "ann@example.org", "bob@example.com", "ann", "example.com", "", "ann+x@example.com",
               "ann@xn--\u00e9", "straße@example.com", "ann@straße.example", "ann@strasse.example"]),
    ("url", ["https://example.com/a", "http://example.com/a", "https://example.com:8443/a", "https://example.com/A",
             "https://example.com/a/b", "https://example.com/a?x=1", "https://example.com/a#x", "example.com/a",
             "https://u@example.com/a", "http://[bad", "https://example.com:99999/a", "https://example.com/a%2Fb",
             "https://example.com/a?x=%26", "https://example.com/a?x=&", "mailto:a@example.com", "",
             "https://example.com/a?q=a\\b",
             "https://example.com/a?q=a/b"]),
    ("decimal", [12.5, 12.51, -12.5, "125", "twelve", "1_2.5", " 12.5", "1e99999999999999999999999", 10**400, "1e401",
                 True,
                 "0." + "0" * 5000 + "1", [12.5]]),
    ("boolean", [True, False, "yes", 1, 0, 1.5]),
    ("date", ["2026-03-01", "2026-03-02", "2026-13-01", "2026-03-01T10:00:00", "tomorrow", ""]),
    ("datetime", ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00", "2026-03-01T10:00:00.0000001Z",
                  "2026-03-01T10:00:00.0000002Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "now"]),
    ("string", ["a", "A", "a ", " a", "", "null", "[]", "ﬁ", "fi"]),
    ("any", [7, "7", "7.0", "n7e0", True, "true", "btrue", 1, [], "[]", {}, "{}", [7], ["7"], float("inf"), "inf",
             float("-inf"), "\ud800", [None], {"a": None}]),
    ("object", [{}, {"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [], "{}", {"a": 2**60}, {"a": 2**60 + 1},
                {"a": "\ud800"}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "values"), ALIKE, ids=[f"{type_} {values[0]}"[:40] for type_, values in ALIKE]
)
def test_one_value_is_one_key_however_it_is_written(type_: str, values: list[Any]) -> None:
    forms = {canonical(value, type_) for value in values}
    assert len(forms) == 1 and None not in forms, forms


@pytest.mark.parametrize(("type_", "values"), DIFFERENT, ids=[type_ for type_, _ in DIFFERENT])
def test_different_values_are_different_keys(type_: str, values: list[Any]) -> None:
    for left, right in combinations(values, 2):
        assert canonical(left, type_) != canonical(right, type_), (left, right)


@pytest.mark.parametrize("type_", ARGUMENT_TYPES)
def test_only_null_has_no_form(type_: str) -> None:
    assert canonical(None, type_) is None
    for value in (
        "",
        "\ud800",
        "x" * 100_000,
        2**70,
        -(10**400),
        float("nan"),
        5e-324,
        True,
        [],
        {},
        [[{"a": None}]],
    ):
        assert isinstance(canonical(value, type_), bytes)


def test_a_digest_depends_on_value_and_key() -> None:
    first = digest(b"sx", b"k" * 32)
    assert len(first) == 16
    assert first == digest(b"sx", b"k" * 32) != digest(b"sy", b"k" * 32)
    assert first != digest(b"sx", b"l" * 32)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("iban", "DE89370400440532013000"),
        ("email", "ann@example.com"),
        ("url", "https://example.com/a"),
        ("date", "2026-03-01"),
        ("datetime", "2026-03-01T10:00:00+00:00"),
    ],
)
def test_a_text_that_is_written_in_full_is_one_value_whatever_the_catalog_says_it_is(
    type_: str, value: str
) -> None:
    assert canonical(value, type_) == canonical(value, "string") == canonical(value, "any")
