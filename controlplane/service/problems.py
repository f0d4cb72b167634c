"""Errors as HTTP answers: the one place where the two meet.

Under `/v1/approvals` they are problem details (RFC 9457), as AuthZEN's *Access Request and Approval* draft asks for;
what every other door says of an error stands in there as well.
"""

from __future__ import annotations

from typing import Any, Final

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

_DRAFT = "urn:openid:authzen:access-request:error:"
_TYPES: Final = {
    "unknown_binding_token": _DRAFT + "invalid_denial_binding",
    "denial_mismatch": _DRAFT + "invalid_denial_binding",
    "arguments_mismatch": _DRAFT + "invalid_denial_binding",
    "binding_token_expired": _DRAFT + "expired_denial",
    "not_approvable": _DRAFT + "not_requestable",
    "unknown_approval": _DRAFT + "unknown_task",
    "approval_over": _DRAFT + "invalid_task_state",
}
"""The draft's problem types for codes of ours."""


def status_of(error: GovernanceError) -> int:
    """The HTTP status of an error; one without a place here is ours, hence 503."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 503)


def problem(error: GovernanceError) -> bytes:
    """The body of an error answer: ``{"error": {"code", "message", …fields}}``."""
    return orjson.dumps({"error": _shown(error)}, default=str)


def problem_details(error: GovernanceError) -> bytes:
    """The same as `application/problem+json`: ``{"type", "title", "status", "detail", "error"}``."""
    details = {
        "type": _TYPES.get(error.code, "about:blank"),
        "title": error.code,
        "status": status_of(error),
        "detail": error.message,
        "error": _shown(error),
    }
    return orjson.dumps(details, default=str)


def _shown(error: GovernanceError) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    for name, value in error.fields.items():
        shown.setdefault(name, value)
    return shown
