"""The bodies of the management API, validated at the edge. Unknown fields are ignored, as AuthZEN does."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from controlplane.errors import InputError
from controlplane.limits import MAX_RATE_PER_S
from controlplane.wire.authzen import ID_PATTERN
from policies.error import did_you_mean
from policies.keeping import SUBJECT_ID_CHARACTERS, SUBJECT_TYPE

Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
PATTERN = r"[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,255}"
Pattern = Annotated[str, StringConstraints(pattern=f"^{PATTERN}$")]
_PRINCIPAL = rf"^{ID_PATTERN}:{ID_PATTERN}$"
Principal = Annotated[str, StringConstraints(pattern=_PRINCIPAL)]
_SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
Slug = Annotated[str, StringConstraints(pattern=_SLUG)]
_MAIL = r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9][A-Za-z0-9.-]*$"
MailAddress = Annotated[str, StringConstraints(pattern=_MAIL, max_length=254)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=512)]
_VISIBLE = r"\S"
Reason = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=_VISIBLE)]
_DATA_SUBJECT = rf"^{SUBJECT_TYPE}:[^\x00]{{1,{SUBJECT_ID_CHARACTERS}}}$"
DataSubjectId = Annotated[str, StringConstraints(pattern=_DATA_SUBJECT)]
_REASON_CODE = r"^[a-z0-9][a-z0-9._/-]{0,63}$"
ReasonCode = Annotated[str, StringConstraints(pattern=_REASON_CODE)]
_SPELLED = {
    _DATA_SUBJECT: "write `type:id`, such as `customer:123`, as the catalog's `subject` makes it",
    _REASON_CODE: "a code of small letters, digits and `._/-`: it stays in evidence, so it names nobody",
    f"^{ID_PATTERN}$": "an id is 1 to 256 letters, digits and `._:/@-`, the first a letter or a digit",
    _PRINCIPAL: "write `type:id`, such as `user:anna` or `role:treasury`",
    _SLUG: "small letters, digits and dashes, 63 at most, the first no dash",
    _MAIL: "write an address such as `desk@bank.example`",
    _VISIBLE: "it must not be blank",
}
"""What a pattern asks for, in words."""
Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]

_ATTRIBUTES_BYTES = 16_384
TOOLS_CHARACTERS = 4_096
"""Of all patterns of one delegation; each action of its children is compared with them."""

Body = TypeVar("Body", bound=BaseModel)


class RequestBody(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ExactBody(RequestBody):
    """Of acts that a misspelled field would widen: all of it approved instead of less, a stop instead of a dry run, all
    tools instead of some, a key for ever, a session for anything, a channel that tells everything."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewKey(ExactBody):
    role: Literal["agent", "gateway", "operator", "approver", "auditor"]
    agents: list[Pattern] = Field(default_factory=list, max_length=100)
    subjects: list[Pattern] = Field(default_factory=list, max_length=100)
    grants: list[Literal["workflows", "witness"]] = Field(default_factory=list)
    note: Text = ""
    expires_in_s: int | None = Field(default=None, ge=1, le=10 * 366 * 86_400)
    rate_per_s: int | None = Field(default=None, ge=0, le=MAX_RATE_PER_S)


class _Attributed(RequestBody):
    attributes: dict[str, Any] = Field(default_factory=dict)

    @field_validator("attributes")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > _ATTRIBUTES_BYTES:
            raise ValueError(f"more than {_ATTRIBUTES_BYTES} bytes")
        return value


class NewPrincipal(_Attributed):
    type: Id = "user"
    id: Id
    roles: list[Label] = Field(default_factory=list, max_length=100)
    groups: list[Label] = Field(default_factory=list, max_length=100)


class NewAgent(_Attributed, ExactBody):
    id: Id
    owner: Text | None = None
    labels: list[Label] = Field(default_factory=list, max_length=100)
    tools: list[Id] = Field(default_factory=list, max_length=1000)
    isolation: Literal["hosted", "dedicated"] | None = None
    standing: bool = True
    version: Annotated[str, StringConstraints(max_length=128)] = ""


class NewSession(ExactBody):
    agent: Id
    subject_type: Id = "agent"
    task: Annotated[str, StringConstraints(min_length=1, max_length=65_536)] | None = None
    scope: dict[str, Any] | None = None
    principal: Principal | None = None
    parent: Token | None = None


class NewDelegation(ExactBody):
    session: Token
    to: Id
    tools: list[Pattern] | None = Field(default=None, max_length=64)
    depth: int = Field(default=0, ge=0, le=1000)
    expires_in_s: int = Field(default=3600, ge=1, le=366 * 86_400)
    principal: Principal | None = None

    @field_validator("tools")
    @classmethod
    def _short(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and sum(map(len, value)) > TOOLS_CHARACTERS:
            raise ValueError(f"more than {TOOLS_CHARACTERS} characters together")
        return value


class NewTask(ExactBody):
    task: Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
    scope: dict[str, Any] | None = None


class NewOutcome(RequestBody):
    status: Literal["succeeded", "failed", "not_executed"]
    result: Any = None
    complete: bool = True
    labels: list[Label] = Field(default_factory=list, max_length=100)
    executed_digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


PastName = Literal["strict", "lenient"]


class SourceText(RequestBody):
    name: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    text: str


class NewBundle(RequestBody):
    sources: list[SourceText] = Field(min_length=1, max_length=1000)
    activate: bool = False
    past: PastName = "strict"
    shadow: bool = False


class StopTarget(ExactBody):
    type: Literal["agent", "tool", "system", "workflow", "owner", "fleet"]
    id: Annotated[str, StringConstraints(max_length=512)] = ""

    @model_validator(mode="after")
    def _named(self) -> StopTarget:
        """Only agents and tools may be named by a glob: what is meant literally never stops more than it says."""
        if (self.type == "fleet") is not (self.id == ""):
            raise ValueError("`id` says which; only the fleet has none")
        if self.type in ("agent", "tool") and not re.fullmatch(PATTERN, self.id):
            raise ValueError(f"`id` must match `{PATTERN}`")
        if self.type in ("system", "workflow") and not re.fullmatch(ID_PATTERN, self.id):
            raise ValueError(f"`id` must match `{ID_PATTERN}`")
        return self


class NewStop(ExactBody):
    target: StopTarget
    reason: Reason
    expires_in_s: int | None = Field(default=None, ge=1, le=10 * 366 * 86_400)
    dry_run: bool = False


class NewRelease(ExactBody):
    reason: Reason


class NewErasure(ExactBody):
    subject: DataSubjectId
    reason: ReasonCode = "erasure_request"


class Revealing(ExactBody):
    reason: Reason


class NewActivation(RequestBody):
    past: PastName = "strict"


def read_body(model: type[Body], value: dict[str, Any]) -> Body:
    """Validate a body. Raises: InputError that names every wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(
            f"`{'.'.join(str(part) for part in item['loc']) or '$'}`: {_told(item, model)}"
            for item in error.errors(include_url=False, include_input=False)[:10]
        )
        raise InputError(problems) from None


def _told(item: ErrorDetails, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        hint = did_you_mean(str(item["loc"][-1]), list(model.model_fields)) if len(item["loc"]) == 1 else ""
        return "there is no such field" + (f"; {hint}" if hint else "")
    pattern = str(item.get("ctx", {}).get("pattern"))
    return _SPELLED.get(pattern) or item["msg"][:1].lower() + item["msg"][1:]
