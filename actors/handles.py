"""Asking named actors: handles are looked up once and kept, and given up when their actor cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.placement import NAMESPACE
from controlplane.errors import GovernanceError, UnavailableError

_handles: dict[str, Any] = {}


def actor_handle(name: str) -> Any:
    """The handle of a named actor of ours; it stays good over the actor's restarts.

    Raises: ValueError: no such actor.
    """
    handle = _handles.get(name)
    if handle is None:
        handle = _handles[name] = ray.get_actor(name, namespace=NAMESPACE)
    return handle


async def ask(name: str, method: str, *arguments: Any, timeout_s: float) -> Any:
    """Call a method of a named actor.

    Raises: the GovernanceError that the method raised; UnavailableError when the actor cannot be reached in time
        (`owner_unreachable`, `owner_timeout`) or failed (`owner_failed`). But for `owner_failed`, a call that failed
        so may still have run: whatever it would have permitted stays unanswered, that is, denied.
    """
    try:
        return await asyncio.wait_for(getattr(actor_handle(name), method).remote(*arguments), timeout_s)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GovernanceError):
            raise error.cause from None
        raise UnavailableError(f"`{name}.{method}` failed: {error.cause!r}", code="owner_failed") from error
    except (ray.exceptions.RayError, ValueError) as error:
        # An actor that was made anew under its old name has another handle; one that Ray is restarting, maybe for as
        # long as its node is lost, keeps its own, and looking it up each time would hold up everybody's event loop.
        if not isinstance(error, ray.exceptions.ActorUnavailableError):
            _handles.pop(name, None)
        raise UnavailableError(
            f"`{name}` cannot be reached now ({type(error).__name__})", code="owner_unreachable"
        ) from None
    except TimeoutError:
        raise UnavailableError(
            f"`{name}` did not answer within {timeout_s:g} s", code="owner_timeout"
        ) from None
