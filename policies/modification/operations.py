"""The operations of a `modify`, as values; their JSON is what a rule says, and what is kept beside a decision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, assert_never

from policies.action import Json

KINDS: Final = ("card-number", "iban", "email", "phone", "secret")
"""What `redact` can look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """Put a value, also where its name is missing in an object that is there."""

    at: str
    value: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp:
    """Keep numbers within bounds; a bound is a number, or a decimal as text. None = unbounded there."""

    at: str
    least: int | float | str | None = None
    most: int | float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redact:
    """Args: kinds: of `KINDS`, in their order; region: two letters, for phone numbers in its national form."""

    at: str
    kinds: tuple[str, ...]
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Hide all characters but the last; a value with no more than those is hidden whole."""

    at: str
    keep_last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """Attributes: forms: what members are compared by."""

    at: str
    values: tuple[Json, ...]
    forms: frozenset[tuple[str, object]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "forms", frozenset(map(form_of, self.values)))


Operation: TypeAlias = Set | Clamp | Remove | Redact | Mask | AllowList


def form_of(value: Json) -> tuple[str, object]:
    """What two JSON values have in common exactly when they are one: 1 is 1.0, and neither "1" nor true."""
    if isinstance(value, str):
        return "string", value
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", float(value)
    return "json", json.dumps(value, sort_keys=True)


def to_json(operations: Sequence[Operation]) -> list[dict[str, Any]]:
    """What `read` reads, and rules say."""
    return [{"at": one.at} | _said(one) for one in operations]


def _said(operation: Operation) -> dict[str, Any]:
    match operation:
        case Set():
            return {"set": operation.value}
        case Clamp():
            bounds = {"min": operation.least, "max": operation.most}
            return {"clamp": {name: bound for name, bound in bounds.items() if bound is not None}}
        case Remove():
            return {"remove": True}
        case Redact():
            region = {} if operation.region is None else {"region": operation.region}
            return {"redact": list(operation.kinds)} | region
        case Mask():
            return {"mask": {"keep_last": operation.keep_last}}
        case AllowList():
            return {"allow-list": list(operation.values)}
        case _:
            assert_never(operation)


def read(said: Sequence[Mapping[str, Any]]) -> tuple[Operation, ...]:
    """The operations of a list that was checked: a rule's that compiled, or what `to_json` gave.

    Raises: KeyError, StopIteration: it is neither.
    """
    return tuple(map(_read, said))


def _read(said: Mapping[str, Any]) -> Operation:
    at = said["at"]
    match next(key for key in said if key not in ("at", "region")):
        case "set":
            return Set(at=at, value=said["set"])
        case "clamp":
            return Clamp(at=at, least=said["clamp"].get("min"), most=said["clamp"].get("max"))
        case "remove":
            return Remove(at=at)
        case "redact":
            kinds = tuple(kind for kind in KINDS if kind in said["redact"])
            return Redact(at=at, kinds=kinds, region=said.get("region"))
        case "mask":
            return Mask(at=at, keep_last=said["mask"].get("keep_last", 0))
        case "allow-list":
            values = {form_of(value): value for value in said["allow-list"]}
            # A set: its order says nothing.
            return AllowList(at=at, values=tuple(values[form] for form in sorted(values, key=repr)))
        case other:
            raise KeyError(other)
