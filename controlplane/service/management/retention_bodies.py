"""The bodies of /v1/evidence/retention and /v1/evidence/holds, validated at the edge (as `bodies`)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from controlplane.service.management.bodies import ExactBody, Id, Reason, Token

MAX_KEEP_DAYS = 36_500

Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class NewRetention(ExactBody):
    """`keep_days`: null = for ever."""

    keep_days: int | None = Field(ge=1, le=MAX_KEEP_DAYS)
    allow_shorter: bool = False
    reason: Annotated[str, StringConstraints(max_length=512)] = ""


class NewRetentionRun(ExactBody):
    dry_run: bool = False


class NewHold(ExactBody):
    reason: Reason
    agent: Id | None = None
    session: Token | None = None
    workflow: Id | None = None
    tenant: Id | None = None
    first: Day | None = None
    last: Day | None = None

    @field_validator("first", "last")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        if value is not None:
            date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _of_something(self) -> NewHold:
        if all(
            value is None
            for value in (self.agent, self.session, self.workflow, self.tenant, self.first, self.last)
        ):
            raise ValueError("say what is held: an agent, session, workflow, tenant, or dates")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError("`last` lies before `first`")
        return self

    def given(self) -> dict[str, Any]:
        """As the control store takes it."""
        return self.model_dump()


class HoldRelease(ExactBody):
    reason: Reason
