"""`up`: make sure that the control plane of one data directory runs, and say where things are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from controlplane.errors import ConflictError
from controlplane.evidence_settings import EvidenceSettings, evidence_keys, evidence_name
from controlplane.lifecycle.bounded_log import tail
from controlplane.lifecycle.cluster import StartError
from controlplane.lifecycle.environment import supervisor_environment
from controlplane.lifecycle.ports import any_free
from controlplane.lifecycle.run_state import RunState, Stage
from controlplane.lifecycle.supervisor_lock import hold
from controlplane.limits import Limits
from controlplane.settings import DEFAULT_HOST, DEFAULT_PORT, Settings
from controlplane.stopping import Stopping

UP_TIMEOUT_S = 300.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the operator asked for; None = whatever is there, else the default.

    Args:
        port: 0 = any free one.
        hosts: only when the data directory is new.
        key_rate, agent_rate, evidence_backlog, outcome_timeout_s, evidence_lag_s, disk_low_bytes: see `Limits`; kept in
            the data directory.
        second_operator, stop_on_mismatch: see `Stopping`; kept in the data directory.
        evidence, checkpoint_files: see `EvidenceSettings`; kept in the data directory.
    """

    data: Path
    host: str | None = None
    port: int | None = None
    hosts: int | None = None
    key_rate: int | None = None
    agent_rate: int | None = None
    evidence_backlog: int | None = None
    outcome_timeout_s: int | None = None
    evidence_lag_s: int | None = None
    disk_low_bytes: int | None = None
    second_operator: bool | None = None
    stop_on_mismatch: bool | None = None
    evidence: str | None = None
    checkpoint_files: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Args:
    already: it ran before we were called; nothing was started.
    """

    settings: Settings
    state: RunState
    already: bool


def settle(request: Request) -> Settings:
    """Create or open the data directory, make the evidence key where there is none, and fix the address.

    What runs keeps its address, also after its supervisor died; asking for another is refused.

    Raises: DataDirectoryError; LimitsError; StoppingError; EvidenceSettingsError; EvidenceKeyError: the key was lost;
        EvidencePlaceError: the evidence cannot go there; EvidenceUnavailableError: nor be reached there;
        ConflictError: it runs at another address, or with other limits, ways of stopping or places for evidence.
    """
    settings = Settings.create_or_open(request.data, hosts=request.hosts)
    running = RunState.read(settings.run_state)
    if (
        running is not None
        and not running.supervised
        and (running.head is None or not running.head.process())
    ):
        running = None
    _set_limits(request, settings, running=running is not None)
    _set_stopping(request, settings, running=running is not None)
    _set_evidence(request, settings, running=running is not None)
    made_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    evidence_keys(settings).create(evidence_name(settings), created_at=made_at, random_bytes=os.urandom)
    if running is not None:
        asked = (request.host or running.host, request.port or running.port)
        if asked != (running.host, running.port):
            raise ConflictError(
                f"the control plane of `{settings.data}` already runs at {running.url}; "
                f"to move it run `controlplane down --data {settings.data}` first",
                code="runs_elsewhere",
                expected=running.url,
            )
        return replace(settings, host=running.host, port=running.port)
    host = request.host or DEFAULT_HOST
    port = request.port if request.port is not None else DEFAULT_PORT
    return replace(settings, host=host, port=port or any_free(host))


def _set_limits(request: Request, settings: Settings, *, running: bool) -> None:
    current = Limits.read(settings.limits)
    asked = Limits(
        key_per_s=current.key_per_s if request.key_rate is None else request.key_rate,
        agent_per_s=current.agent_per_s if request.agent_rate is None else request.agent_rate,
        evidence_backlog=(
            current.evidence_backlog if request.evidence_backlog is None else request.evidence_backlog
        ),
        outcome_timeout_s=(
            current.outcome_timeout_s if request.outcome_timeout_s is None else request.outcome_timeout_s
        ),
        evidence_lag_s=current.evidence_lag_s if request.evidence_lag_s is None else request.evidence_lag_s,
        disk_low_bytes=current.disk_low_bytes if request.disk_low_bytes is None else request.disk_low_bytes,
    )
    if asked == current:
        return
    if running:
        raise ConflictError(
            f"the control plane of `{settings.data}` runs with {current.key_per_s}/s for a key, "
            f"{current.agent_per_s}/s for an agent, a backlog of {current.evidence_backlog} rows of evidence, "
            f"{current.outcome_timeout_s} s for outcomes, and alarms at {current.evidence_lag_s} s of lag and "
            f"{current.disk_low_bytes} free bytes; "
            f"to change that run "
            f"`controlplane down --data {settings.data}` first",
            code="runs_with_other_limits",
        )
    asked.write(settings.limits)


def _set_stopping(request: Request, settings: Settings, *, running: bool) -> None:
    current = Stopping.read(settings.stopping)
    second, mismatch = request.second_operator, request.stop_on_mismatch
    asked = Stopping(
        release_needs_second_operator=current.release_needs_second_operator if second is None else second,
        stop_on_mismatch=current.stop_on_mismatch if mismatch is None else mismatch,
    )
    if asked == current:
        return
    if running:
        raise ConflictError(
            f"the control plane of `{settings.data}` runs with other ways of stopping; to change them run "
            f"`controlplane down --data {settings.data}` first",
            code="runs_with_other_stopping",
        )
    asked.write(settings.stopping)


def _set_evidence(request: Request, settings: Settings, *, running: bool) -> None:
    current = EvidenceSettings.read(settings.evidence_settings)
    asked = current.moved(settings, table=request.evidence, checkpoint_files=request.checkpoint_files)
    if asked == current:
        return
    if running:
        raise ConflictError(
            f"the control plane of `{settings.data}` runs with its evidence in `{current.table_of(settings)}` and its "
            f"checkpoint files in `{current.checkpoint_folder(settings)}`; to change that run "
            f"`controlplane down --data {settings.data}` first",
            code="runs_with_other_evidence_settings",
        )
    if asked.table_of(settings) != current.table_of(settings):
        from evidence.delta.moving import refuse_another_history  # loading it takes longer than all the rest

        refuse_another_history(current.table_of(settings), asked.table_of(settings))
    asked.write(settings.evidence_settings)


def bring_up(request: Request, *, progress: Callable[[RunState], None]) -> Running:
    """Start a supervisor unless one runs, and wait until the control plane is ready. Idempotent.

    Args:
        progress: told each state that the supervisor reports.
    Raises: DataDirectoryError, ConflictError, StartError.
    """
    settings = settle(request)
    _refuse_several_nodes(settings)
    before = RunState.read(settings.run_state)
    if before is not None and before.supervised and before.stage is Stage.READY:
        return Running(settings=settings, state=before, already=True)
    with hold(settings.lock) as free:
        pass  # our own hold ends at once: the supervisor takes the lock, and only one can
    child = _spawn(settings) if free else None
    return _follow(settings, child, progress)


def run_in_foreground(request: Request) -> None:
    """Become the supervisor: this process is replaced and ends on SIGINT or SIGTERM. Does not return.

    Raises: DataDirectoryError; ConflictError: another supervisor runs.
    """
    settings = settle(request)
    _refuse_several_nodes(settings)
    _become_supervisor(settings, [])


def attach_in_foreground(request: Request, ray_address: str) -> None:
    """Become the supervisor of the service on a Ray cluster that runs already. Does not return.

    Args:
        ray_address: `host:port` of Ray's control service.
    Raises: DataDirectoryError; ConflictError: another supervisor runs.
    """
    _become_supervisor(settle(request), ["--attach", ray_address])


def _refuse_several_nodes(settings: Settings) -> None:
    if len(settings.nodes) > 1:
        raise ConflictError(
            f"`{settings.data}` is for the nodes {', '.join(settings.nodes)}; `up` runs everything on this machine "
            f"alone: start Ray on them (`ray up cluster.yaml`), then `controlplane attach --data {settings.data}`",
            code="several_nodes",
        )


def _become_supervisor(settings: Settings, arguments: list[str]) -> None:
    with hold(settings.lock) as free:
        pass
    if not free:
        raise ConflictError(
            f"the control plane of `{settings.data}` is already supervised; "
            f"run `controlplane down --data {settings.data}` first",
            code="already_supervised",
        )
    # Replaced, not called: only what stands in a process's environment at exec marks it as ours.
    os.execve(  # noqa: S606
        sys.executable,
        [sys.executable, "-m", "controlplane.lifecycle.supervisor", "--foreground", *arguments],
        supervisor_environment(settings, os.environ),
    )


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    with (settings.logs / "supervisor.out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "controlplane.lifecycle.supervisor"],
            env=supervisor_environment(settings, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=settings.run,
        )


def _follow(
    settings: Settings, child: subprocess.Popen[bytes] | None, progress: Callable[[RunState], None]
) -> Running:
    deadline = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = child is not None and child.poll() is not None
        state = RunState.read(settings.run_state)
        fresh = state is not None and (
            state.supervised or (ended and child and state.supervisor.pid == child.pid)
        )
        if state is not None and fresh:
            progress(state)
            match state.stage:
                case Stage.READY:
                    return Running(settings=settings, state=state, already=False)
                case Stage.FAILED:
                    raise StartError(state.message)
                case _:
                    pass
        # A supervisor that found the lock taken ends with 0: then we follow the one that holds it.
        if ended and child is not None and child.returncode != 0:
            why = tail(settings.logs / "supervisor.out", lines=3) or f"exit status {child.returncode}"
            raise StartError(f"the supervisor ended: {why}; see {settings.logs / 'supervisor.log'}")
        time.sleep(POLL_S)
    raise StartError(f"not ready after {UP_TIMEOUT_S:.0f} s; see {settings.logs / 'supervisor.log'}")
