"""What a call other than `decide` raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ControlPlaneError(Exception):
    """A call other than `decide` did not succeed.

    Args:
        status: HTTP status; 0 if there was no answer.
        code: stable: the service's own, or `unreachable`, `malformed_answer`, `http_<status>`.
        details: what else the service said, such as `errors` of a bundle.
    """

    def __init__(
        self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(status, code, message, details)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


def failure_of(status: int, answer: object) -> ControlPlaneError:
    """Our errors are `{"error": {code, message, …}}`; what else answers (a proxy) is named by its status."""
    error = as_object(as_object(answer).get("error"))
    code, message = error.pop("code", None), error.pop("message", None)
    return ControlPlaneError(
        status,
        code if isinstance(code, str) else f"http_{status}",
        message if isinstance(message, str) else f"the service answered with status {status}",
        error,
    )


def as_object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
