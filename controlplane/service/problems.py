"""Errors as HTTP answers: the one place where the two meet."""

from __future__ import annotations

from typing import Any

import orjson

from controlplane.errors import (
    ConflictError,
    ForbiddenError,
    GovernanceError,
    InputError,
    NotFoundError,
    OverloadedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)

_STATUS: tuple[tuple[type[GovernanceError], int], ...] = (
    (InputError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TooLargeError, 413),
    (OverloadedError, 429),
    (UnavailableError, 503),
)


def status_of(error: GovernanceError) -> int:
    """The HTTP status of an error; one without a place here is ours, hence 503."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 503)


def problem(error: GovernanceError) -> bytes:
    """The body of an error answer: ``{"error": {"code", "message", …fields}}``."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    for name, value in error.fields.items():
        shown.setdefault(name, value)
    return orjson.dumps({"error": shown}, default=str)
