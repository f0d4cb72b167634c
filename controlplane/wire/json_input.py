"""The door's input rules: what JSON a request body may hold, before anything looks at its meaning.

Two readers of one text must never see two different values: not our policies and the tool that is called
afterwards, not CEL and the digest. Whatever JSON readers are known to disagree on is therefore refused here
(duplicate keys, integers past 2⁵³, digits a double cannot hold, NaN, NUL, lone surrogates) instead of being
repaired.

There is one parser, the standard library's C scanner with hooks, and no faster second one: orjson keeps the
last of duplicate keys and turns 2⁶⁴ into a float silently, and checks that make up for it cost what it saves.
Cost: 7 µs for a 400-byte evaluation (Python 3.11). Only a refused body is parsed twice, to say where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from math import inf
from sys import float_info
from typing import cast

from controlplane.errors import InputError, TooLargeError
from policies.action import Json

LIMIT_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_DIGITS = 15
"""Every decimal text of up to 15 significant digits survives the way into a double and back."""
MAX_INTEGER = 2**53 - 1
"""The largest integer that no other integer shares its double with (RFC 7493, RFC 8785)."""

_SUSPECT_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SPACE = " \t\r\n"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Refused(Exception):
    """A value that a hook does not accept; becomes an InputError once its place is known."""


def parse(body: bytes, *, limit_bytes: int = LIMIT_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Json]:
    """Read a request body whose top level must be an object.

    Raises: TooLargeError: more than `limit_bytes`. InputError: all else; names the JSON path where it can.
    """
    value = parse_value(body, limit_bytes=limit_bytes, max_depth=max_depth)
    if type(value) is not dict:
        raise InputError(f"the top level must be a json object, not {kind_of(value)}", path="$")
    return value


def parse_value(body: bytes, *, limit_bytes: int = LIMIT_BYTES, max_depth: int = MAX_DEPTH) -> Json:
    """Read a JSON text with any value at its top level; otherwise exactly like `parse`."""
    if len(body) > limit_bytes:
        raise TooLargeError(
            f"the body has {len(body)} bytes; at most {limit_bytes} are accepted",
            expected=limit_bytes,
            found=len(body),
        )
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not utf-8 (byte {error.start})") from None
    try:
        value = _decoded(text)
    except _Refused as refused:
        raise _located(text, refused) from None
    except JSONDecodeError as error:
        if not text.strip(_SPACE):
            raise InputError("the body is empty; send a json object") from None
        problem = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise InputError(f"malformed json: {problem} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    # Both counts are upper bounds (they include what stands inside strings), so most bodies need no walk.
    if text.count("{") + text.count("[") > max_depth and _is_deeper(value, max_depth):
        raise _too_deep(max_depth)
    # Raw control characters and raw surrogates are malformed already: only an escape can bring one in.
    if "\\u" in text and _SUSPECT_ESCAPE.search(text):
        _refuse_suspect_strings(value)
    return value


def _decoded(text: str) -> Json:
    if text[:1] == "{":
        # What nearly every body is: nobody has to look where it begins.
        value, end = _DECODER.raw_decode(text)
        if end == len(text) or not text[end:].strip(_SPACE):
            return cast(Json, value)
    return cast(Json, _DECODER.decode(text))


def kind_of(value: object) -> str:
    """The JSON name of a value's type, with its article, for error texts."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return type(value).__name__


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"duplicate key `{_shown(twice)}`")
    return members


def _integer(literal: str) -> int:
    if len(literal) <= MAX_DIGITS:
        return int(literal)
    # The length comes first: int() of a long literal costs quadratic time.
    if len(literal) > 17 or abs(int(literal)) > MAX_INTEGER:
        raise _Refused(f"integer `{_shown(literal)}` lies outside ±(2^53 - 1); send it as a string")
    return int(literal)


def _decimal(literal: str) -> float:
    if len(literal) > MAX_DIGITS and _significant_digits(literal) > MAX_DIGITS:
        raise _Refused(
            f"number `{_shown(literal)}` has more than {MAX_DIGITS} significant digits; send it as a string"
        )
    value = float(literal)
    if abs(value) == inf:
        raise _Refused(f"number `{_shown(literal)}` is too large for a double; send it as a string")
    # Below the smallest normal double digits are lost one by one, and at last the number itself.
    if -float_info.min < value < float_info.min and _significant_digits(literal):
        raise _Refused(f"number `{_shown(literal)}` is too small for a double; send it as a string")
    return value


def _significant_digits(literal: str) -> int:
    """Digits between the first and the last that is not 0: 4 of `-0.012040e7`, 0 of `0.00`."""
    mantissa = literal.lower().partition("e")[0]
    return len(mantissa.replace("-", "").replace(".", "").strip("0"))


def _constant(name: str) -> Json:
    raise _Refused(f"`{name}` is not a json number")


_DECODER = JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
)


class _Mark:
    """Stands in the tree where a refused value was."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _located(text: str, refused: _Refused) -> InputError:
    """Parse again, with marks in place of refused values, to find where the first one stands.

    What is malformed after the refused value hides the place; the reason is told all the same.
    """

    def marking(hook: object) -> object:
        def marked(argument: object) -> object:
            try:
                return hook(argument)  # type: ignore[operator]
            except _Refused as found:
                return _Mark(str(found))

        return marked

    decoder = JSONDecoder(
        object_pairs_hook=marking(_object),  # type: ignore[arg-type]
        parse_int=marking(_integer),  # type: ignore[arg-type]
        parse_float=marking(_decimal),  # type: ignore[arg-type]
        parse_constant=marking(_constant),  # type: ignore[arg-type]
    )
    try:
        tree = decoder.decode(text)
    except (JSONDecodeError, RecursionError):
        return InputError(str(refused))
    for path, value in _walk(tree):
        if isinstance(value, _Mark):
            return InputError(f"{value.reason} at {path}", path=path)
    return InputError(str(refused))


def _is_deeper(value: object, max_depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(max_depth):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _too_deep(max_depth: int) -> InputError:
    return InputError(f"the json is nested deeper than {max_depth} levels", expected=max_depth)


def _refuse_suspect_strings(value: Json) -> None:
    for path, found in _walk(value):
        for text, what in _texts(found):
            if "\x00" in text:
                raise InputError(
                    f"{what} at {path} holds U+0000, which other readers cut texts at", path=path
                )
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise InputError(f"{what} at {path} holds a lone surrogate, which is no character", path=path)


def _texts(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield value, "the string"
    elif isinstance(value, dict):
        for key in value:
            yield key, "a key of the object"


def _walk(root: object) -> Iterator[tuple[str, object]]:
    """Every value of a tree in document order with its path (`$.context.arguments.to[0]`)."""
    pending: list[tuple[str, object]] = [("$", root)]
    while pending:
        path, value = pending.pop()
        yield path, value
        if isinstance(value, dict):
            pending.extend((path + _step(key), child) for key, child in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((f"{path}[{i}]", value[i]) for i in range(len(value) - 1, -1, -1))


def _step(key: str) -> str:
    return f".{key}" if len(key) <= 64 and _PLAIN_NAME.fullmatch(key) else f"[`{_shown(key)}`]"


def _shown(text: str) -> str:
    """What the caller wrote, short and printable: safe in a log line and in an answer."""
    short = text if len(text) <= 40 else f"{text[:40]}…"
    return short.encode("unicode_escape", "backslashreplace").decode() if not short.isprintable() else short
