"""The names, ids and texts that documents are made of, and what every part of a document shares."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from policies.pointers import POINTER

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME)]
DEFINE_NAME = r"^[a-z][a-z0-9_]{0,63}$"
DefineName: TypeAlias = Annotated[str, StringConstraints(pattern=DEFINE_NAME)]
Id: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$")]
ControlId: TypeAlias = Id
Pattern: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,255}$")]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=4096)]
Condition: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
Pointer: TypeAlias = Annotated[str, StringConstraints(pattern=POINTER, max_length=1_000)]
DURATION = r"^[0-9]{1,6}(s|m|h|d)$"
Duration: TypeAlias = Annotated[str, StringConstraints(pattern=DURATION)]

EffectName: TypeAlias = Literal[
    "read", "write", "delete", "send", "pay", "execute", "grant", "delegate", "admin"
]
RoleName: TypeAlias = Literal[
    "destination", "target", "secret", "content", "quantity", "time", "profile", "query"
]


class Strict(BaseModel):
    """What every part of a document shares: no extra keys, no coercion, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def written_fields(model: type[Strict]) -> dict[str, FieldInfo]:
    """A model's fields by the names that documents give them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def bare(annotation: Any) -> Any:
    """A type without `Annotated[…]` and `… | None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(one for one in get_args(annotation) if one is not types.NoneType)
        else:
            return annotation


STANDS_ALONE = "stands alone"
"""Marks a field that may be written as a bare key, `{agent}`, which YAML reads as a key without a value."""


def _present(value: object) -> object:
    return True if value is None else value


Flag: TypeAlias = Annotated[
    bool, BeforeValidator(_present), WithJsonSchema({"enum": [True, False, None]}), STANDS_ALONE
]


def stands_alone(annotation: Any, name: str) -> bool:
    """Whether a key of this model may have no value."""
    if not (isinstance(annotation, type) and issubclass(annotation, Strict)):
        return False
    field = annotation.model_fields.get(name)
    return field is not None and STANDS_ALONE in field.metadata


def listed(value: object) -> object:
    """A single value as a list of one."""
    return value if isinstance(value, list) else [value]


def number(value: object) -> object:
    """Refused once, where each member of a union would refuse for itself."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("number_type", "not a number")
    return value


def one_or_many(item: dict[str, object], *, at_least: int = 0) -> WithJsonSchema:
    """The JSON Schema of what `listed` reads."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": at_least}]})
