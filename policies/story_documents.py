"""`kind: Test`: a story told to the engine, and what it must answer at each step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from policies.asked.scope import ScopeDocument
from policies.document_types import Duration, Id, Name, Pattern, Strict, Text, listed, one_or_many


class StorySubjectDocument(Strict):
    labels: list[str] = Field(default_factory=list)
    roles: list[str] = Field(default_factory=list)
    groups: list[str] = Field(default_factory=list)
    owner: str | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class StorySessionDocument(Strict):
    agent: Id | None = Field(default=None, description="the subject's id; its type is `agent`")
    subject: Id | None = Field(default=None, description="`type:id` of a subject that is no agent")
    task: Text | None = None
    scope: ScopeDocument | None = Field(
        default=None, description="what the session is for, as whoever opens it declares"
    )
    parent: str | None = Field(
        default=None, description="the session that delegates to this one: it joins its workflow"
    )
    tools: Annotated[list[Pattern], BeforeValidator(listed), one_or_many({"type": "string"})] | None = Field(
        default=None, description="what the delegation grants; default: whatever the parent may"
    )
    depth: int | None = Field(
        default=None,
        ge=0,
        le=15,
        description="levels further that it may delegate; default: all that are left",
    )
    expires: Duration | None = Field(
        default=None, description="when the delegation ends, since the story began"
    )


class StoryOutcomeDocument(Strict):
    status: Literal["succeeded", "failed", "not_executed", "unreported"] = "succeeded"
    labels: list[str] = Field(default_factory=list)
    complete: bool = Field(default=True, description="whether `result` is all that was returned")
    witness: bool = Field(default=True, description="whether a key with the grant `witness` reports it")


class StoryStepDocument(Strict):
    session: str
    at: Duration | None = Field(default=None, description="time since the story began; default: as before")
    tool: Id | None = None
    resource: Id | None = None
    resource_type: Id | None = None
    properties: dict[str, Any] = Field(
        default_factory=dict, description="what the caller says of the resource"
    )
    action: Id = "call"
    args: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] = Field(default_factory=dict)
    result: Any = None
    outcome: StoryOutcomeDocument | None = None
    expect: Literal["allow", "modify", "escalate", "deny"]
    args_after: dict[str, Any] | None = Field(
        default=None, description="what `args` must be rewritten to, where the step expects `modify`"
    )
    approve: bool = Field(
        default=False, description="with `expect: escalate`: it is approved at once, and then permitted"
    )
    rules: list[str] = Field(default_factory=list, description="`policy/rule` names that must be reported")
    reason_code: str | None = None


class StoryCaseDocument(Strict):
    name: Text
    steps: list[StoryStepDocument]


class StoryDocument(Strict):
    kind: Literal["Test"]
    name: Name
    description: Text = ""
    start: str = Field(default="2026-01-05T09:00:00Z", description="the story's clock at `at: 0s` (RFC 3339)")
    tenant: Id = "default"
    agents: dict[Id, StorySubjectDocument] = Field(default_factory=dict)
    subjects: dict[Id, StorySubjectDocument] = Field(default_factory=dict, description="by `type:id`")
    sessions: dict[str, StorySessionDocument]
    cases: list[StoryCaseDocument]
