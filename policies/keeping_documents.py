"""What a catalog and a bundle say of how evidence keeps arguments, as it is written."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from policies.document_types import Name, Strict
from policies.keeping import MOST_POINTERS, ArgumentKeeping, ClearValues, Keeping, Mode, read_subject
from policies.pointers import POINTER

ModeName: TypeAlias = Literal["keep", "mask", "digest", "encrypt"]
ClearName: TypeAlias = Literal["catalogued", "nothing"]
_MOST_TENANTS = 1_000


def _subject(text: str) -> str:
    if read_subject(text) is None:
        raise PydanticCustomError(
            "data_subject",
            "not a data subject: write `customer:/customer_id` (the argument that names it), `customer:acme` (always "
            "that one) or `actor` (who acts)",
        )
    return text


SubjectText: TypeAlias = Annotated[str, StringConstraints(max_length=1_100), AfterValidator(_subject)]


def _kept(value: object) -> object:
    """`digest` or `{encrypt: customer:/id}`, as the model below has it."""
    if isinstance(value, dict):
        if list(value) != ["encrypt"]:
            raise PydanticCustomError(
                "kept_as", "write `keep`, `mask`, `digest`, `encrypt`, or `{encrypt: SUBJECT}`"
            )
        return {"mode": "encrypt", "subject": value["encrypt"]}
    return {"mode": value}


class KeptDocument(Strict):
    mode: ModeName
    subject: SubjectText | None = None


Kept: TypeAlias = Annotated[
    KeptDocument,
    BeforeValidator(_kept),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [mode.value for mode in Mode]},
                {
                    "type": "object",
                    "required": ["encrypt"],
                    "properties": {"encrypt": {"type": "string"}},
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class ArgumentsEvidenceDocument(Strict):
    subject: SubjectText | None = None
    arguments: Annotated[
        dict[str, Kept],
        Field(max_length=MOST_POINTERS, json_schema_extra={"propertyNames": {"pattern": POINTER}}),
    ] = Field(default_factory=dict, description="by JSON pointer; `*` in one stands for the items of a list")


class BundleEvidenceDocument(Strict):
    keep: ClearName = "catalogued"
    tenants: Annotated[dict[Name, ClearName], Field(max_length=_MOST_TENANTS)] = Field(default_factory=dict)


def keeping_of(document: ArgumentsEvidenceDocument | None) -> ArgumentKeeping | None:
    """As it is obeyed; None: all is masked."""
    if document is None or not document.arguments:
        return None
    return ArgumentKeeping({pointer: read_keeping(document, pointer) for pointer in document.arguments})


def read_keeping(document: ArgumentsEvidenceDocument, pointer: str) -> Keeping:
    """What is said of one pointer; `encrypt` without a subject has none."""
    said = document.arguments[pointer]
    mode = Mode(said.mode)
    subject = said.subject or document.subject
    if mode is not Mode.ENCRYPT or subject is None:
        return Keeping(mode)
    return Keeping(mode, read_subject(subject))


def clear_values_of(document: BundleEvidenceDocument | None) -> ClearValues:
    if document is None:
        return ClearValues()
    obeyed = {tenant: keep == "catalogued" for tenant, keep in document.tenants.items()}
    return ClearValues(document.keep == "catalogued", obeyed)
