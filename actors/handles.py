"""Asking named actors: handles are looked up once and kept, and given up when their actor cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.placement import NAMESPACE
from controlplane.errors import GovernanceError, UnavailableError

MOST_UNDER_WAY = 2_000
"""Calls of one process that one actor has not answered. Ray queues without end for an actor that is silent, and a
caller that gives up takes nothing out of its queue."""

_handles: dict[str, Any] = {}
_under_way: dict[str, int] = {}


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
        so may still have run: whatever it would have permitted stays unanswered, that is, denied. `owner_timeout`
        at once, and nothing sent: it has too many unanswered calls already.
    """
    if _under_way.get(name, 0) >= MOST_UNDER_WAY:
        raise UnavailableError(
            f"`{name}` owes {MOST_UNDER_WAY} answers; it is asked again once it has given some",
            code="owner_timeout",
        )
    try:
        call = asyncio.ensure_future(getattr(actor_handle(name), method).remote(*arguments))
        _under_way[name] = _under_way.get(name, 0) + 1
        call.add_done_callback(lambda done: _answered(name, done))
        # Shielded: it is under way until it is answered, whether or not anybody waits. Not `wait_for`, which in
        # Python 3.11 swallows a cancellation that comes together with the answer: a task would outlive its end.
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(call)
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


def _answered(name: str, call: asyncio.Future[Any]) -> None:
    left = _under_way[name] - 1
    if left:
        _under_way[name] = left
    else:
        del _under_way[name]
    if not call.cancelled():
        call.exception()  # retrieved, in case nobody waits for it any more
