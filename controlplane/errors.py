"""The one base of every error that the control plane raises, and the tree's first level.

GovernanceError
├── InputError         the caller sent something that no door accepts (400)
├── UnauthenticatedError  no key, or a key that is unknown, revoked or expired (401)
├── ForbiddenError     the key is good, but it may not do this (403)
├── NotFoundError      (404)
├── ConflictError      the state of things does not allow it (409)
├── TooLargeError      (413)
├── OverloadedError    try again later (429)
└── UnavailableError   we cannot decide now; every client treats this as a deny (503)

A deny is a value, never one of these. Each error has a stable `code` and survives pickling, because it
crosses Ray. Texts are lower case, without a full stop, and quote what the user wrote in backticks.
"""

from __future__ import annotations


class GovernanceError(Exception):
    """Base of all our errors.

    Args:
        message: what is wrong, where, and what to do about it.
        code: stable, machine-readable; the class's own `code` when left out.
        fields: typed details, e.g. both sides of a mismatch (`expected`, `found`).
    """

    code = "governance_error"

    def __init__(self, message: str, *, code: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.fields = fields

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.fields))


def _rebuild(
    kind: type[GovernanceError], message: str, code: str, fields: dict[str, object]
) -> GovernanceError:
    error = kind.__new__(kind)
    GovernanceError.__init__(error, message, code=code, **fields)
    return error


class InputError(GovernanceError):
    code = "invalid_request"


class UnauthenticatedError(GovernanceError):
    code = "unauthenticated"


class ForbiddenError(GovernanceError):
    code = "forbidden"


class NotFoundError(GovernanceError):
    code = "not_found"


class ConflictError(GovernanceError):
    code = "conflict"


class TooLargeError(GovernanceError):
    code = "too_large"


class OverloadedError(GovernanceError):
    code = "overloaded"


class UnavailableError(GovernanceError):
    code = "unavailable"
