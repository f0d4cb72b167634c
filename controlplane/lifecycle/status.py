"""`status`: what runs, whether it is ready, and what it says of itself."""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psutil

from actors.alarms.state import DISK_LOW
from controlplane.lifecycle.processes import ours
from controlplane.lifecycle.readiness import SILENT, Readiness, ask, get_json
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.settings import Settings


class Health(StrEnum):
    READY = "ready"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"
    NOT_RUNNING = "not_running"


_STARTING = frozenset({Stage.PREPARING, Stage.RAY, Stage.SERVICE, Stage.DOOR})
_SUPERVISOR = "controlplane.lifecycle.supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Args:
    memory_bytes: resident; shared pages count in each process.
    """

    pid: int
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Args:
    reason: how far its start is, or why it is unhealthy, in words.
    readyz, service: the bodies of /readyz and /v1/status, empty when they did not answer.
    """

    health: Health
    reason: str
    state: RunState | None
    processes: tuple[Process, ...]
    readyz: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)


def look(settings: Settings, *, key: str | None) -> Status:
    """Never raises for what it finds. Args: key: an operator's, for /v1/status; None = without it."""
    state = RunState.read(settings.run_state)
    processes = tuple(found for process in ours(settings) if (found := _describe(process)) is not None)
    if not processes:
        failed = state is not None and state.stage is Stage.FAILED
        reason = f"the last start failed: {state.message}" if state and failed else "nothing runs"
        return Status(health=Health.NOT_RUNNING, reason=reason, state=None, processes=())
    if (state is None or not state.supervised) and any(found.name == _SUPERVISOR for found in processes):
        reason = "the supervisor is about to begin"
        return Status(health=Health.STARTING, reason=reason, state=None, processes=processes)
    if state is None:
        reason = "processes without a supervisor; run `controlplane up` or `controlplane down`"
        return Status(health=Health.UNHEALTHY, reason=reason, state=None, processes=processes)
    answer = ask(state.url)
    reasons = []
    if answer.readiness is not Readiness.READY:
        reasons.append(answer.reason if state.stage is Stage.READY else f"{state.stage}: {state.message}")
    elif held_up := {name: why for name, why in answer.body.get("hosts", {}).items() if why != "ready"}:
        # The others go on; these deny their own agents.
        reasons.append("degraded: " + ", ".join(f"{name} denies ({why})" for name, why in held_up.items()))
    if (landing := answer.body.get("evidence")) in SILENT:
        reasons.append(f"evidence waits in the journals: its writer does not answer ({landing})")
    if (notifying := answer.body.get("notifier")) in SILENT:
        reasons.append(f"approvers are told nothing: the notifier does not answer ({notifying})")
    if not state.supervised:
        reasons.append("the supervisor is gone; `controlplane up` brings it back")
    service: dict[str, Any] = {}
    if key is not None and answer.readiness is not Readiness.SILENT:
        service = _service(state.url, key)
    alarms = (service.get("evidence") or {}).get("alarms") or ()
    # A disk that fills is told of in time: nothing is wrong yet.
    if codes := sorted({alarm["code"] for alarm in alarms} - {DISK_LOW}):
        reasons.append(f"alarms: {', '.join(codes)}")
    starting = state.supervised and state.stage in _STARTING
    return Status(
        health=Health.READY if not reasons else Health.STARTING if starting else Health.UNHEALTHY,
        reason="; ".join(reasons),
        state=state,
        processes=tuple(sorted(processes, key=lambda process: -process.memory_bytes)),
        readyz=answer.body,
        service=service,
    )


def _service(url: str, key: str) -> dict[str, Any]:
    try:
        status, body = get_json(url, "/v1/status", timeout_s=5.0, key=key)
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return body if status == 200 else {}


def _describe(process: psutil.Process) -> Process | None:
    try:
        words = process.cmdline() or [process.name()]
        name = words[0] if words[0].startswith("ray::") else process.name()
        if name.startswith("python"):
            scripts = [word for word in words[1:] if word[:1] != "-"]
            name = scripts[0].rpartition("/")[2] if scripts else name
        return Process(pid=process.pid, name=name, memory_bytes=process.memory_info().rss)
    except psutil.Error:
        return None
