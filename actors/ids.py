"""Identifiers that say where to look: decision ids carry their log's ordinal, session ids are authenticated.

A decision id is a UUIDv7 (RFC 9562)::

    48 bit milliseconds | 4 bit version 7 | 12 bit fraction of the millisecond
    2 bit variant       | 20 bit ordinal of the log | 42 bit random

A session id is ``ses_`` and the URL-safe base64 of ``ordinal (3) | expires_s (4) | random (9) | MAC (16)``; the MAC
covers the tenant, the subject and the first 16 bytes, so that an id works for nobody else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

MAX_ORDINAL = (1 << 20) - 1
_SESSION_PREFIX = "ses_"
_MAC_BYTES = 16
_BODY_BYTES = 16


def agent_key(tenant: str, subject_type: str, subject_id: str) -> str:
    """The one spelling of who a subject is, e.g. ``default/agent/treasury-bot``.

    A slash in a type is escaped (`%` is in no id), so that no two subjects share a key: type ``a``, id ``b/c`` is
    not type ``a/b``, id ``c``.
    """
    if "/" in subject_type:
        subject_type = subject_type.replace("/", "%2F")
    return f"{tenant}/{subject_type}/{subject_id}"


def subject_of_key(key: str) -> tuple[str, str, str]:
    """(tenant, subject type, subject id) of an agent key."""
    tenant, subject_type, subject_id = key.split("/", 2)
    return tenant, subject_type.replace("%2F", "/"), subject_id


def decision_id(*, now_us: int, ordinal: int, random: int) -> str:
    """Mint the id of an event in the log with this ordinal.

    Args:
        now_us: event time, microseconds since the epoch.
        ordinal: of the owner's log, 0 … 2**20 - 1.
        random: at least 42 random bits.
    """
    milliseconds, fraction = divmod(now_us, 1000)
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (fraction * 4096 // 1000)
    low = 0b10 << 62 | (ordinal & MAX_ORDINAL) << 42 | random & (1 << 42) - 1
    text = f"{high << 64 | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def ordinal_of_decision(text: str) -> int | None:
    """The ordinal of the log that holds this decision, or None when `text` is no id of ours."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    if value.version != 7 or str(value) != text:
        return None
    return value.int >> 42 & MAX_ORDINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionId:
    """What a genuine session id says."""

    text: str
    ordinal: int
    expires_us: int


def session_id(*, key: bytes, subject: str, ordinal: int, expires_us: int, random: bytes) -> str:
    """Mint a session id for `subject` (an agent key). `random` is 9 bytes; `expires_us` is rounded down to seconds."""
    body = ordinal.to_bytes(3, "big") + (expires_us // 1_000_000).to_bytes(4, "big") + random[:9]
    return _SESSION_PREFIX + base64.urlsafe_b64encode(body + _mac(key, subject, body)).decode().rstrip("=")


def session_ordinal(text: str) -> int | None:
    """Which log a session id points to. Not yet authenticated: use it for routing only."""
    raw = _decode(text)
    return None if raw is None else int.from_bytes(raw[:3], "big")


def read_session_id(text: str, *, key: bytes, subject: str) -> SessionId | None:
    """The contents of a session id, or None when it was not minted for this subject by this deployment."""
    raw = _decode(text)
    if raw is None or not hmac.compare_digest(raw[_BODY_BYTES:], _mac(key, subject, raw[:_BODY_BYTES])):
        return None
    return SessionId(
        text=text,
        ordinal=int.from_bytes(raw[:3], "big"),
        expires_us=int.from_bytes(raw[3:7], "big") * 1_000_000,
    )


def _mac(key: bytes, subject: str, body: bytes) -> bytes:
    return hmac.digest(key, b"controlplane session v1\0" + subject.encode() + b"\0" + body, hashlib.sha256)[
        :_MAC_BYTES
    ]


def _decode(text: str) -> bytes | None:
    if not text.startswith(_SESSION_PREFIX) or len(text) != len(_SESSION_PREFIX) + 43:
        return None
    try:
        raw = base64.b64decode(text[len(_SESSION_PREFIX) :] + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character holds two spare bits: only one spelling of an id is accepted.
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != text[len(_SESSION_PREFIX) :]:
        return None
    return raw
