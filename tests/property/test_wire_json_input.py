"""What the door accepts, it reads as other readers do; what it cannot hold exactly, it refuses."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import InputError
from controlplane.wire.json_input import parse, parse_value

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.builds(
        lambda digits, scale: float(f"{digits}e{scale}"), st.integers(-(10**14), 10**14), st.integers(-9, 9)
    )
    | _TEXT
)
_OBJECTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    _TEXT,
    st.recursive(
        _SCALARS,
        lambda children: st.lists(children, max_size=3) | st.dictionaries(_TEXT, children, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(_OBJECTS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")]))
def test_every_spelling_of_a_value_is_read_as_that_value(
    value: dict[str, Any], ascii_only: bool, separators: tuple[str, str]
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert parse(body) == value == orjson.loads(body)


@given(
    st.binary(max_size=40)
    | st.text(st.sampled_from('{}[]":,\\u0d8 1e.-NaInfty'), max_size=40).map(str.encode)
)
def test_any_bytes_give_a_value_that_orjson_reads_alike_or_an_input_error(body: bytes) -> None:
    try:
        value = parse_value(body)
    except InputError:
        return
    assert value == orjson.loads(body)


@given(
    st.from_regex(
        re.compile(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", re.ASCII), fullmatch=True
    )
)
def test_an_accepted_number_is_exactly_what_was_written(literal: str) -> None:
    """Printed with as many digits as it was written with, the double gives the written number back."""
    try:
        number = parse_value(literal.encode())
    except InputError:
        return
    assert isinstance(number, int | float)
    assert math.isfinite(number)
    if isinstance(number, int):
        assert str(number) == literal.replace("-0", "0")
        return
    mantissa, _, exponent = literal.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = int(whole.lstrip("-") + fraction)
    scale = int(exponent or "0") - len(fraction)
    while digits and digits % 10 == 0:
        digits, scale = digits // 10, scale + 1
    shown, _, shown_exponent = f"{abs(number):.14e}".partition("e")
    shown_digits = int(shown.replace(".", ""))
    shown_scale = int(shown_exponent) - 14
    while shown_digits and shown_digits % 10 == 0:
        shown_digits, shown_scale = shown_digits // 10, shown_scale + 1
    assert (shown_digits, shown_scale if shown_digits else 0) == (digits, scale if digits else 0)


@given(_OBJECTS, _TEXT, _SCALARS, _SCALARS)
def test_a_duplicate_key_is_refused_wherever_it_stands(
    value: dict[str, Any], key: str, first: object, second: object
) -> None:
    twice = f"{{{json.dumps(key)}:{json.dumps(first)},{json.dumps(key)}:{json.dumps(second)}}}"
    inner = json.dumps(value)[1:-1]
    body = f'{{{inner}{"," if inner else ""}"the one more\\t":[{twice}]}}'
    with pytest.raises(InputError, match="duplicate key"):
        parse(body.encode())
