"""Amounts are read exactly, or not at all."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from policies.quantities import (
    MOST_WHOLE_DIGITS,
    ONE,
    PathError,
    amount_at,
    amount_of,
    parse_path,
    text_of,
    value_at,
)

AMOUNTS: list[tuple[Any, str]] = [
    (0, "0"), (-0.0, "0"), ("-0", "0"), ("0.00", "0"), ("0e999999999", "0"), (12000, "12000"), (12000.0, "12000"),
    (12.5, "12.5"), ("12.50", "12.5"), ("1.25e1", "12.5"), ("125E-1", "12.5"), (0.1, "0.1"), (-3.2, "-3.2"),
    (1e-07, "0.0000001"), (1e22, "1" + "0" * 22), (2**53 - 1, "9007199254740991"), (0.000012345, "0.000012345"),
    ("99999999999999999999.99", "99999999999999999999.99"), ("1e63", "1" + "0" * 63), (1e63, "1" + "0" * 63),
    ("1e-32", "0." + "0" * 31 + "1"), ("10e-33", "0." + "0" * 31 + "1"), ("1." + "0" * 200, "1"),
    (123456789012.345, "123456789012.345"), (10**64 - 1, "9" * 64),
]  # fmt: skip
NO_AMOUNTS: list[Any] = [
    None, True, False, [], [1], {}, {"v": 1}, "", "abc", " 1", "1 ", "1\n", "+1", "01", "1.", ".1", "1_000", "1,000",
    "0x10", "nan", "inf", "-inf", "NaN", "Infinity", "１", "1e", "€5", float("nan"), float("inf"), float("-inf"),
    "1e64", "-1e64", 10**64, -(10**64), 1e64, "1e-33", 1e-33, "0.1e-32", "1e999999999999999999999999", "1e-999999999",
    "1" * 257, "9" * 10_000_000, "0." + "0" * 10_000_000, b"1",
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), AMOUNTS, ids=[repr(value)[:30] for value, _ in AMOUNTS])
def test_an_amount_is_what_was_written(value: object, text: str) -> None:
    amount = amount_of(value)
    assert amount is not None
    assert Fraction(amount, ONE) == Fraction(text)
    assert text_of(amount) == text


@pytest.mark.parametrize("value", NO_AMOUNTS, ids=[repr(value)[:30] for value in NO_AMOUNTS])
def test_anything_else_is_no_amount(value: object) -> None:
    assert amount_of(value) is None


def test_a_thousand_tenths_are_a_hundred() -> None:
    assert sum(amount_of(0.1) or 0 for _ in range(1000)) == amount_of(100)
    assert (amount_of(0.1) or 0) + (amount_of(0.2) or 0) == amount_of("0.3")
    assert MOST_WHOLE_DIGITS == 64


@pytest.mark.parametrize(
    ("text", "path"),
    [("args.amount", ("amount",)), (" args.order.total ", ("order", "total")), ("args._a1.B", ("_a1", "B"))],
)
def test_a_path_names_one_argument(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "", "args", "args.", "amount", "args..a", "args.a.", "args.a + args.b", "args.a-args.b", 'args["a"]',
        "args.a[0]", "double(args.a)", "context.amount", "args.1a", "args.ä", "args .a", "args.a\n.b", "Args.a",
        "args.a" * 1000,
    ],
)  # fmt: skip
def test_anything_else_is_no_path_and_the_error_says_what_one_is(text: str) -> None:
    with pytest.raises(PathError) as raised:
        parse_path(text)
    assert "args.amount" in raised.value.hint or "characters" in raised.value.message
    assert str(raised.value) == raised.value.message


def test_a_path_finds_its_amount_or_none() -> None:
    arguments = {"amount": 3, "order": {"total": "4.5", "lines": [{"total": 1}]}, "note": None}
    assert amount_at(arguments, ("amount",)) == 3 * ONE
    assert amount_at(arguments, ("order", "total")) == ONE * 9 // 2
    for path in (
        ("missing",),
        ("note",),
        ("order",),
        ("order", "lines", "total"),
        ("amount", "x"),
        ("note", "x"),
    ):
        assert amount_at(arguments, path) is None
    assert value_at(arguments, ("order", "lines")) == [{"total": 1}]
