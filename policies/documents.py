"""The kinds of policy documents, as they are written; extra keys are refused.

Lists may be written as a single value. Keys of later versions are known here by name only, so that a document
which uses one is refused with a reason instead of being half enforced.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    WithJsonSchema,
)

from policies.action import Json
from policies.catalog import ARGUMENT_ROLES, ARGUMENT_TYPES, BOUNDARIES, EFFECTS, TRUST
from policies.document_types import (
    ControlId,
    DefineName,
    EffectName,
    Id,
    Name,
    Pattern,
    RoleName,
    Strict,
    Text,
    listed,
    one_or_many,
)
from policies.keeping_documents import ArgumentsEvidenceDocument, BundleEvidenceDocument
from policies.rule_documents import (
    ApproveDocument,
    DefineDocument,
    ModeName,
    On,
    ParameterValue,
    PolicyDocument,
    RuleDocument,
)
from policies.story_documents import StoryDocument

BoundaryName: TypeAlias = Literal["internal", "external"]
TrustName: TypeAlias = Literal["trusted", "identifiers", "untrusted"]
TypeName: TypeAlias = Literal[
    "string", "decimal", "integer", "number", "boolean", "iban", "email", "url", "date", "datetime", "list",
    "object", "any",
]  # fmt: skip


class ArgumentDocument(Strict):
    type: TypeName = "any"
    role: RoleName | None = None
    required: bool = Field(default=False, description="whether an action without it is denied")
    description: Text = ""


def _returned(value: object) -> object:
    return value if isinstance(value, dict) else {"default": value}


Returns: TypeAlias = Annotated[
    dict[str, TrustName],
    BeforeValidator(_returned),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(TRUST)},
                {
                    "type": "object",
                    "required": ["default"],
                    "properties": {"default": {"enum": list(TRUST)}},
                    "patternProperties": {"^/": {"enum": list(TRUST)}},
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class ResourceDocument(Strict):
    system: Id | None = None
    effects: (
        Annotated[list[EffectName], BeforeValidator(listed), one_or_many({"enum": list(EFFECTS)})] | None
    ) = None
    boundary: BoundaryName | None = None
    data: Annotated[list[Id], BeforeValidator(listed), one_or_many({"type": "string"})] | None = None
    actions: Annotated[list[Id], BeforeValidator(listed), one_or_many({"type": "string"})] | None = None
    args: dict[str, ArgumentDocument] | None = None
    returns: Returns | None = None
    evidence: ArgumentsEvidenceDocument | None = Field(
        default=None, description="how evidence keeps its arguments; what is not named is masked"
    )
    description: Text = ""


class SystemDocument(Strict):
    jurisdiction: Id | None = None
    description: Text = ""


class DataClassDocument(Strict):
    description: Text = ""


class CatalogDocument(Strict):
    kind: Literal["Catalog"]
    description: Text = ""
    tools: dict[Pattern, ResourceDocument] = Field(default_factory=dict)
    resources: dict[Id, dict[Pattern, ResourceDocument]] = Field(default_factory=dict)
    systems: dict[Id, SystemDocument] = Field(default_factory=dict)
    data: dict[Id, DataClassDocument] = Field(default_factory=dict)


class BundleDocument(Strict):
    kind: Literal["Bundle"]
    name: Name
    description: Text = ""
    default: Literal["allow", "deny"] = "deny"
    uncatalogued: Literal["allow", "deny"] = "deny"
    mode: ModeName = "enforce"
    parameters: dict[Name, dict[DefineName, ParameterValue]] = Field(
        default_factory=dict, description="values for the parameters of policies, by the policy's name"
    )
    evidence: BundleEvidenceDocument | None = Field(
        default=None, description="whether evidence keeps arguments in clear where the catalog says so"
    )


class ControlDocument(Strict):
    title: Text = ""
    text: Text = ""


class ControlsDocument(Strict):
    kind: Literal["Controls"]
    name: Name
    title: Text = ""
    controls: dict[ControlId, ControlDocument]


__all__ = [
    "KINDS",
    "ApproveDocument",
    "BundleDocument",
    "CatalogDocument",
    "ControlsDocument",
    "DefineDocument",
    "On",
    "PolicyDocument",
    "ResourceDocument",
    "RuleDocument",
    "SystemDocument",
    "json_schema",
]

AnyDocument: TypeAlias = PolicyDocument | CatalogDocument | BundleDocument | ControlsDocument | StoryDocument
KINDS: Mapping[str, type[Strict]] = MappingProxyType(
    {
        "Policy": PolicyDocument,
        "Catalog": CatalogDocument,
        "Bundle": BundleDocument,
        "Controls": ControlsDocument,
        "Test": StoryDocument,
    }
)

LATER_KEYS: Mapping[type[Strict], frozenset[str]] = MappingProxyType(
    {
        RuleDocument: frozenset(
            (
                "obligations",
                "risk",
            )
        ),
        PolicyDocument: frozenset(("mode", "hazards")),
        BundleDocument: frozenset(("shadow",)),
    }
)


def json_schema() -> dict[str, Json]:
    """JSON Schema of one document of any kind, for editors. Cost: milliseconds; not on any hot path."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[AnyDocument, Field(discriminator="kind")])
    schema = _without_null(adapter.json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "controlplane policies",
        **schema,
    }


def _without_null(schema: Any) -> Any:
    """A key may be left out, and never be null: pydantic's types say the first by allowing the second."""
    if isinstance(schema, list):
        return [_without_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _without_null(one) for name, one in schema.items() if one is not None}
    if "anyOf" in kept:
        kept["anyOf"] = [one for one in kept["anyOf"] if one != {"type": "null"}]
    return kept


# The closed sets are written once as types (for the checker and the schema) and once as data (for the engine).
for _type, _values in (
    (EffectName, EFFECTS),
    (BoundaryName, BOUNDARIES),
    (TrustName, TRUST),
    (TypeName, ARGUMENT_TYPES),
    (RoleName, ARGUMENT_ROLES),
):
    assert get_args(_type) == tuple(_values)
