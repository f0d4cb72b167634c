"""One request for approval, as a value: what it is bound to, who has approved, and what each event makes of it. Pure.

pending ──▶ partial ──▶ approved ──▶ (used, once)
   │           │            │
   └───────────┴────────────┴──▶ expired;  before it is approved also denied, cancelled
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson

from policies.approval_terms import ApprovalTerms

PENDING: Final = "pending"
PARTIAL: Final = "partial"
APPROVED: Final = "approved"
DENIED: Final = "denied"
EXPIRED: Final = "expired"
CANCELLED: Final = "cancelled"
OPEN: Final = frozenset((PENDING, PARTIAL))
STATES: Final = (PENDING, PARTIAL, APPROVED, DENIED, EXPIRED, CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One approval of one rule.

    Attributes:
        approver: `type:id` of who gave it.
        seat: in whose place: the approver's own, or that of who delegated to them.
        remember_until_us: until when the values that the rule objected to are approved as well; None = they are not.
        remember_scope: "agent" or "workflow".
    """

    approver: str
    seat: str
    at_us: int
    comment: str = ""
    remember_until_us: int | None = None
    remember_scope: str = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRule:
    """One rule that escalated.

    Attributes:
        values: (digest, ends, where it stands) of the values that its `origin` objected to, where they can be approved
            as such.
        escalated: whether those of `then_to` have been told.
    """

    rule: str
    hash: str
    because: str
    controls: tuple[str, ...]
    terms: ApprovalTerms
    values: tuple[tuple[str, str, str], ...] = ()
    given: tuple[Given, ...] = ()
    escalated: bool = False

    @property
    def approved(self) -> bool:
        return len(self.given) >= self.terms.quorum


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """An approver lets somebody else approve in their place."""

    seat: str
    to: str
    until_us: int
    at_us: int
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    by: str
    at_us: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A request for approval.

    Attributes:
        agent: agent key of who asked.
        session: the one that the action belongs to.
        arguments_digest: SHA-256 of the arguments that may be executed, hex: as asked, or as narrowed.
        evidence_digest: the same, keyed, hex.
        properties_digest: SHA-256 of `resource.properties`, hex; "" = there were none.
        masked: JSON text of them without values.
        owners: whom `exclude: owner` speaks of: the agent's registered owner, and on whose behalf the session acts.
        decision, bundle: the escalated decision's id, and what it was decided with.
        created_by: id of the key that asked for approval.
        narrowed: whether an approver approved less than was asked for.
        reminded: whether those who may act were reminded.
        ended_by, ended_comment: who denied or cancelled it.
        used_by, used_us: the decision that it permitted.
        version: raised by each change.
    """

    id: str
    tenant: str
    agent: str
    session: str
    workflow: str | None
    action: str
    resource_type: str
    resource_id: str
    arguments_digest: str
    evidence_digest: str
    masked: str
    owners: tuple[str, ...]
    decision: str
    bundle: str | None
    rules: tuple[AskedRule, ...]
    created_by: str
    justification: str
    requested_us: int
    expires_us: int
    state: str = PENDING
    narrowed: bool = False
    delegated: tuple[Delegated, ...] = ()
    comments: tuple[Comment, ...] = ()
    reminded: bool = False
    ended_by: str = ""
    ended_comment: str = ""
    used_by: str = ""
    used_us: int = 0
    version: int = 1
    properties_digest: str = ""

    @property
    def open(self) -> bool:
        """Whether it waits for an approver."""
        return self.state in OPEN

    @property
    def usable(self) -> bool:
        """Whether it may still permit its action."""
        return self.state == APPROVED and not self.used_by

    @property
    def remind_us(self) -> int:
        """When half of the time is left."""
        return self.requested_us + (self.expires_us - self.requested_us) // 2

    @property
    def bound(self) -> str:
        """What stands for all that it is bound to, as it was asked for: the same action asked for again has the same.

        Of a task that was narrowed it is no longer that.
        """
        said = (
            self.agent,
            self.session,
            self.action,
            self.resource_type,
            self.resource_id,
            self.arguments_digest,
            self.properties_digest,
            [(rule.rule, rule.hash) for rule in self.rules],
        )
        return hashlib.sha256(repr(said).encode()).hexdigest()

    @property
    def due_us(self) -> int | None:
        """When the next thing happens by itself; None = nothing will."""
        if self.usable:
            return self.expires_us
        if not self.open:
            return None
        moments = [self.expires_us]
        if not self.reminded:
            moments.append(self.remind_us)
        moments += [
            self.requested_us + rule.terms.after_us
            for rule in self.rules
            if rule.terms.after_us is not None and not rule.escalated and not rule.approved
        ]
        return min(moments)

    def to_bytes(self) -> bytes:
        value = asdict(self)
        for rule in value["rules"]:
            rule["terms"]["exclude"] = sorted(rule["terms"]["exclude"])
        return orjson.dumps(value)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Task:
        value: dict[str, Any] = orjson.loads(raw)
        value["owners"] = tuple(value["owners"])
        value["rules"] = tuple(_rule(one) for one in value["rules"])
        value["delegated"] = tuple(Delegated(**one) for one in value["delegated"])
        value["comments"] = tuple(Comment(**one) for one in value["comments"])
        return cls(**value)

    # -- events ----------------------------------------------------------------------------------------------------

    def granted(self, given: Given, rules: Iterable[str]) -> Task:
        """Somebody approves these rules."""
        named = frozenset(rules)
        changed = tuple(
            replace(rule, given=(*rule.given, given)) if rule.rule in named else rule for rule in self.rules
        )
        return replace(self, rules=changed, version=self.version + 1)._counted()

    def recounted(self, standing: Iterable[tuple[str, tuple[Given, ...]]]) -> Task:
        """Only these approvals of each rule still count."""
        left = dict(standing)
        changed = tuple(replace(rule, given=left[rule.rule]) for rule in self.rules)
        return self if changed == self.rules else replace(self, rules=changed)._counted()

    def narrow(self, *, digest: str, evidence_digest: str, masked: str) -> Task:
        """Less is approved than was asked for. What was given before was given for more: it is void."""
        return replace(
            self,
            rules=tuple(replace(rule, given=()) for rule in self.rules),
            arguments_digest=digest,
            evidence_digest=evidence_digest,
            masked=masked,
            narrowed=True,
            version=self.version + 1,
        )._counted()

    def ended(self, state: str, by: str = "", comment: str = "") -> Task:
        """It is denied, cancelled or expired."""
        return replace(self, state=state, ended_by=by, ended_comment=comment, version=self.version + 1)

    def delegate(self, one: Delegated) -> Task:
        return replace(self, delegated=(*self.delegated, one), version=self.version + 1)

    def comment(self, one: Comment) -> Task:
        return replace(self, comments=(*self.comments, one), version=self.version + 1)

    def remind(self) -> Task:
        return replace(self, reminded=True, version=self.version + 1)

    def escalate(self, now_us: int) -> Task:
        """Those of `then_to` may approve as well, of every rule whose time has come."""
        changed = tuple(
            replace(rule, escalated=True) if self.waits_for_more(rule, now_us) else rule
            for rule in self.rules
        )
        return replace(self, rules=changed, version=self.version + 1)

    def waits_for_more(self, rule: AskedRule, now_us: int) -> bool:
        """Whether a rule's `then_to` begins now."""
        after_us = rule.terms.after_us
        if after_us is None or rule.escalated or rule.approved:
            return False
        return now_us >= self.requested_us + after_us

    def use(self, decision: str, now_us: int) -> Task:
        """It permitted its action."""
        return replace(self, used_by=decision, used_us=now_us, version=self.version + 1)

    def _counted(self) -> Task:
        approved = [rule.approved for rule in self.rules]
        state = APPROVED if all(approved) else PARTIAL if any(approved) else PENDING
        return replace(self, state=state)


def _rule(value: dict[str, Any]) -> AskedRule:
    terms = value["terms"]
    for name in ("by", "then_to", "authors"):
        terms[name] = tuple(terms[name])
    terms["exclude"] = frozenset(terms["exclude"])
    value["terms"] = ApprovalTerms(**terms)
    value["controls"] = tuple(value["controls"])
    value["values"] = tuple((digest, shown, at) for digest, shown, at in value["values"])
    value["given"] = tuple(Given(**one) for one in value["given"])
    return AskedRule(**value)
