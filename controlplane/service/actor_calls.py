"""Calling owners and the control store from a replica."""

from __future__ import annotations

import logging
import time
from typing import Any

from actors.handles import ask
from actors.placement import CONTROL_STORE
from controlplane.errors import UnavailableError

log = logging.getLogger(__name__)

MANAGEMENT_TIMEOUT_S = 15.0
NODE_LOST = "node_lost"

_away: dict[str, str] = {}


def note_away(owners: dict[str, str]) -> None:
    """These owners went away with their nodes: until told otherwise, whoever asks for one is refused at once.

    Args:
        owners: name of each, and its node's.
    """
    global _away
    _away = owners


async def call_actor(name: str, method: str, *arguments: Any, timeout_s: float = MANAGEMENT_TIMEOUT_S) -> Any:
    """Call a method of a named actor; see `actors.handles.ask`. What failed inside is logged, not told.

    Raises: what `ask` raises; UnavailableError `node_lost`: see `note_away`.
    """
    if name in _away:
        raise UnavailableError(
            f"`{name}` lives on the node `{_away[name]}`, which is lost now; it decides again once that is back",
            code=NODE_LOST,
        )
    try:
        return await ask(name, method, *arguments, timeout_s=timeout_s)
    except UnavailableError as error:
        if error.code == "owner_failed":
            log.exception("`%s.%s` failed", name, method)
            raise UnavailableError(f"`{name}` failed; its log says why", code="owner_failed") from None
        raise


async def call_by(deadline_us: int, name: str, method: str, *arguments: Any) -> Any:
    """Like `call_actor`, for a caller who waits until `deadline_us` (wall clock) and no longer.

    What is not answered by then may still be done: whoever asks again learns of it.
    """
    left_s = max(0.001, (deadline_us - time.time_ns() // 1000) / 1e6)
    return await call_actor(name, method, *arguments, timeout_s=min(left_s, MANAGEMENT_TIMEOUT_S))


async def call_control(method: str, *, timeout_s: float = MANAGEMENT_TIMEOUT_S, **arguments: Any) -> Any:
    """Call one of the control store's management methods."""
    return await call_actor(CONTROL_STORE, "call", method, arguments, timeout_s=timeout_s)
