"""Calling owners and the control store from a replica: time-outs, and errors as our own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ray

from actors.handles import actor_handle, forget_handle
from actors.placement import CONTROL_STORE
from controlplane.errors import GovernanceError, UnavailableError

log = logging.getLogger(__name__)

MANAGEMENT_TIMEOUT_S = 15.0


async def call_actor(name: str, method: str, *arguments: Any, timeout_s: float = MANAGEMENT_TIMEOUT_S) -> Any:
    """Call a method of a named actor.

    Raises: the GovernanceError that the method raised; UnavailableError when the actor cannot be reached in time. A
        call that failed so may still have run: whatever it would have permitted stays unanswered, that is, denied.
    """
    try:
        handle = actor_handle(name)
        return await asyncio.wait_for(getattr(handle, method).remote(*arguments), timeout_s)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GovernanceError):
            raise error.cause from None
        log.error("`%s.%s` failed: %s", name, method, error)
        raise UnavailableError(f"`{name}` failed; its log says why", code="owner_failed") from None
    except (ray.exceptions.RayError, ValueError) as error:
        forget_handle()
        log.warning("`%s.%s` cannot be reached: %s", name, method, type(error).__name__)
        raise UnavailableError(f"`{name}` cannot be reached now", code="owner_unreachable") from None
    except TimeoutError:
        raise UnavailableError(
            f"`{name}` did not answer within {timeout_s:g} s", code="owner_timeout"
        ) from None


async def call_control(method: str, **arguments: Any) -> Any:
    """Call one of the control store's management methods."""
    return await call_actor(CONTROL_STORE, "call", method, arguments)
