"""Rules as they are written: what each clause may say."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, StringConstraints

from policies.document_types import (
    Condition,
    ControlId,
    DefineName,
    Duration,
    Flag,
    Name,
    Pattern,
    Pointer,
    RoleName,
    Strict,
    Text,
    listed,
    number,
    one_or_many,
)
from policies.modification.documents import MOST_OPERATIONS, ModifyDocument

_PATTERN = {"type": "string", "pattern": r"^[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,255}$"}
Patterns: TypeAlias = Annotated[
    list[Pattern], Field(min_length=1), BeforeValidator(listed), one_or_many(_PATTERN, at_least=1)
]
ScopeName: TypeAlias = Literal["session", "workflow", "agent"]
ModeName: TypeAlias = Literal["enforce", "monitor"]
FactName: TypeAlias = Literal["trusted", "derived", "mixed", "unknown", "untrusted"]
AnswerName: TypeAlias = Literal["yes", "no", "unknown"]
_AnyOf = one_or_many({"type": "string"}, at_least=1)
PRINCIPAL = r"^[A-Za-z0-9][A-Za-z0-9._/@-]{0,255}:[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}$"
Principal: TypeAlias = Annotated[str, StringConstraints(pattern=PRINCIPAL)]
ExcludedName: TypeAlias = Literal["owner", "author"]


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


class LimitDocument(Strict):
    """What may be spent, or how often, in a sliding window; the rule matches when it would be exceeded."""

    sum: Condition | None = Field(default=None, description="path of the argument to add up: `args.amount`")
    count: Literal["actions", "denials"] | None = None
    per: Duration | None = Field(default=None, description="window; default: the whole scope")
    scope: ScopeName = "workflow"
    key: Condition | None = Field(default=None, description="a CEL expression: one budget for each value")
    above: Annotated[int | float | str, BeforeValidator(number)] = Field(
        description="the rule matches when the sum or count lies above this"
    )


Approvers: TypeAlias = Annotated[
    list[Principal], Field(min_length=1, max_length=100), BeforeValidator(listed), _AnyOf
]


def _owner_alone() -> list[ExcludedName]:
    return ["owner"]


class ThenToDocument(Strict):
    """Who may approve as well when the first have not."""

    by: Approvers
    after: Duration = Field(description="how long after the request")


class ApproveDocument(Strict):
    """Who may lift an escalation: `role:NAME`, `group:NAME`, or `type:id` of a principal."""

    by: Approvers
    quorum: int = Field(default=1, ge=1, le=100, description="how many different people")
    expires: Duration | None = Field(default=None, description="since the request; 1h unless said otherwise")
    then_to: ThenToDocument | None = None
    exclude: Annotated[
        list[ExcludedName], BeforeValidator(listed), one_or_many({"enum": ["owner", "author"]})
    ] = Field(
        default_factory=_owner_alone,
        description="who may not approve: the agent's owner and on whose behalf it acts; the policy's authors",
    )
    remember: Literal["value"] | None = Field(
        default=None, description="whether approving may be for the values that `origin` objects to"
    )


class StopDocument(Strict):
    """Whom a denial by the rule takes out of service, `{agent, for: 1h}`."""

    agent: Flag = Field(default=False, description="the agent that acted, in all its sessions")
    workflow: Flag = Field(default=False, description="the workflow that it acted in, with all its agents")
    lasts: Duration | None = Field(
        default=None, alias="for", description="how long; default: until an operator releases it"
    )


class OriginDocument(Strict):
    """Where a value of the action comes from, told by the argument's role or by where it stands."""

    roles: Annotated[list[RoleName], Field(min_length=1), BeforeValidator(listed), _AnyOf] | None = Field(
        default=None, description="roles that the catalog gives arguments; any of them is looked at"
    )
    args: Annotated[list[Pointer], Field(min_length=1), BeforeValidator(listed), _AnyOf] | None = Field(
        default=None, description="JSON pointers to arguments, `/to`; what stands below is looked at as well"
    )
    facts: Annotated[list[FactName], Field(min_length=1), BeforeValidator(listed), _AnyOf] = Field(
        alias="is", description="what is known of where such a value comes from; any of these matches"
    )


class RuleDocument(Strict):
    id: Name
    on: On = On()
    when: Condition | None = Field(default=None, description="a CEL condition over this action")
    past: Condition | None = Field(default=None, description="a formula over this action and those before it")
    by: dict[DefineName, Condition] | None = Field(
        default=None, description="a key for atoms of `past`: one state for each value"
    )
    scope: ScopeName = Field(default="workflow", description="whose actions `past` looks back over")
    permitted_is_done: bool = Field(
        default=False, description="whether `previous` and `since` may take a permitted action for a done one"
    )
    witness: Literal["gateway"] | None = Field(
        default=None, description="whose word `done(…)` takes: of keys with the grant `witness` alone"
    )
    limit: LimitDocument | None = None
    origin: OriginDocument | None = Field(default=None, description="where the action's values come from")
    asked: Annotated[list[AnswerName], Field(min_length=1), BeforeValidator(listed), _AnyOf] | None = Field(
        default=None, description="whether the user's task asks for such an action"
    )
    then: Literal["allow", "modify", "escalate", "deny"]
    modify: Annotated[list[ModifyDocument], Field(min_length=1, max_length=MOST_OPERATIONS)] | None = Field(
        default=None, description="how the action's arguments are rewritten, in this order"
    )
    mode: ModeName = Field(default="enforce", description="`monitor`: recorded, not enforced")
    approve: ApproveDocument | None = None
    stop: StopDocument | None = Field(default=None, description="whom a denial stops from then on")
    because: Text = ""
    controls: Annotated[list[ControlId], BeforeValidator(listed), one_or_many({"type": "string"})] = Field(
        default_factory=list
    )


class DefineDocument(Strict):
    on: On | None = None
    when: Condition | None = None


ParameterValue: TypeAlias = str | int | float | bool | list[str]


class ParameterDocument(Strict):
    default: ParameterValue | None = None
    description: Text = ""


class PolicyDocument(Strict):
    kind: Literal["Policy"]
    name: Name
    description: Text = ""
    authors: Annotated[
        list[Principal], Field(max_length=100), BeforeValidator(listed), one_or_many({"type": "string"})
    ] = Field(default_factory=list, description="who wrote it, `type:id`, for `exclude: author`")
    parameters: dict[DefineName, ParameterDocument] = Field(
        default_factory=dict, description="what a bundle may set; `$name` stands where the value goes"
    )
    define: dict[DefineName, DefineDocument] = Field(default_factory=dict)
    rules: list[RuleDocument] = Field(default_factory=list)
