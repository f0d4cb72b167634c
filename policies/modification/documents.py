"""`modify:` as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field, StringConstraints

from policies.document_types import Pointer, Strict, listed, number, one_or_many
from policies.modification.operations import KINDS, Operation, read

MOST_OPERATIONS: Final = 64
MOST_VALUES: Final = 1_000
MOST_KEPT: Final = 64

KindName: TypeAlias = Literal["card-number", "iban", "email", "phone", "secret"]
assert get_args(KindName) == KINDS
REGION = r"^[A-Z]{2}$"
Region: TypeAlias = Annotated[str, StringConstraints(pattern=REGION)]
Bound: TypeAlias = Annotated[int | float | str, BeforeValidator(number)]


class ClampDocument(Strict):
    """Numbers below or above are set to the bound; decimals may be written as text."""

    min: Bound | None = None
    max: Bound | None = None


class MaskDocument(Strict):
    keep_last: int = Field(default=0, ge=0, le=MOST_KEPT, description="characters that stay as they are")


class ModifyDocument(Strict):
    """One operation at one place."""

    at: Pointer = Field(description="JSON pointer to an argument; lists are reached into: `/items/price`")
    set: Any = Field(default=None, description="the value to put, also where there is none")
    clamp: ClampDocument | None = None
    remove: Literal[True] | None = None
    redact: (
        Annotated[
            list[KindName],
            Field(min_length=1),
            BeforeValidator(listed),
            one_or_many({"enum": list(KINDS)}, at_least=1),
        ]
        | None
    ) = Field(
        default=None, description="what is found of it, at the place and below, is replaced by its name"
    )
    region: Region | None = Field(
        default=None, description="of `redact: phone`: whose numbers are found as they are dialled there"
    )
    mask: MaskDocument | None = None
    allow_list: Annotated[list[Any], Field(min_length=1, max_length=MOST_VALUES)] | None = Field(
        default=None, alias="allow-list", description="members of a list that are none of these are removed"
    )


def operations_of(documents: Sequence[ModifyDocument]) -> tuple[Operation, ...]:
    """The operations of documents that were checked (`policies.modification.checks`)."""
    return read([one.model_dump(by_alias=True, exclude_unset=True) for one in documents])
