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
from policies.document_types import Condition, ControlId, DefineName, Id, Name, Pattern, Strict, Text
from policies.story_documents import StoryDocument, StorySessionDocument, StoryStepDocument


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _one_or_many(item: dict[str, object], *, at_least: int = 0) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": at_least}]})


_PATTERN = {"type": "string", "pattern": r"^[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,255}$"}
Patterns: TypeAlias = Annotated[
    list[Pattern], Field(min_length=1), BeforeValidator(_listed), _one_or_many(_PATTERN, at_least=1)
]
EffectName: TypeAlias = Literal[
    "read", "write", "delete", "send", "pay", "execute", "grant", "delegate", "admin"
]
BoundaryName: TypeAlias = Literal["internal", "external"]
TrustName: TypeAlias = Literal["trusted", "identifiers", "untrusted"]
TypeName: TypeAlias = Literal[
    "string", "decimal", "integer", "number", "boolean", "iban", "email", "url", "date", "datetime", "list",
    "object", "any",
]  # fmt: skip
RoleName: TypeAlias = Literal[
    "destination", "target", "secret", "content", "quantity", "time", "profile", "query"
]


class On(Strict):
    """The index of a rule: each key any-of, all keys together all-of; `{}` matches everything."""

    tenant: Patterns | None = None
    agent: Patterns | None = Field(default=None, description="the subject's id, where its type is `agent`")
    subject_type: Patterns | None = None
    agent_label: Patterns | None = None
    action: Patterns | None = None
    tool: Patterns | None = Field(default=None, description="the resource's id, where its type is `tool`")
    resource: Patterns | None = Field(default=None, description="the resource's id, whatever its type")
    resource_type: Patterns | None = None
    system: Patterns | None = None
    effect: Patterns | None = None
    data: Patterns | None = None
    boundary: Patterns | None = None
    jurisdiction: Patterns | None = None
    trust: Patterns | None = None


class RuleDocument(Strict):
    id: Name
    on: On = On()
    when: Condition | None = Field(default=None, description="a CEL condition over this action")
    then: Literal["allow", "deny"]
    because: Text = ""
    controls: Annotated[list[ControlId], BeforeValidator(_listed), _one_or_many({"type": "string"})] = Field(
        default_factory=list
    )


class DefineDocument(Strict):
    on: On | None = None
    when: Condition | None = None


class PolicyDocument(Strict):
    kind: Literal["Policy"]
    name: Name
    description: Text = ""
    define: dict[DefineName, DefineDocument] = Field(default_factory=dict)
    rules: list[RuleDocument] = Field(default_factory=list)


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
        Annotated[list[EffectName], BeforeValidator(_listed), _one_or_many({"enum": list(EFFECTS)})] | None
    ) = None
    boundary: BoundaryName | None = None
    data: Annotated[list[Id], BeforeValidator(_listed), _one_or_many({"type": "string"})] | None = None
    actions: Annotated[list[Id], BeforeValidator(_listed), _one_or_many({"type": "string"})] | None = None
    args: dict[str, ArgumentDocument] | None = None
    returns: Returns | None = None
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


class ControlDocument(Strict):
    title: Text = ""
    text: Text = ""


class ControlsDocument(Strict):
    kind: Literal["Controls"]
    name: Name
    title: Text = ""
    controls: dict[ControlId, ControlDocument]


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
                "approve",
                "asked",
                "by",
                "limit",
                "mode",
                "modify",
                "obligations",
                "origin",
                "past",
                "permitted_is_done",
                "risk",
                "scope",
                "stop",
                "witness",
            )
        ),
        PolicyDocument: frozenset(("mode", "hazards")),
        BundleDocument: frozenset(("mode", "shadow")),
        StorySessionDocument: frozenset(("parent", "scope")),
        StoryStepDocument: frozenset(("approve",)),
    }
)
LATER_VALUES: Mapping[tuple[type[Strict], str], frozenset[str]] = MappingProxyType(
    {
        (RuleDocument, "then"): frozenset(("escalate", "modify")),
        (StoryStepDocument, "expect"): frozenset(("escalate", "modify")),
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
