"""Sessions: one run of one agent, opened, continued by a user's turn, and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from actors import evidence_rows
from actors.agent_journal import count_live_sessions, save_sessions, subject_of_session
from actors.asked_journal import save_basis
from actors.delegation_journal import save_lineage
from actors.ids import agent_key, read_session_id, session_id, subject_of_key
from actors.journal import Transaction
from actors.live_agent import SESSION_LIFETIME_US, SESSIONS_AWAKE, Delegated, LiveAgent, Session
from actors.messages import SessionRequest
from actors.owner import Owner
from actors.records import AgentRecord
from actors.stops import stopping
from controlplane.errors import ConflictError, NotFoundError, OverloadedError, UnavailableError
from policies.asked.basis import Basis
from policies.origin.happened import AskedFor
from policies.origin.told import Told

MAX_LIVE_SESSIONS = 10_000


def open_session(owner: Owner, request: SessionRequest) -> dict[str, Any]:
    """Open a session. Durable when it returns.

    A session that does not start a workflow of its own joins the agent's standing one, so that no agent escapes
    its past by opening sessions.

    Returns: ``{"session", "workflow", "principal", "expires_us"}``.
    Raises: NotFoundError: nobody has registered this subject. UnavailableError: the clock cannot be trusted.
        EvidenceBacklogError. OverloadedError: it has too many live ones. ForbiddenError: it is stopped.
    """
    record = owner.record(request.tenant, request.subject_type, request.subject_id)
    agent, now_us = may_open(owner, request, record)
    random = owner.world.random_bytes(18)
    expires_us = now_us + SESSION_LIFETIME_US
    joined = [] if request.new_workflow else [owner.standing_session(agent, now_us)]
    session = Session(
        name=session_name(owner, agent, expires_us=expires_us, random=random[:9]),
        workflow_id=joined[0].workflow_id if joined else "wfl_" + random[9:].hex(),
        opened_us=now_us,
        last_us=now_us,
        turns=1 if request.task_digest is not None else 0,
        principal=request.principal,
        basis=basis_of(request.basis),
    )
    return keep_opened(owner, agent, [*joined, session], request, expires_us=expires_us)


def may_open(owner: Owner, request: SessionRequest, record: AgentRecord | None) -> tuple[LiveAgent, int]:
    """The subject that may open one more session, and when. Args: record: None = it is not registered.

    Raises: as `open_session`.
    """
    owner.refuse_backlog()
    if record is None:
        raise NotFoundError(
            f"unknown {request.subject_type} `{request.subject_id}`: register it first", code="unknown_agent"
        )
    time = owner.event_time()
    if not time.certain:
        raise UnavailableError("the clock cannot be trusted: no session is opened", code="clock_uncertain")
    stopping.refuse(owner, request.tenant, request.subject_type, request.subject_id, record, None)
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    agent = owner.agent(key)
    if agent.live_sessions is None:
        # Once, not each time: it reads all that ended within a day as well, and everybody else waits.
        agent.live_sessions = count_live_sessions(owner.journal, key, limit=MAX_LIVE_SESSIONS)
    if agent.live_sessions >= MAX_LIVE_SESSIONS:
        raise OverloadedError(
            f"`{request.subject_id}` has {MAX_LIVE_SESSIONS} live sessions; end some first",
            code="too_many_sessions",
        )
    return agent, time.us


def session_name(owner: Owner, agent: LiveAgent, *, expires_us: int, random: bytes) -> str:
    return session_id(
        key=owner.settings.session_key,
        subject=agent.key,
        ordinal=owner.settings.ordinal,
        expires_us=expires_us,
        random=random,
    )


def keep_opened(
    owner: Owner,
    agent: LiveAgent,
    opened: list[Session],
    request: SessionRequest,
    *,
    expires_us: int,
    also: Callable[[Transaction], None] = lambda _: None,
) -> dict[str, Any]:
    """Make a session durable. Args: opened: it comes last, after what it joins; also: what is written with it.

    Returns: as `open_session`.
    """
    session = opened[-1]
    principal = principal_of(agent.key, session)
    details: dict[str, Any] = {"key": request.key_id, "new_workflow": request.new_workflow}
    if request.task_digest is not None:
        details["task_digest"] = request.task_digest.hex()
    if principal is not None:
        details["principal"] = principal
    if session.delegated is not None:
        details |= describe(session.delegated)
    if session.basis is not None and session.basis.scope is not None:
        details["scope"] = session.basis.scope.plain()

    if request.told is not None:
        owner.origins.tell(
            session.workflow_id,
            AskedFor(Told._make(request.told)),
            since_us=session.workflow_since_us,
        )

    def write(step: Transaction) -> None:
        save_lineage(step, session)
        save_basis(step, session.name, session.basis)
        owner.origins.save(step, now_us=session.opened_us)
        also(step)

    record_event(owner, agent, opened, "session_opened", session.opened_us, details, also=write)
    assert agent.live_sessions is not None
    agent.live_sessions += 1
    return {
        "session": session.name,
        "workflow": session.workflow_id,
        "principal": principal,
        "expires_us": expires_us,
    }


def describe(delegated: Delegated) -> dict[str, Any]:
    """What evidence says of a delegation: its id, which opens nothing, and what it grants."""
    grant = delegated.grant
    return {
        "delegation": delegated.id,
        "parent_session": delegated.parent,
        "tools": None if grant.tools is None else list(grant.tools),
        "depth": grant.depth,
        "expires_us": grant.expires_us,
    }


def principal_of(key: str, session: Session) -> str | None:
    """On whose behalf a session acts, `type:id`: a user acts on its own, an agent as it was said or inherited.

    Args: key: the agent key of its subject.
    """
    _, subject_type, subject_id = subject_of_key(key)
    return session.principal if subject_type == "agent" else f"{subject_type}:{subject_id}"


def session_subject(owner: Owner, name: str) -> str:
    """Whose session this is: an agent key. Raises: NotFoundError: it was not minted by this deployment."""
    key = subject_of_session(owner.journal, name)
    if key is None or read_session_id(name, key=owner.settings.session_key, subject=key) is None:
        raise NotFoundError(f"no session `{name}`", code="unknown_session")
    return key


def add_task(
    owner: Owner,
    name: str,
    *,
    task_digest: bytes,
    told: tuple[Any, ...],
    basis: bytes | None,
    key_id: str,
) -> dict[str, Any]:
    """Add a user's turn to a live session.

    Raises: NotFoundError: no such session. ConflictError: it has ended. EvidenceBacklogError.
    """
    owner.refuse_backlog()
    agent, session = live_session(owner, name)
    now_us = owner.event_time().us
    turn = basis_of(basis)
    if turn is not None:
        session.basis = (session.basis or Basis()).after(turn, parent=_above(owner, session))
    session.turns += 1
    session.last_us = now_us
    details = {"key": key_id, "task_digest": task_digest.hex()}
    owner.origins.tell(session.workflow_id, AskedFor(Told._make(told)), since_us=session.workflow_since_us)

    def write(step: Transaction) -> None:
        save_basis(step, session.name, session.basis)
        owner.origins.save(step, now_us=now_us)

    record_event(
        owner,
        agent,
        [session],
        "session_task",
        now_us,
        details,
        also=write,
    )
    return {"session": name, "turns": session.turns}


def _above(owner: Owner, session: Session) -> Basis | None:
    """What the session is for that this one was delegated by."""
    if session.delegated is None:
        return None
    parent = owner.find_session(owner.agent(session.delegated.parent_agent), session.delegated.parent)
    return None if parent is None else parent.basis


def basis_of(raw: bytes | None) -> Basis | None:
    """What a request says that a session is for."""
    return None if raw is None else Basis.read(orjson.loads(raw))


def end_session(owner: Owner, name: str, *, key_id: str) -> dict[str, Any]:
    """End a session: whatever names it from now on is denied.

    Raises: NotFoundError: no such session. ConflictError: it has ended already. EvidenceBacklogError.
    """
    owner.refuse_backlog()
    agent, session = live_session(owner, name)
    now_us = owner.event_time().us
    session.ended_us = now_us
    record_event(
        owner, agent, [session], "session_ended", now_us, {"key": key_id, "actions": session.actions}
    )
    agent.sessions.pop(name, None)
    if agent.live_sessions is not None:
        agent.live_sessions -= 1
    return {"session": name, "ended": True, "actions": session.actions}


def live_session(owner: Owner, name: str) -> tuple[LiveAgent, Session]:
    """A session and whose it is. Raises: NotFoundError: no such session. ConflictError: it is over."""
    agent = owner.agent(session_subject(owner, name))
    session = owner.find_session(agent, name)
    assert session is not None, name
    state = session.state(owner.event_time().us)
    if state != "live":
        raise ConflictError(f"session `{name}` has {state}", code=f"session_{state}")
    return agent, session


def record_event(
    owner: Owner,
    agent: LiveAgent,
    sessions: list[Session],
    event_type: str,
    time_us: int,
    details: dict[str, Any],
    *,
    also: Callable[[Transaction], None] = lambda _: None,
) -> None:
    """Make what happened to a session durable: state, evidence, and what else is to be written, all or nothing.

    Args: sessions: all that changed, the one that the event is about last.
    """
    session = sessions[-1]
    tenant, _, subject_id = subject_of_key(agent.key)
    parent = session.delegated.parent_agent if session.delegated else None
    try:
        with owner.journal.transaction() as step:
            save_sessions(step, [(agent.key, each) for each in sessions])
            also(step)
            step.append(
                evidence_rows.session_row(
                    event_id=owner.new_event_id(time_us),
                    event_type=event_type,
                    time_us=time_us,
                    tenant=tenant,
                    agent_id=subject_id,
                    session=session.name,
                    workflow_id=session.workflow_id,
                    parent_agent_id=subject_of_key(parent)[2] if parent else None,
                    details=details,
                )
            )
            step.set_meta("event_time_us", time_us)
    except BaseException:
        owner.forget_memory()
        raise
    if len(agent.sessions) >= SESSIONS_AWAKE:
        agent.sessions.clear()
    agent.sessions[session.name] = session
    owner.rest_surplus()
