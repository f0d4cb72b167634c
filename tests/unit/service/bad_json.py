"""JSON that no door takes, and what no answer may hold."""

from __future__ import annotations

import json
import re
from typing import Any

from controlplane.wire.json_input import MAX_DEPTH

INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/home/|/work|/tmp/|/journals|<class|object at 0x"
    r"|[A-Z]\w+(Error|Exception)\b|pydantic|sqlite|SELECT|asyncio|orjson|ray\."
)
"""What only the inside knows: no answer to a caller may hold it."""

# What stands in one member of an otherwise good object.
MEMBERS = {
    "a key twice": b'"x": 1, "x": 1',
    "a key twice, deeper": b'"x": {"y": [{"z": 1, "z": 2}]}',
    "not a number": b'"x": NaN',
    "infinity": b'"x": [-Infinity]',
    "a number beyond doubles": b'"x": 1e999',
    "a number below doubles": b'"x": 1e-999',
    "2^53": b'"x": 9007199254740992',
    "-2^53": b'"x": -9007199254740992',
    "an integer of 5 000 digits": b'"x": ' + b"9" * 5000,
    "sixteen digits": b'"x": 0.1234567890123456',
    "NUL in a string": b'"x": "a\\u0000b"',
    "NUL in a key": b'"a\\u0000b": 1',
    "a raw NUL": b'"x": "a\x00b"',
    "a raw line break": b'"x": "a\nb"',
    "a lone surrogate": b'"x": "\\ud800"',
    "a lone surrogate in a key": b'"\\udfff": 1',
    "an encoded surrogate": b'"x": "\xed\xa0\x80"',
    "not utf-8": b'"x": "\xff"',
    "too deep": b'"x": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    "deep enough for any stack": b'"x": ' + b"[" * 200_000 + b"]" * 200_000,
    "no value": b'"x": ',
    "a comment": b'"x": 1 /* one */',
    "single quotes": b"'x': 1",
}
BODIES = {
    "only spaces": b" \r\n\t",
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "a number": b"1",
    "cut off": b'{"x": ',
    "two values": b"{} {}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"x": 1}'.encode("utf-16"),
    "a form": b"subject=bot&action=call",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00",
    "yaml": b"subject: {type: agent}",
}


def with_member(body: dict[str, Any], member: bytes) -> bytes:
    """The body's JSON, with one more member in front."""
    text = json.dumps(body).encode()
    return b"{" + member + (b", " if body else b"") + text[1:]
