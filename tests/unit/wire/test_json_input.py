"""The door refuses every text that two JSON readers could read differently."""

from __future__ import annotations

import json

import pytest

from controlplane.errors import InputError, TooLargeError
from controlplane.wire.json_input import parse, parse_value

ACCEPTED = {
    "the largest integer": (b'{"n":9007199254740991}', {"n": 2**53 - 1}),
    "the smallest integer": (b'{"n":-9007199254740991}', {"n": -(2**53) + 1}),
    "fifteen digits": (b'{"n":0.123456789012345}', {"n": 0.123456789012345}),
    "zeros that carry no digit": (b'{"n":0.100000000000000000}', {"n": 0.1}),
    "a long zero": (b'{"n":0.00000000000000000000}', {"n": 0.0}),
    "an exponent": (b'{"n":1e300}', {"n": 1e300}),
    "a surrogate pair": (b'{"s":"\\ud83d\\ude00"}', {"s": "😀"}),
    "an escaped backslash before u0000": (b'{"s":"\\\\u0000"}', {"s": "\\u0000"}),
    "other escapes beside a suspect one": (
        b'{"s":"\\u00e9\\ud83d\\ude00","t":{"u":[1]}}',
        {"s": "é😀", "t": {"u": [1]}},
    ),
    "brackets inside strings": (json.dumps({"s": "{[" * 40}).encode(), {"s": "{[" * 40}),
    "whitespace around": (b' \r\n{"a" : 1}\t', {"a": 1}),
    "the same key in different objects": (b'{"a":{"a":1},"b":{"a":2}}', {"a": {"a": 1}, "b": {"a": 2}}),
}

REFUSED = {
    "invalid utf-8": (b'{"a":"\xff"}', "not utf-8 (byte 6)"),
    "a utf-8 encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "not utf-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', "malformed json"),
    "nothing": (b" \n", "is empty"),
    "half a text": (b'{"a":', "malformed json: expecting value at line 1 column 6"),
    "two texts": (b'{"a":1}{"a":2}', "malformed json: extra data"),
    "a leading zero": (b'{"a":01}', "malformed json"),
    "a raw control character": (b'{"a":"\x00"}', "malformed json: invalid control character"),
    "a duplicate key": (b'{"a":{"b":[1,{"c":1,"c":2}]}}', "duplicate key `c` at $.a.b[1]"),
    "a duplicate key in disguise": (b'{"a":1,"\\u0061":2}', "duplicate key `a` at $"),
    "NaN": (b'{"a":[0,NaN]}', "`NaN` is not a json number at $.a[1]"),
    "infinity": (b'{"a":-Infinity}', "`-Infinity` is not a json number at $.a"),
    "2^53": (b'{"a":9007199254740992}', "integer `9007199254740992` lies outside"),
    "2^64": (b'{"a":18446744073709551616}', "lies outside ±(2^53 - 1); send it as a string at $.a"),
    "an endless integer": (b'{"a":' + b"9" * 10_000 + b"}", "lies outside"),
    "sixteen digits": (b'{"a":-0.1234567890123456}', "more than 15 significant digits"),
    "an integer written as decimal": (b'{"a":12345678901234567.0}', "more than 15 significant digits"),
    "overflow": (b'{"a":1e999}', "too large for a double; send it as a string at $.a"),
    "underflow": (b'{"a":1e-999}', "too small for a double"),
    "a denormal": (b'{"a":1.2345e-310}', "too small for a double"),
    "NUL": (b'{"a":{"b c":"x\\u0000y"}}', "the string at $.a[`b c`] holds U+0000"),
    "NUL in a key": (b'{"a\\u0000":1}', "a key of the object at $ holds U+0000"),
    "a lone surrogate": (b'{"a":["\\ud800"]}', "the string at $.a[0] holds a lone surrogate"),
    "a low surrogate first": (b'{"a":"\\ude00\\ud83d"}', "lone surrogate"),
    "a surrogate in a key": (b'{"\\uDFFF":1}', "a key of the object at $ holds a lone surrogate"),
    "an array at the top": (b"[1]", "the top level must be a json object, not an array"),
    "a string at the top": (b'"a"', "the top level must be a json object, not a string"),
    "depth far past the limit": (b'{"a":' * 200_000, "nested deeper than 32"),
}


@pytest.mark.parametrize(("body", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_every_reader_reads_alike_is_accepted(body: bytes, value: object) -> None:
    assert parse(body) == value


@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
def test_what_readers_could_read_differently_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(body)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_depth_counts_objects_and_arrays_from_the_top(opening: bytes, closing: bytes) -> None:
    assert parse_value(opening * 32 + b"1" + closing * 32)
    with pytest.raises(InputError, match="deeper than 32"):
        parse_value(opening * 33 + b"1" + closing * 33)


def test_a_refused_value_in_a_text_that_breaks_off_is_still_named() -> None:
    with pytest.raises(InputError, match="duplicate key `b`"):
        parse(b'{"a":{"b":1,"b":2},')


def test_size_is_checked_before_anything_is_read() -> None:
    with pytest.raises(TooLargeError) as caught:
        parse(b"\xff" * 101, limit_bytes=100)
    assert caught.value.fields == {"expected": 100, "found": 101}
