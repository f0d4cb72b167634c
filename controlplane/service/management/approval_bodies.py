"""The bodies of /v1/approvals, validated at the edge (as `bodies`)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from controlplane.errors import InputError
from controlplane.service.management.bodies import ExactBody, Id, Principal, RequestBody, Token

Words = Annotated[str, StringConstraints(max_length=2_000)]
Moment = Annotated[str, StringConstraints(max_length=40)]


class Denied(RequestBody):
    binding_token: Token


class Entity(RequestBody):
    type: Id
    id: Id


class NamedAction(RequestBody):
    name: Id


class NewApproval(RequestBody):
    """Either ours, with a `binding_token`, or as the draft has it, with what was asked and a `denial`."""

    binding_token: Token | None = None
    denial: Denied | None = None
    subject: Entity | None = None
    action: NamedAction | None = None
    resource: Entity | None = None
    arguments: dict[str, Any] | None = None
    justification: Words = ""

    @property
    def token(self) -> str:
        """Raises: InputError: there is none, or two."""
        if (self.binding_token is None) == (self.denial is None):
            raise InputError(
                "`binding_token` is missing: give it, or `denial` with it, as `context.access_request` said"
            )
        return self.binding_token if self.denial is None else self.denial.binding_token  # type: ignore[return-value]


class Approval(ExactBody):
    comment: Words = ""
    narrow: dict[str, Any] | None = None
    arguments_digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    remember_until: Moment | None = None
    remember_scope: Literal["agent", "workflow"] = "agent"


class Denial(RequestBody):
    comment: Words = ""


class Cancellation(RequestBody):
    comment: Words = ""


class NewComment(RequestBody):
    comment: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field()


class ApproverDelegation(ExactBody):
    to: Principal
    until: Moment | None = None
    comment: Words = ""


def moment_us(text: str | None, name: str) -> int | None:
    """Microseconds since the epoch of an RFC 3339 time. Raises: InputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(f"`{name}` must be an RFC 3339 time with an offset, such as `2026-12-01T00:00:00Z`")
    return int(moment.timestamp() * 1e6)
