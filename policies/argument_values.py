"""What conditions see of the arguments: each as a value of its catalogued type, or not at all.

To CEL a comparison between values of different types is false and no error: `args.public == true` would let "true"
pass. So a value that is not of its catalogued type is kept from CEL, and every condition that reads it has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from policies.catalog import ArgumentType
from policies.cel import as_doubles
from policies.json_number import NUMBER

_EXACT_INTEGER = 2.0**53  # from here on doubles skip integers, and two of them would be equal

_MISTYPED = object()

Reader: TypeAlias = Callable[[object], object]
Readers: TypeAlias = Mapping[str, Reader]


def readers_of(types: Mapping[str, ArgumentType] | None, names: frozenset[str] | None) -> Readers:
    """One reader for each catalogued argument that has a type and that conditions read (`names`; None = all)."""
    return {
        name: _READERS[argument.type]
        for name, argument in (types or {}).items()
        if argument.type != "any" and (names is None or name in names)
    }


def read_arguments(
    arguments: Mapping[str, object], names: frozenset[str] | None, readers: Readers
) -> tuple[dict[str, object], tuple[str, ...]]:
    """(the arguments in `names` as CEL sees them, those left out for not being of their type).

    Args:
        names: which arguments conditions read; None = all. The others are not even looked at.
        readers: of the resource at hand, from `readers_of`.
    Cost: two lookups for each argument sent, and one pass over the values that conditions read.
    """
    converted: dict[str, object] = {}
    mistyped: tuple[str, ...] = ()
    for name, value in arguments.items():
        if names is not None and name not in names:
            continue
        read = readers.get(name)
        value = as_doubles(value) if read is None else read(value)
        if value is _MISTYPED:
            mistyped = (*mistyped, name)
        else:
            converted[name] = value
    return converted, mistyped


def _number(value: object) -> object:
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        return _MISTYPED if isinstance(value, bool) else float(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        number = float(value)
        return number if abs(number) != float("inf") else _MISTYPED
    return _MISTYPED


def _integer(value: object) -> object:
    number = _number(value)
    if isinstance(number, float) and number.is_integer() and abs(number) < _EXACT_INTEGER:
        return number
    return _MISTYPED


def _text(value: object) -> object:
    return value if type(value) is str else _MISTYPED


def _boolean(value: object) -> object:
    return value if value is True or value is False else _MISTYPED


def _list(value: object) -> object:
    return as_doubles(value) if type(value) is list else _MISTYPED


def _object(value: object) -> object:
    return as_doubles(value) if type(value) is dict else _MISTYPED


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "string": _text,
        "decimal": _number,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "iban": _text,
        "email": _text,
        "url": _text,
        "date": _text,
        "datetime": _text,
        "list": _list,
        "object": _object,
    }
)
