"""Sessions: one run of one agent, opened, continued by a user's turn, and ended."""

from __future__ import annotations

from typing import Any

from actors import evidence_rows
from actors.agent_journal import count_live_sessions, save_sessions, subject_of_session
from actors.ids import agent_key, read_session_id, session_id, subject_of_key
from actors.live_agent import SESSION_LIFETIME_US, SESSIONS_AWAKE, LiveAgent, Session
from actors.messages import SessionRequest
from actors.owner import Owner
from controlplane.errors import ConflictError, NotFoundError, OverloadedError, UnavailableError

MAX_LIVE_SESSIONS = 10_000


def open_session(owner: Owner, request: SessionRequest) -> dict[str, Any]:
    """Open a session. Durable when it returns.

    A session that does not start a workflow of its own joins the agent's standing one, so that no agent escapes
    its past by opening sessions.

    Returns: ``{"session", "workflow", "expires_us"}``.
    Raises: NotFoundError: nobody has registered this subject. UnavailableError: the clock cannot be trusted.
        EvidenceBacklogError. OverloadedError: it has too many live ones.
    """
    owner.refuse_backlog()
    if owner.record(request.tenant, request.subject_type, request.subject_id) is None:
        raise NotFoundError(
            f"unknown {request.subject_type} `{request.subject_id}`: register it first", code="unknown_agent"
        )
    time = owner.event_time()
    if not time.certain:
        raise UnavailableError("the clock cannot be trusted: no session is opened", code="clock_uncertain")
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
    random = owner.world.random_bytes(18)
    expires_us = time.us + SESSION_LIFETIME_US
    name = session_id(
        key=owner.settings.session_key,
        subject=key,
        ordinal=owner.settings.ordinal,
        expires_us=expires_us,
        random=random[:9],
    )
    joined = [] if request.new_workflow else [owner.standing_session(agent, time.us)]
    workflow = joined[0].workflow_id if joined else "wfl_" + random[9:].hex()
    session = Session(
        name=name,
        workflow_id=workflow,
        opened_us=time.us,
        last_us=time.us,
        turns=1 if request.task_digest is not None else 0,
    )
    details: dict[str, Any] = {"key": request.key_id, "new_workflow": request.new_workflow}
    if request.task_digest is not None:
        details["task_digest"] = request.task_digest.hex()
    _record(owner, agent, [*joined, session], "session_opened", time.us, details)
    agent.live_sessions += 1
    return {"session": name, "workflow": workflow, "expires_us": expires_us}


def session_subject(owner: Owner, name: str) -> str:
    """Whose session this is: an agent key. Raises: NotFoundError: it was not minted by this deployment."""
    key = subject_of_session(owner.journal, name)
    if key is None or read_session_id(name, key=owner.settings.session_key, subject=key) is None:
        raise NotFoundError(f"no session `{name}`", code="unknown_session")
    return key


def add_task(owner: Owner, name: str, *, task_digest: bytes, key_id: str) -> dict[str, Any]:
    """Add a user's turn to a live session.

    Raises: NotFoundError: no such session. ConflictError: it has ended. EvidenceBacklogError.
    """
    owner.refuse_backlog()
    agent, session = _live(owner, name)
    now_us = owner.event_time().us
    session.turns += 1
    session.last_us = now_us
    details = {"key": key_id, "task_digest": task_digest.hex()}
    _record(owner, agent, [session], "session_task", now_us, details)
    return {"session": name, "turns": session.turns}


def end_session(owner: Owner, name: str, *, key_id: str) -> dict[str, Any]:
    """End a session: whatever names it from now on is denied.

    Raises: NotFoundError: no such session. ConflictError: it has ended already. EvidenceBacklogError.
    """
    owner.refuse_backlog()
    agent, session = _live(owner, name)
    now_us = owner.event_time().us
    session.ended_us = now_us
    _record(owner, agent, [session], "session_ended", now_us, {"key": key_id, "actions": session.actions})
    agent.sessions.pop(name, None)
    if agent.live_sessions is not None:
        agent.live_sessions -= 1
    return {"session": name, "ended": True, "actions": session.actions}


def _live(owner: Owner, name: str) -> tuple[LiveAgent, Session]:
    agent = owner.agent(session_subject(owner, name))
    session = owner.find_session(agent, name)
    assert session is not None, name
    state = session.state(owner.event_time().us)
    if state != "live":
        raise ConflictError(f"session `{name}` has {state}", code=f"session_{state}")
    return agent, session


def _record(
    owner: Owner,
    agent: LiveAgent,
    sessions: list[Session],
    event_type: str,
    time_us: int,
    details: dict[str, Any],
) -> None:
    session = sessions[-1]
    tenant, _, subject_id = subject_of_key(agent.key)
    try:
        with owner.journal.transaction() as step:
            save_sessions(step, [(agent.key, each) for each in sessions])
            step.append(
                evidence_rows.session_row(
                    event_id=owner.new_event_id(time_us),
                    event_type=event_type,
                    time_us=time_us,
                    tenant=tenant,
                    agent_id=subject_id,
                    session=session.name,
                    workflow_id=session.workflow_id,
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
