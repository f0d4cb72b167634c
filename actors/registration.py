"""Registering an agent with its owner, and describing what the owner knows about it."""

from __future__ import annotations

from typing import Any

from actors import evidence_rows
from actors.agent_journal import live_sessions, save_record
from actors.ids import agent_key
from actors.owner import Owner
from actors.records import AgentRecord
from controlplane.errors import NotFoundError

_SESSIONS_SHOWN = 100


def register_agent(
    owner: Owner, tenant: str, agent_id: str, given: dict[str, Any], *, key_id: str
) -> dict[str, Any]:
    """Create an agent's record, or change what is given of it; the rest stays as it was.

    Args:
        given: fields of `AgentRecord` as JSON.
    Returns: the record as JSON, with its new `record_version`. Decisions prepared with the old one are redone.
    Raises: EvidenceBacklogError.
    """
    owner.refuse_backlog()
    key = agent_key(tenant, "agent", agent_id)
    agent = owner.agent(key)
    now_us = owner.event_time().us
    new: dict[str, Any] = {"tenant": tenant, "id": agent_id, "record_version": 0}
    before = agent.record.to_json() if agent.record else new
    # The time is part of the version, so that a journal begun anew never repeats one that a replica remembers.
    version = max(before["record_version"] + 1, now_us)
    record = AgentRecord.from_json(before | given | {"record_version": version})
    row = evidence_rows.event(
        event_id=owner.new_event_id(now_us),
        event_type="agent_registered",
        time_us=now_us,
        tenant=record.tenant,
        details={
            "key": key_id,
            "record_version": version,
            "owner": record.owner,
            "labels": list(record.labels),
            "tools": list(record.tools[:100]),
            "isolation": record.isolation,
            "standing": record.standing,
        },
    )
    row["agent_id"] = record.id
    if record.version:
        row["agent_version"] = record.version
    with owner.journal.transaction() as step:
        save_record(step, key, record)
        step.append(row)
        step.set_meta("event_time_us", now_us)
    if agent.record is None:
        owner.registered += 1
    # It wakes with its new record, and with a graph that shows the new declarations.
    owner.let_rest(key)
    return record.to_json()


def describe_agent(owner: Owner, key: str) -> dict[str, Any]:
    """Record, live sessions (the last 100 used) and capability graph of an agent.

    Raises: NotFoundError: it was never registered here.
    """
    agent = owner.agent(key)
    if agent.record is None:
        raise NotFoundError(f"unknown agent `{key.split('/', 2)[2]}`", code="unknown_agent")
    digest = owner.active.digest if owner.active else None
    graph = agent.graph(digest, owner.capability)
    owner.uses.carry_out_of(key)
    return {
        "agent": agent.record.to_json(),
        "sessions": [
            {
                "session": session.name,
                "workflow": session.workflow_id,
                "opened_us": session.opened_us,
                "last_us": session.last_us,
                "turns": session.turns,
                "actions": session.actions,
            }
            for session in live_sessions(owner.journal, key, limit=_SESSIONS_SHOWN)
        ],
        "graph": graph.to_json(),
    }
