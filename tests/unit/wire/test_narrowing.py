"""An approver may approve less, and what comes out is never more."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.errors import InputError
from controlplane.wire.narrowing import narrowed

ARGUMENTS: dict[str, Any] = {
    "amount": 12000,
    "fee": -3.5,
    "to": ["a@x.example", "b@x.example", "a@x.example"],
    "command": ["run", "-n", "x", "/"],
    "urgent": True,
    "zero": 0,
    "account": "4711",
    "lines": [{"price": 10}, {"price": 20}],
    "a/b": {"~": 5},
}


@pytest.mark.parametrize(
    ("narrow", "path", "value"),
    [
        ({"/amount": 5000}, ("amount",), 5000),
        ({"/amount": 0.5}, ("amount",), 0.5),
        ({"/fee": -1}, ("fee",), -1),
        ({"/to": ["a@x.example", "a@x.example"]}, ("to",), ["a@x.example", "a@x.example"]),
        ({"/lines/1/price": 7}, ("lines", 1, "price"), 7),
        ({"/a~1b/~0": 4}, ("a/b", "~"), 4),
    ],
)
def test_smaller_numbers_and_shorter_lists(narrow: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    found: Any = narrowed(ARGUMENTS, narrow)
    for step in path:
        found = found[step]
    assert found == value


@pytest.mark.parametrize(
    "narrow",
    [
        {},
        {"/amount": 12000},
        {"/amount": 12001},
        {"/amount": 0},
        {"/amount": -1},
        {"/amount": "5000"},
        {"/amount": True},
        {"/amount": None},
        {"/fee": 1},
        {"/fee": -4},
        {"/to": []},
        {"/to": ["b@x.example", "b@x.example"]},
        {"/to": ["c@x.example"]},
        {"/to": ["b@x.example", "a@x.example", "a@x.example"]},
        {"/lines": [{"price": 20}, {"price": 10}]},
        {"/command": ["run", "/", "-n"]},
        {"/to": ["a@x.example", "b@x.example", "a@x.example"]},
        {"/urgent": False},
        {"/zero": 0},
        {"/account": "1"},
        {"/account": 1},
        {"/lines/2/price": 1},
        {"/lines/-1/price": 1},
        {"/lines": [{"price": 5}]},
        {"/missing": 1},
        {"amount": 1},
        {"": {}},
        {"/": 1},
        {f"/{n}": 1 for n in range(21)},
    ],
)
def test_whatever_could_be_more_is_refused(narrow: dict[str, Any]) -> None:
    before = repr(ARGUMENTS)
    with pytest.raises(InputError):
        narrowed(ARGUMENTS, narrow)
    assert repr(ARGUMENTS) == before


@pytest.mark.parametrize(
    ("narrow", "told"),
    [
        ({"/account": 1}, "`/account`: a text cannot be narrowed, not even one of digits"),
        ({"/amount": "5000"}, "`/amount`: here stands a number: give a smaller one"),
        ({"/to": "a@x.example"}, "`/to`: here stands a list: give a smaller one"),
        ({"/urgent": False}, "`/urgent`: only numbers and lists can be narrowed"),
    ],
)
def test_what_cannot_be_narrowed_is_told_apart(narrow: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as refused:
        narrowed(ARGUMENTS, narrow)
    assert refused.value.message.startswith(told)
