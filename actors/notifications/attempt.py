"""What one attempt at a delivery came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Args:
    status: HTTP's, or SMTP's; None = nobody answered.
    error: why it failed; never what the other side said beyond its status, which may hold anything.
    for_good: trying again is of no use.
    retry_after_s: what the receiver asked for.
    """

    delivered: bool
    status: int | None = None
    error: str = ""
    for_good: bool = False
    retry_after_s: int | None = None


def failed(error: Exception) -> Attempt:
    """An attempt that met an exception. Its kind alone is told: texts may repeat a URL, which is a password."""
    return Attempt(delivered=False, error=type(error).__name__)
