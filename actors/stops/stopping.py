"""Stops at an owner: what meets one is denied, and what rules and findings stop is stopped at once.

The owner looks at its leased directory and at the stops of its own that the directory does not know yet.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.delegation_journal import owner_elsewhere
from actors.ids import subject_of_key
from actors.journal import Transaction
from actors.live_agent import LiveAgent, Session
from actors.messages import Decided, DecidedAction, DecisionRequest, Vouch
from actors.owner import Owner
from actors.records import AgentRecord
from actors.stops.live import Acting, Stop, TargetType, by_rule
from actors.stops.own import OwnStops
from actors.stops.registry import new_stop_id
from controlplane.errors import ForbiddenError, UnavailableError
from policies.catalog import TOOL
from policies.stops import STOPPED

_AGENT = "agent"
EXECUTED_DIGEST_MISMATCH = "executed_digest_mismatch"
_REASON = 512
"""Characters of a rule's words that a stop keeps."""


class Halted(NamedTuple):
    """Why something is stopped: the stop's id, and the same in words."""

    stop: str
    detail: str


def halted(
    owner: Owner,
    request: DecisionRequest,
    record: AgentRecord | None,
    session: Session | None,
    now_us: int,
) -> Halted | None:
    """The stop that an action meets, here or at its agent's home. Cost: two look-ups while nothing is stopped."""
    if request.vouch is not None and (there := Vouch._make(request.vouch).halted) is not None:
        return Halted._make(there)
    if not len(owner.directory.stops) and not len(owner.stops.live):
        return None
    facts = owner.active.facts(request.resource_type, request.resource_id) if owner.active else None
    system = None if facts is None else facts.system
    agents = acting_agents(owner, request.subject_type, request.subject_id, record, session)
    return _find(
        owner,
        Acting(
            tenant=request.tenant,
            agents=agents,
            workflow=session.workflow_id if session else None,
            tool=request.resource_id if request.resource_type == TOOL else None,
            systems=None if system is None else (system,),
        ),
        now_us,
    )


def refuse(
    owner: Owner,
    tenant: str,
    subject_type: str,
    subject_id: str,
    record: AgentRecord | None,
    session: Session | None,
) -> None:
    """Asked before a session is opened, or something delegated.

    Args: session: in which it acts, or would; None = not known yet.
    Raises: ForbiddenError: who acts there is stopped. UnavailableError: nobody here knows.
    """
    # INVARIANT (lease): a copy of the stops that may have missed one opens nothing.
    if not owner.directory.fresh(now_s=owner.world.monotonic_us() / 1e6):
        raise UnavailableError("stops cannot be known now: the control store is away", code="lease_expired")
    acting = Acting(
        tenant=tenant,
        agents=acting_agents(owner, subject_type, subject_id, record, session),
        workflow=session.workflow_id if session else None,
    )
    found = _find(owner, acting, owner.event_time().us)
    if found is not None:
        raise ForbiddenError(found.detail, code=STOPPED, stop=found.stop)


def stop_by_rules(
    owner: Owner,
    request: DecisionRequest,
    session: Session | None,
    decided: Decided,
    step: Transaction,
    now_us: int,
) -> list[dict[str, Any]]:
    """What the rules that denied an action stop, durable with the denial.

    Returns: what evidence says of it. Cost: a look-up where no rule stops anybody.
    """
    clauses = owner.active.bundle.stops if owner.active else {}
    if not clauses or decided.reason_code != "rule_deny":
        return []
    made: list[Stop] = []
    for rule, because, _ in decided.reasons:
        clause = clauses.get(rule)
        if clause is None:
            continue
        targets: list[tuple[TargetType, str]] = []
        if clause.agent and request.subject_type == _AGENT:
            targets.append(("agent", request.subject_id))
        if clause.workflow and session is not None:
            targets.append(("workflow", session.workflow_id))
        for target_type, target_id in targets:
            stop = Stop(
                id=new_stop_id(owner.world.random_bytes(9)),
                tenant=request.tenant,
                target_type=target_type,
                target_id=target_id,
                reason=because[:_REASON] or f"denied by `{rule}`",
                by=by_rule(rule),
                created_us=now_us,
                expires_us=clause.until_us(now_us),
                decision=decided.id,
            )
            if _add(owner.stops, step, stop):
                made.append(stop)
    return [_told(stop) for stop in made]


def stop_for_finding(
    owner: Owner, action: DecidedAction, decision_id: str, step: Transaction, now_us: int
) -> dict[str, Any] | None:
    """An agent's PEP has executed something else than was allowed: the agent is stopped until an operator has looked.

    Returns: what evidence says of it; None = nobody is stopped.
    """
    if not owner.settings.stop_on_mismatch or action.subject_type != _AGENT:
        return None
    stop = Stop(
        id=new_stop_id(owner.world.random_bytes(9)),
        tenant=action.tenant,
        target_type="agent",
        target_id=action.subject_id,
        reason="other arguments were executed than were allowed",
        by=f"finding:{EXECUTED_DIGEST_MISMATCH}",
        created_us=now_us,
        decision=decision_id,
    )
    return _told(stop) if _add(owner.stops, step, stop) else None


def _add(own: OwnStops, step: Transaction, stop: Stop) -> bool:
    """One of a rule and target is enough, while it lasts no less."""
    for other in own.live.named(stop.tenant, stop.target_type, stop.target_id):
        if other.by == stop.by and (
            other.expires_us is None or (stop.expires_us is not None and stop.expires_us <= other.expires_us)
        ):
            return False
    if own.full(step, stop):
        return False
    own.add(step, stop)
    return True


def _find(owner: Owner, acting: Acting, now_us: int) -> Halted | None:
    found = owner.directory.stops.meeting(acting, now_us) or owner.stops.live.meeting(acting, now_us)
    return None if found is None else Halted(found.id, f"stop `{found.id}` of {found.target}: {found.reason}")


def acting_agents(
    owner: Owner, subject_type: str, subject_id: str, record: AgentRecord | None, session: Session | None
) -> tuple[tuple[str, str | None], ...]:
    """Who acts, and on whose delegation, level by level, each with whose it is: a stop of an agent stops what acts for
    it."""
    agents: list[tuple[str, str | None]] = []
    if subject_type == _AGENT:
        agents.append((subject_id, record.owner if record else None))
    while session is not None and (delegated := session.delegated) is not None:
        above = owner.agent(delegated.parent_agent)
        _, above_type, above_id = subject_of_key(above.key)
        if above_type == _AGENT:
            agents.append((above_id, _owner_of(owner, above)))
        session = owner.find_session(above, delegated.parent)
    return tuple(agents)


def _owner_of(owner: Owner, agent: LiveAgent) -> str | None:
    """Whose an agent is; of one that lives elsewhere, as its home last said."""
    if agent.record is not None:
        return agent.record.owner
    return owner_elsewhere(owner.journal, agent.key)


def _told(stop: Stop) -> dict[str, Any]:
    return {"stop": stop.id, "type": stop.target_type, "id": stop.target_id, "by": stop.by}
