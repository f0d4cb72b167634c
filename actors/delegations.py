"""Delegation: one agent lets another do part of its work, in its workflow and with no more than its own authority.

All sessions of a workflow live with the owner of the one that began it, wherever their agents' homes are; so a token
is used up, and a chain of grants is asked, in one place.
"""

from __future__ import annotations

from typing import Any

from actors import delegation_journal, sessions
from actors.delegation_journal import Delegation
from actors.ids import agent_key, delegation_token, read_delegation_token, read_session_id, subject_of_key
from actors.journal import Transaction
from actors.live_agent import Delegated, LiveAgent, Session
from actors.messages import DecisionRequest, DelegationRequest, SessionRequest, Vouch
from actors.owner import Owner
from actors.records import AgentRecord
from actors.stops import stopping
from controlplane.errors import (
    ConflictError,
    ForbiddenError,
    GovernanceError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from policies.asked.basis import Basis
from policies.delegation import (
    DELEGATION_EXPIRED,
    OUTSIDE_DELEGATION,
    PARENT_ENDED,
    Grant,
    Refusal,
    covers,
    narrow,
)

COUNTED = frozenset((OUTSIDE_DELEGATION, DELEGATION_EXPIRED, PARENT_ENDED))
"""Refusals of a live session's actions, which limits on denials count."""
MAX_UNUSED = 1_000
"""Tokens of one session that wait to be used."""


def delegate(owner: Owner, request: DelegationRequest) -> dict[str, Any]:
    """Give out a token with which another agent may open a session in this one's workflow. Durable when it returns.

    Returns: ``{"token", "to", "tools", "depth", "expires_us", "principal"}``; the token is kept nowhere.
    Raises: NotFoundError: no such session. ConflictError: it, a session above it, or what it was itself delegated is
        over. ForbiddenError: more is asked for than it has, or another principal; its agent, its workflow or what it
        acts for is stopped. OverloadedError: too many of its tokens wait to be used. EvidenceBacklogError.
        UnavailableError: the clock cannot be trusted.
    """
    owner.refuse_backlog()
    agent, session = sessions.live_session(owner, request.session)
    _refuse_stopped(owner, agent, session)
    time = owner.event_time()
    if not time.certain:
        raise UnavailableError("the clock cannot be trusted: nothing is delegated", code="clock_uncertain")
    own = read_session_id(session.name, key=owner.settings.session_key, subject=agent.key)
    assert own is not None, session.name
    chain, ended = _chain(owner, session, time.us)
    if ended:
        raise _parent_ended()
    if own.expires_us <= time.us and session.delegated is None:
        raise ConflictError(f"session `{session.name}` has expired", code="session_expired")
    principal = sessions.principal_of(agent.key, session)
    _refuse_another(request.principal, principal)
    # In whole seconds, as the token says it: token, row and the child's session end in the same moment.
    expires_us = min(time.us + request.expires_in_us, own.expires_us) // 1_000_000 * 1_000_000
    asked = Grant(tools=request.tools, expires_us=expires_us, depth=request.depth)
    grant = narrow(chain, asked, now_us=time.us)
    if isinstance(grant, Refusal):
        raise _as_error(grant)
    unused = delegation_journal.count_unused(owner.journal, session.name, now_us=time.us, limit=MAX_UNUSED)
    if unused >= MAX_UNUSED:
        raise OverloadedError(
            f"{unused} delegations of session `{session.name}` wait to be used; they expire by themselves",
            code="too_many_delegations",
        )
    identity, token = delegation_token(
        key=owner.settings.session_key,
        tenant=request.tenant,
        ordinal=owner.settings.ordinal,
        expires_us=grant.expires_us,
        random=owner.world.random_bytes(9),
    )
    delegated = Delegated(id=identity, parent_agent=agent.key, parent=session.name, grant=grant)
    details = {
        "key": request.key_id,
        "to": request.to,
        "principal": principal,
        **sessions.describe(delegated),
    }
    session.last_us = time.us
    sessions.record_event(
        owner,
        agent,
        [session],
        "delegation_created",
        time.us,
        details,
        also=lambda step: delegation_journal.save_delegation(step, delegated, request.to),
    )
    return {
        "token": token,
        "to": request.to,
        "tools": grant.tools,
        "depth": grant.depth,
        "expires_us": grant.expires_us,
        "principal": principal,
    }


def open_child(owner: Owner, request: SessionRequest) -> dict[str, Any]:
    """Open a session with a delegation token, which is used up by that. Durable when it returns.

    Returns: as `sessions.open_session`.
    Raises: what that raises; NotFoundError: no token of ours. ForbiddenError: it is for another agent, or another
        principal was asked for; what delegated it is stopped. ConflictError: it is used or expired, or a session above
        the new one is over.
    """
    agent, now_us = sessions.may_open(owner, request, record_of(owner, request))
    delegation, parent_agent, parent = _usable(owner, request, now_us)
    _refuse_stopped(owner, parent_agent, parent)
    delegated = delegation.delegated
    principal = sessions.principal_of(parent_agent.key, parent)
    _refuse_another(request.principal, principal)
    expires_us = delegated.grant.expires_us
    session = Session(
        name=sessions.session_name(owner, agent, expires_us=expires_us, random=owner.world.random_bytes(9)),
        workflow_id=parent.workflow_id,
        opened_us=now_us,
        last_us=now_us,
        turns=1 if request.task_digest is not None else 0,
        principal=principal,
        delegated=delegated,
        basis=sessions.basis_of(request.basis),
    )
    if parent.basis is not None:
        session.basis = (session.basis or Basis()).below(parent.basis)

    def write(step: Transaction) -> None:
        delegation_journal.save_use(step, delegated.id, session.name)
        if request.vouch is not None:
            delegation_journal.save_owner(step, agent.key, Vouch._make(request.vouch).owner)

    return sessions.keep_opened(
        owner,
        agent,
        [session],
        request,
        expires_us=expires_us,
        also=write,
    )


def refusal(owner: Owner, session: Session, request: DecisionRequest, now_us: int) -> str | None:
    """Why a session's delegation does not cover an action, or None. Cost: a few dictionary lookups a level."""
    if session.delegated is None:
        return None
    chain, ended = _chain(owner, session, now_us)
    code = covers(chain, request.resource_type, request.resource_id, now_us=now_us)
    return PARENT_ENDED if ended and code != DELEGATION_EXPIRED else code


def record_of(owner: Owner, request: DecisionRequest | SessionRequest) -> AgentRecord | None:
    """The registered facts about who asks: its own, if this is its home, else what its home owner vouches for."""
    record = owner.record(request.tenant, request.subject_type, request.subject_id)
    if record is not None or request.vouch is None:
        return record
    vouch = Vouch._make(request.vouch)
    if vouch.refusal == "unknown_agent":
        return None
    return AgentRecord(
        tenant=request.tenant,
        id=request.subject_id,
        type=request.subject_type,
        owner=vouch.owner,
        version=vouch.agent_version,
        record_version=vouch.record_version,
    )


def parent_agent_id(session: Session | None) -> str | None:
    """Who delegated to a session's agent."""
    if session is None or session.delegated is None:
        return None
    return subject_of_key(session.delegated.parent_agent)[2]


def _chain(owner: Owner, session: Session, now_us: int) -> tuple[list[Grant], bool]:
    """The grants that a session acts under, its own first, and whether a session above it is over."""
    grants: list[Grant] = []
    ended = False
    while (delegated := session.delegated) is not None:
        grants.append(delegated.grant)
        above = owner.find_session(owner.agent(delegated.parent_agent), delegated.parent)
        if above is None:  # over for so long that it was forgotten
            return grants, True
        ended = ended or above.state(now_us) != "live"
        session = above
    return grants, ended


def _usable(owner: Owner, request: SessionRequest, now_us: int) -> tuple[Delegation, LiveAgent, Session]:
    """The delegation of a token that may be used now, and the session that gave it out."""
    assert request.parent is not None
    token = read_delegation_token(request.parent, key=owner.settings.session_key, tenant=request.tenant)
    if token is None or token.ordinal != owner.settings.ordinal:
        raise _unknown()
    if token.expires_us <= now_us:
        raise ConflictError("the delegation has expired: ask for another one", code=DELEGATION_EXPIRED)
    delegation = delegation_journal.find_delegation(owner.journal, token.id)
    if delegation is None:
        raise _unknown()
    if agent_key(request.tenant, request.subject_type, request.subject_id) != agent_key(
        request.tenant, "agent", delegation.recipient
    ):
        raise ForbiddenError(
            f"the delegation is not for {request.subject_type} `{request.subject_id}`",
            code="foreign_delegation",
        )
    if delegation.session is not None:
        raise ConflictError("the delegation is used: each opens one session, once", code="delegation_used")
    delegated = delegation.delegated
    agent = owner.agent(delegated.parent_agent)
    parent = owner.find_session(agent, delegated.parent)
    if parent is None or parent.state(now_us) != "live" or _chain(owner, parent, now_us)[1]:
        raise _parent_ended()
    return delegation, agent, parent


def _refuse_stopped(owner: Owner, agent: LiveAgent, session: Session) -> None:
    """Raises: ForbiddenError: who would delegate is stopped."""
    tenant, subject_type, subject_id = subject_of_key(agent.key)
    stopping.refuse(owner, tenant, subject_type, subject_id, agent.record, session)


def _refuse_another(asked: str | None, principal: str | None) -> None:
    """INVARIANT (principal): on whose behalf all is done is said once, and never changes on the way down."""
    if asked is not None and asked != principal:
        whose = f"on behalf of `{principal}`" if principal else "on nobody's behalf"
        raise ForbiddenError(
            f"the session acts {whose}, not of `{asked}`: the principal is inherited unchanged",
            code="principal_mismatch",
            expected=principal,
            found=asked,
        )


def _as_error(refused: Refusal) -> GovernanceError:
    kind = ConflictError if refused.code == DELEGATION_EXPIRED else ForbiddenError
    return kind(refused.message, code=refused.code)


def _parent_ended() -> ConflictError:
    return ConflictError("a session that this was delegated by is over", code=PARENT_ENDED)


def _unknown() -> NotFoundError:
    return NotFoundError("no such delegation", code="unknown_delegation")
