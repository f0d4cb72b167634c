"""Digest and mask of arguments, on examples (in general: tests/property/test_wire_digest.py)."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from controlplane.errors import InputError
from controlplane.wire.authzen import parse_evaluation
from controlplane.wire.digest import arguments_digest, canonical_json, keyed_digest, mask

CANONICAL = {
    "keys sorted": ({"b": 1, "a": {"d": 2, "c": 3}}, b'{"a":{"c":3,"d":2},"b":1}'),
    "whole floats lose their point": ({"n": 12000.0}, b'{"n":12000}'),
    "negative zero is zero": ({"n": -0.0}, b'{"n":0}'),
    "large floats in digits": ({"n": 1e20}, b'{"n":100000000000000000000}'),
    "larger floats with exponents": ({"n": 1e21}, b'{"n":1e+21}'),
    "small floats": ({"n": [0.000001, 1e-7]}, b'{"n":[0.000001,1e-7]}'),
    "control characters": ({"s": "\x01\n\x7f\u2028"}, '{"s":"\\u0001\\n\x7f\u2028"}'.encode()),
    # U+1F600 is two UTF-16 units from U+D83D on: before U+FF5E in JCS, after it by code point.
    "astral keys before the end of the plane": ({"～": 1, "😀": 2}, '{"😀":2,"～":1}'.encode()),
}


@pytest.mark.parametrize(("value", "canonical"), CANONICAL.values(), ids=CANONICAL)
def test_the_canonical_form_is_that_of_rfc_8785(value: dict, canonical: bytes) -> None:
    assert canonical_json(value) == canonical
    assert arguments_digest(value) == hashlib.sha256(canonical).digest()


@pytest.mark.parametrize(
    "value", [{"n": 2**53}, {"n": float("nan")}, {"s": "\ud800"}, {1: 2}, {"s": object()}]
)
def test_what_has_no_canonical_form_is_refused(value: dict) -> None:
    with pytest.raises(InputError, match="no canonical json form"):
        arguments_digest(value)


def test_evidence_keeps_an_hmac_of_the_digest() -> None:
    digest = arguments_digest({"amount": 12000})
    assert keyed_digest(b"key", digest) == hmac.new(b"key", digest, "sha256").digest()


def test_a_mask_shows_the_shape_and_no_value() -> None:
    arguments = {"to": "DE89370400440532013000", "amount": 12000, "rest": [True, None, {"x": 1.5}], "e": {}}
    assert json.loads(mask(arguments)) == {
        "to": "string(22)",
        "amount": "number",
        "rest": ["boolean", None, {"x": "number"}],
        "e": {},
    }


def test_a_mask_that_is_cut_says_how_much_is_missing() -> None:
    masked = json.loads(mask({f"argument{i}": i for i in range(1000)}))
    note = masked.pop("…")
    assert note == f"{1000 - len(masked)} more"
    items = json.loads(mask({"list": list(range(5000))}))["list"]
    assert items[-1] == f"… {5000 - len(items) + 1} more"


def test_long_keys_with_one_beginning_do_not_hide_each_other() -> None:
    masked = json.loads(mask({"k" * 70 + "a": 1, "k" * 70 + "b": "x"}))
    assert sorted(masked.values()) == ["number", "string(1)"]


def test_arguments_that_nobody_sent_have_the_digest_of_an_empty_object() -> None:
    request = parse_evaluation(
        {"subject": {"type": "a", "id": "b"}, "action": {"name": "c"}, "resource": {"type": "d", "id": "e"}}
    )
    assert arguments_digest(request.arguments) == hashlib.sha256(b"{}").digest()
