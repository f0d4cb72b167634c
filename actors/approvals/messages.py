"""What travels between a replica and an owner about approvals: plain tuples, named here (as in `actors.messages`)."""

from __future__ import annotations

from typing import NamedTuple

from actors.api_keys import Caller


class ApprovalRequest(NamedTuple):
    """Ask for an escalated decision to be approved."""

    tenant: str
    token: str
    arguments: bytes | None  # JSON; what approvers may see
    arguments_digest: bytes | None
    justification: str
    key_id: str


class Narrowed(NamedTuple):
    """Less than what was asked for, and of which arguments it is less."""

    arguments: bytes  # JSON
    digest: str  # hexadecimal, as the two below
    evidence_digest: str
    masked: str
    of_digest: str


class ApprovalAct(NamedTuple):
    """What an approver does to a task."""

    id: str
    tenant: str
    approver: str  # `type:id`
    key_id: str
    comment: str
    narrowed: tuple[str | bytes, ...] | None = None  # `Narrowed`
    remember_until_us: int | None = None
    remember_scope: str = "agent"
    to: str = ""  # whom an approver delegates to
    until_us: int | None = None
    seen_digest: str | None = None  # of the arguments that the approver has looked at, hexadecimal


class Viewer(NamedTuple):
    """Who looks at tasks: what a key may see of them."""

    tenant: str
    role: str
    approver: str | None  # `type:id` of an approver's key
    agents: tuple[str, ...]
    subjects: tuple[str, ...]

    @classmethod
    def of(cls, caller: Caller) -> Viewer:
        return cls(caller.tenant, caller.role, caller.principal, caller.agents, caller.subjects)

    def asked_for(self, subject_type: str, subject_id: str) -> bool:
        """Whether it is a subject's own, or of one that the key speaks for."""
        own = Caller(
            key_id="",
            tenant=self.tenant,
            role=self.role,
            agents=self.agents,
            subjects=self.subjects,
            grants=frozenset(),
        )
        return self.role != "approver" and own.may_speak_for(subject_type, subject_id)
