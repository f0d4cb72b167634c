"""Values for `naive_engine`: three-valued truths, globs, exact numbers, and what makes two values one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

Truth: TypeAlias = bool | None
"""None = unknown or failed: possibly, and not certainly, true."""

_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def all_of(truths: list[Truth]) -> Truth:
    return False if False in truths else None if None in truths else True


def any_of(truths: list[Truth]) -> Truth:
    return True if True in truths else None if None in truths else False


def opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


def globbed(pattern: str, value: str) -> bool:
    """`*` stops at a dot, `**` does not."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return bool(
        re.fullmatch("".join({"*": "[^.]*", "**": ".*"}.get(part, re.escape(part)) for part in parts), value)
    )


def at_path(arguments: Mapping[str, Any], path: str) -> Any:
    """What stands at `args.a.b`; None where nothing does, or null."""
    value: Any = arguments
    for name in path.split(".")[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def decimal_of(value: object) -> Decimal | None:
    """The exact number, also where it is sent as text; None = no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int | float):
        return Decimal(repr(value))
    if isinstance(value, str) and _JSON_NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return None


def canonical(kind: str, value: object) -> object:
    """Equal for values that are one value of their catalogued type."""
    if kind in ("string", "iban", "email") and not isinstance(value, str):
        value = json.dumps(
            value, separators=(",", ":"), sort_keys=True
        )  # a text was expected: the text that it is
    if kind == "iban" and isinstance(value, str):
        return ("string", re.sub(r"\s", "", value).upper())
    if kind == "email" and isinstance(value, str):
        return ("string", value.lower())
    if kind in ("decimal", "integer", "number") and (number := decimal_of(value)) is not None:
        return ("number", number.normalize())
    if isinstance(value, bool) or value is None:
        return ("constant", repr(value))
    if isinstance(value, int | float):
        return ("number", Decimal(repr(value)).normalize())
    return ("string", value) if isinstance(value, str) else ("json", json.dumps(value, sort_keys=True))
