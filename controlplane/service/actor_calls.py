"""Calling actors through Ray, from a replica."""

from __future__ import annotations

import logging
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


async def call_control(method: str, *, timeout_s: float = MANAGEMENT_TIMEOUT_S, **arguments: Any) -> Any:
    """Call one of the control store's management methods."""
    return await call_actor(CONTROL_STORE, "call", method, arguments, timeout_s=timeout_s)
