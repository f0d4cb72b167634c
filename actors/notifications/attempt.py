"""What one attempt at a delivery came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MEANS: Final = {
    "ConnectError": "no connection: nobody listens there, its name is not known, or TLS failed",
    "ConnectTimeout": "no connection in time",
    "ConnectionRefusedError": "nobody listens there",
    "ReadTimeout": "no answer in time",
    "SMTPNotSupportedError": "the mail server does not offer what the channel asks for: STARTTLS, or a login",
    "SSLCertVerificationError": "its certificate is not believed",
    "TimeoutError": "no answer in time",
    "gaierror": "the host's name is not known",
}
"""What exceptions come to, for whoever set the channel up."""


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
    kind = type(error).__name__
    return Attempt(delivered=False, error=f"{kind}: {_MEANS[kind]}" if kind in _MEANS else kind)
