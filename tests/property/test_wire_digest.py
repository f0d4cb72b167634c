"""The fast canonical form equals package `rfc8785`; a mask is bounded, well-formed and tells no value."""

from __future__ import annotations

import json
from typing import Any

import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.wire.digest import canonical_json, mask

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_NUMBERS = (
    st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e6, 1e6)
    | st.builds(
        lambda digits, scale: digits * 10.0**scale, st.integers(-(10**15), 10**15), st.integers(-25, 25)
    )
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(_TEXT, children, max_size=4),
    max_leaves=20,
)
_ARGUMENTS = st.dictionaries(_TEXT, _JSON, max_size=6)


@given(_ARGUMENTS)
@example({"~": 1, "\x7f": 2, "": 3})
@example({"\ue000": 1, "\U00010000": 2})
@example({"n": [1e-4, 9.999e-5, 1.5e-5, 1e15, 999999999999999.9, 0.5, 5e-324]})
@example({"n": [9007199254740991.0, 9007199254740992.0, -9007199254740993.0, -0.0, 12000.0]})
def test_the_fast_canonical_form_equals_rfc8785(arguments: dict[str, Any]) -> None:
    assert canonical_json(arguments) == rfc8785.dumps(arguments)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_as_rfc8785_writes_it(number: float) -> None:
    assert canonical_json({"n": number}) == rfc8785.dumps({"n": number})


@given(_ARGUMENTS, st.integers(60, 400))
def test_a_mask_is_json_within_its_bound(arguments: dict[str, Any], limit_bytes: int) -> None:
    text = mask(arguments, limit_bytes=limit_bytes)
    assert len(text.encode()) <= limit_bytes
    assert isinstance(json.loads(text), dict)


@given(st.dictionaries(st.sampled_from("abc"), st.text(st.sampled_from("äöü"), min_size=1)))
def test_a_mask_holds_nothing_of_a_value_but_its_size(arguments: dict[str, str]) -> None:
    masked = json.loads(mask(arguments))
    assert masked == {key: f"string({len(text)})" for key, text in arguments.items()}
