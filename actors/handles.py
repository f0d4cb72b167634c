"""Handles of the named actors. Names resolve in Ray's GCS, so each is looked up once and kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ray

from actors.placement import NAMESPACE


@lru_cache(maxsize=4096)
def actor_handle(name: str) -> Any:
    """The handle of a named actor of ours; it stays good over the actor's restarts.

    Raises: ValueError: no such actor.
    """
    return ray.get_actor(name, namespace=NAMESPACE)


def forget_handle() -> None:
    """Look all names up again: after an actor was made anew under its old name."""
    actor_handle.cache_clear()
