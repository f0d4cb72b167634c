"""Signatures of webhooks, as Standard Webhooks 1.0 has them, so that receivers need no code of ours. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from controlplane.errors import InputError

PREFIX: Final = "whsec_"
_FEWEST_BYTES: Final = 24
_MOST_BYTES: Final = 64


def read_secret(text: str) -> bytes:
    """The key in a webhook's secret. Raises: InputError, without the secret in it."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise InputError(
            f"`secret` of a webhook is `{PREFIX}` and the base64 of {_FEWEST_BYTES} to {_MOST_BYTES} random bytes"
        )
    return key


def new_secret(random: bytes) -> str:
    """A secret of 32 random bytes."""
    return PREFIX + base64.b64encode(random).decode()


def headers(secret: str, *, delivery: str, now_s: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        delivery: the same for every attempt, so that a receiver can tell a second one.
        now_s: wall clock of this attempt, seconds.
    Source: Standard Webhooks, standardwebhooks.com, "Signature scheme".
    """
    signed = f"{delivery}.{now_s}.".encode() + body
    mac = base64.b64encode(hmac.digest(read_secret(secret), signed, "sha256")).decode()
    return {"webhook-id": delivery, "webhook-timestamp": str(now_s), "webhook-signature": f"v1,{mac}"}
