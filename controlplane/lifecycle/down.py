"""`down`: end everything of one instance, and nothing else; whatever state it is in."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.errors import UnavailableError
from controlplane.lifecycle import ray_head
from controlplane.lifecycle.cluster import GRACE_S
from controlplane.lifecycle.processes import end_all, is_ours, ours, send, wait_ended
from controlplane.lifecycle.run_state import RunState
from controlplane.lifecycle.supervisor_lock import hold
from controlplane.settings import Settings

SUPERVISOR_TIMEOUT_S = GRACE_S + 22.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Args:
    processes: how many were there; 0 = nothing ran.
    """

    processes: int


def bring_down(settings: Settings, *, progress: Callable[[str], None]) -> Ended:
    """Ask the supervisor to end the cluster; end what is left ourselves. Idempotent.

    Raises: UnavailableError: a new supervisor was started meanwhile.
    """
    before = ours(settings)
    state = RunState.read(settings.run_state)
    supervisor = state.supervisor.process() if state is not None else None
    if supervisor is not None and is_ours(supervisor, settings):
        progress("asking the supervisor to stop")
        send([supervisor], signal.SIGTERM)
        wait_ended([supervisor], timeout_s=SUPERVISOR_TIMEOUT_S)
    progress("ending what is left")
    end_all(lambda: ours(settings), grace_s=GRACE_S, reap=lambda: None)
    with hold(settings.lock, wait_s=5.0) as free:
        if not free:
            raise UnavailableError(
                f"the control plane of `{settings.data}` was started again meanwhile; run down once more"
            )
        ray_head.remove_temp(settings)
        settings.run_state.unlink(missing_ok=True)
    return Ended(processes=len(before))
