"""The checked syntax tree of a CEL condition, read from the bytes that the CEL library serialises.

A `CheckedExpr` (cel-spec, `checked.proto` and `syntax.proto`) is a protocol buffer; no Python package that we
depend on carries its classes, and the wire format needs thirty lines.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_Field: TypeAlias = "int | bytes"

_PRIMITIVES = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN = {2: "timestamp", 3: "duration"}
_FIELD_CALLS = frozenset(("_[_]", "_?._", "_[?_]"))
_EXACT_INT = 1 << 53
_CONSTANTS = {1: "null", 2: "bool", 3: "int", 4: "uint", 5: "double", 6: "string", 7: "bytes"}


@dataclass(frozen=True, slots=True)
class Constant:
    id: int
    kind: str
    text: str  # the value of a string constant, otherwise ""
    number: float | None = None  # the value of a double constant, and of an int that is exact as one


@dataclass(frozen=True, slots=True)
class Identifier:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    id: int
    operand: Expression
    field: str
    test_only: bool  # has(operand.field)


@dataclass(frozen=True, slots=True)
class Call:
    id: int
    function: str
    target: Expression | None
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """A list, a map or a message."""

    id: int
    is_list: bool
    elements: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """`all`, `exists`, `map`, `filter`: `range` is outside the scope of `bound`, the rest inside."""

    id: int
    bound: frozenset[str]
    range: Expression
    rest: tuple[Expression, ...]


Expression: TypeAlias = "Constant | Identifier | Select | Call | Collection | Comprehension"


@dataclass(frozen=True, slots=True)
class Ast:
    """A checked condition.

    Args:
        names: identifiers that the checker resolved, e.g. `resource.id`.
        types: expression id → kind ("bool", "int", "double", "string", "list", "map", "dyn", …).
        offsets: expression id → offset in the condition's text, in code points.
    """

    root: Expression
    names: frozenset[str]
    types: dict[int, str]
    offsets: dict[int, int]


def read_ast(serialised: bytes) -> Ast:
    """Decode a `google.protobuf.Any` that holds a `CheckedExpr`. Cost: one pass over the bytes."""
    message = _only(serialised, 2)
    names: set[str] = set()
    types: dict[int, str] = {}
    offsets: dict[int, int] = {}
    for number, value in _fields(message):
        if number == 2:
            name = _only(_only(_as_bytes(value), 2), 1)
            names.add(name.decode())
        elif number == 3:
            entry = _last_fields(_as_bytes(value))
            types[_integer(entry, 1)] = _type_kind(_bytes(entry, 2))
        elif number == 5:
            for part, position in _fields(_as_bytes(value)):
                if part == 4:
                    entry = _last_fields(_as_bytes(position))
                    offsets[_integer(entry, 1)] = _integer(entry, 2)
    return Ast(_expression(_only(message, 4)), frozenset(names), types, offsets)


def read_fields(ast: Ast, variable: str) -> frozenset[str] | None:
    """The fields of a map variable that the condition reads by name; None when it reads the map as a whole."""
    fields: set[str] = set()
    if _collect_fields(ast.root, variable, fields):
        return frozenset(fields)
    return None


def field_of(node: Expression, variable: str) -> str | None:
    """NAME of `variable.NAME`, `has(variable.NAME)`, `variable["NAME"]`, `variable.?NAME`; else None."""
    match node:
        case Select(operand=Identifier(name=name), field=field) if name == variable:
            return field
        case Call(
            function=function, arguments=(Identifier(name=name), Constant(kind="string", text=text))
        ) if name == variable and function in _FIELD_CALLS:
            return text
    return None


def _collect_fields(node: Expression, variable: str, fields: set[str]) -> bool:
    """Add what is read by name; False when `variable` occurs in any other place."""
    field = field_of(node, variable)
    if field is not None:
        fields.add(field)
        return True
    match node:
        case Identifier():
            return node.name != variable
        case Constant():
            return True
        case Select():
            parts: tuple[Expression, ...] = (node.operand,)
        case Call():
            parts = node.arguments if node.target is None else (node.target, *node.arguments)
        case Collection():
            parts = node.elements
        case Comprehension():
            # A loop variable of the same name is taken for the map itself: more is read, never less.
            parts = (node.range, *node.rest)
    return all(_collect_fields(part, variable, fields) for part in parts)


def _expression(data: bytes) -> Expression:
    fields = _last_fields(data)
    id_ = _integer(fields, 2)
    if 3 in fields:
        ((number, value),) = list(_fields(_bytes(fields, 3)))[:1] or [(1, 0)]
        text = _as_bytes(value).decode("utf-8", "replace") if number == 6 else ""
        return Constant(id_, _CONSTANTS.get(number, "dyn"), text, _number(number, value))
    if 4 in fields:
        return Identifier(id_, _only(_bytes(fields, 4), 1).decode())
    if 5 in fields:
        select = _last_fields(_bytes(fields, 5))
        field = _bytes(select, 2).decode()
        return Select(id_, _expression(_bytes(select, 1)), field, bool(_integer(select, 3)))
    if 6 in fields:
        call = _last_fields(_bytes(fields, 6))
        target = _expression(_bytes(call, 1)) if 1 in call else None
        arguments = tuple(_expression(part) for part in _all(_bytes(fields, 6), 3))
        return Call(id_, _bytes(call, 2).decode(), target, arguments)
    if 7 in fields:
        return Collection(id_, True, tuple(_expression(part) for part in _all(_bytes(fields, 7), 1)))
    if 8 in fields:
        elements: list[Expression] = []
        for part in _all(_bytes(fields, 8), 2):
            entry = _last_fields(part)
            elements.extend(_expression(_bytes(entry, number)) for number in (3, 4) if number in entry)
        return Collection(id_, False, tuple(elements))
    if 9 in fields:
        loop = _last_fields(_bytes(fields, 9))
        bound = frozenset(_bytes(loop, number).decode() for number in (1, 3, 8) if number in loop)
        rest = tuple(_expression(_bytes(loop, number)) for number in (4, 5, 6, 7) if number in loop)
        return Comprehension(id_, bound, _expression(_bytes(loop, 2)), rest)
    return Constant(id_, "dyn", "")


def _number(kind: int, value: _Field) -> float | None:
    if kind == 5:
        (number,) = struct.unpack("<d", _as_bytes(value))
        return float(number)
    # Negative ints come as unsigned 64-bit varints: they are not wanted enough.
    return float(value) if kind == 3 and isinstance(value, int) and value < _EXACT_INT else None


def _type_kind(data: bytes) -> str:
    for number, value in _fields(data):
        match number, value:
            case 2, _:
                return "null"
            case 3, int():
                return _PRIMITIVES.get(value, "dyn")
            case 5, int():
                return _WELL_KNOWN.get(value, "dyn")
            case 6, _:
                return "list"
            case 7, _:
                return "map"
    return "dyn"


def _fields(data: bytes) -> Iterator[tuple[int, _Field]]:
    """(field number, value) of one message: integers for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case other:
                raise ValueError(f"unknown wire type {other}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def _last_fields(data: bytes) -> dict[int, _Field]:
    return dict(_fields(data))


def _all(data: bytes, number: int) -> Iterator[bytes]:
    return (_as_bytes(value) for found, value in _fields(data) if found == number)


def _only(data: bytes, number: int) -> bytes:
    return _bytes(_last_fields(data), number)


def _bytes(fields: dict[int, _Field], number: int) -> bytes:
    return _as_bytes(fields.get(number, b""))


def _integer(fields: dict[int, _Field], number: int) -> int:
    value = fields.get(number, 0)
    assert isinstance(value, int)
    return value


def _as_bytes(value: _Field) -> bytes:
    assert isinstance(value, bytes)
    return value
