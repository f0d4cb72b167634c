"""Identifiers that say where to look: decision ids carry their log's ordinal, session ids are authenticated.

A decision id is a UUIDv7 (RFC 9562)::

    48 bit milliseconds | 4 bit version 7 | 12 bit fraction of the millisecond
    2 bit variant       | 20 bit ordinal of the log | 42 bit random

A session id is ``ses_`` and the URL-safe base64 of ``ordinal (3) | expires_s (4) | random (9) | MAC (16)``; the MAC
covers the tenant, the subject and the first 16 bytes, so that an id works for nobody else.

An approval is ``apr_`` and an id like a decision's. A binding token, with which it is asked for, is ``esc_`` and the
URL-safe base64 of ``decision (16) | expires_s (4) | MAC (16)``; its MAC covers the tenant.

A delegation token is ``dlg_`` and the same bytes; its MAC covers the tenant alone: whom it is for, the owner knows that
its ordinal names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

MAX_ORDINAL = (1 << 20) - 1
COUNTER_BITS = 15
_SESSION_PREFIX = "ses_"
_DELEGATION_PREFIX = "dlg_"
_APPROVAL_PREFIX = "apr_"
_BINDING_PREFIX = "esc_"
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
        random: at least 42 bits; the lowest 15 are counted by the owner, so that no two of a millisecond are alike.
    """
    low = f"{0b10 << 62 | (ordinal & MAX_ORDINAL) << 42 | random & (1 << 42) - 1:016x}"
    return f"{_time_of_id(now_us)}{low[:4]}-{low[4:]}"


@lru_cache(maxsize=16)
def _time_of_id(now_us: int) -> str:
    """The first half of an id: the same for all of a batch."""
    milliseconds, fraction = divmod(now_us, 1000)
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (fraction * 4096 // 1000)
    text = f"{high:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:]}-"


def decision_key(text: str) -> int:
    """What an owner files a decision of its own under: its millisecond, and 15 bits in which its owner counts.

    Ascends with time but for the order within a millisecond, so that new ones are written where the last ones were.
    """
    return int(text[:8] + text[9:13], 16) << COUNTER_BITS | int(text[-4:], 16) & (1 << COUNTER_BITS) - 1


def ordinal_of_decision(text: str) -> int | None:
    """The ordinal of the log that holds this decision, or None when `text` is no id of ours."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    if value.version != 7 or str(value) != text:
        return None
    return value.int >> 42 & MAX_ORDINAL


def time_of_decision(text: str) -> int:
    """When an id of ours was minted: event time of its owner, rounded down to milliseconds, in microseconds."""
    return (UUID(text).int >> 80) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionId:
    """What a genuine session id says."""

    text: str
    ordinal: int
    expires_us: int


def session_id(*, key: bytes, subject: str, ordinal: int, expires_us: int, random: bytes) -> str:
    """Mint a session id for `subject` (an agent key). `random` is 9 bytes; `expires_us` is rounded down to seconds."""
    body = _body(ordinal, expires_us, random)
    return _SESSION_PREFIX + _encode(body + _mac(key, "session", subject, body))


def session_ordinal(text: str) -> int | None:
    """Which log a session id points to. Not yet authenticated: use it for routing only."""
    raw = _decode(text, _SESSION_PREFIX)
    return None if raw is None else int.from_bytes(raw[:3], "big")


SESSION_IDS_READ = 8_192
"""Session ids whose contents a process remembers, about 500 bytes each."""


@lru_cache(maxsize=SESSION_IDS_READ)
def read_session_id(text: str, *, key: bytes, subject: str) -> SessionId | None:
    """The contents of a session id, or None when it was not minted for this subject by this deployment.

    Cost: 4 µs the first time, then a lookup.
    """
    raw = _decode(text, _SESSION_PREFIX)
    if raw is None or not _genuine(raw, key, "session", subject):
        return None
    return SessionId(text=text, ordinal=int.from_bytes(raw[:3], "big"), expires_us=_expires_us(raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationToken:
    """What a genuine delegation token says. `id` names the delegation and opens nothing."""

    id: str
    ordinal: int
    expires_us: int


def delegation_token(
    *, key: bytes, tenant: str, ordinal: int, expires_us: int, random: bytes
) -> tuple[str, str]:
    """Mint a delegation token: (the delegation's id, the token). `random` is 9 bytes; `expires_us` is rounded down to
    seconds."""
    body = _body(ordinal, expires_us, random)
    return body[7:].hex(), _DELEGATION_PREFIX + _encode(body + _mac(key, "delegation", tenant, body))


def delegation_ordinal(text: str) -> int | None:
    """Which log a delegation token points to. Not yet authenticated: use it for routing only."""
    raw = _decode(text, _DELEGATION_PREFIX)
    return None if raw is None else int.from_bytes(raw[:3], "big")


def read_delegation_token(text: str, *, key: bytes, tenant: str) -> DelegationToken | None:
    """The contents of a delegation token, or None when it was not minted in this tenant by this deployment."""
    raw = _decode(text, _DELEGATION_PREFIX)
    if raw is None or not _genuine(raw, key, "delegation", tenant):
        return None
    return DelegationToken(
        id=raw[7:_BODY_BYTES].hex(), ordinal=int.from_bytes(raw[:3], "big"), expires_us=_expires_us(raw)
    )


def approval_id(event_id: str) -> str:
    """The id of an approval: an event id of the owner that keeps it."""
    return _APPROVAL_PREFIX + event_id


def approval_ordinal(text: str, prefix: str = _APPROVAL_PREFIX) -> int | None:
    """Which log an approval's id points to, or None when `text` is none."""
    return ordinal_of_decision(text.removeprefix(prefix)) if text.startswith(prefix) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingToken:
    """What a genuine binding token says: which escalated decision may be asked to be approved, and until when."""

    decision: str
    expires_us: int


def binding_token(*, key: bytes, tenant: str, decision: str, expires_us: int) -> str:
    """Mint the token that binds a request for approval to a decision. `expires_us` is rounded down to seconds."""
    body = UUID(decision).bytes + (expires_us // 1_000_000).to_bytes(4, "big")
    return _BINDING_PREFIX + _encode(body + _mac(key, "binding", tenant, body))


def bound_decision(text: str) -> str | None:
    """The decision that a binding token names. Not yet authenticated: use it for routing only."""
    raw = _decode_binding(text)
    return None if raw is None else str(UUID(bytes=raw[:16]))


def read_binding_token(text: str, *, key: bytes, tenant: str) -> BindingToken | None:
    """The contents of a binding token, or None when it was not minted in this tenant by this deployment."""
    raw = _decode_binding(text)
    if raw is None or not hmac.compare_digest(raw[20:], _mac(key, "binding", tenant, raw[:20])):
        return None
    return BindingToken(
        decision=str(UUID(bytes=raw[:16])), expires_us=int.from_bytes(raw[16:20], "big") * 1_000_000
    )


def _decode_binding(text: str) -> bytes | None:
    if not text.startswith(_BINDING_PREFIX) or len(text) != len(_BINDING_PREFIX) + 48:
        return None
    try:
        raw = base64.b64decode(text.removeprefix(_BINDING_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Python takes `+` for `-` as well: only one spelling of a token is accepted.
    return raw if _encode(raw) == text.removeprefix(_BINDING_PREFIX) else None


def _body(ordinal: int, expires_us: int, random: bytes) -> bytes:
    return ordinal.to_bytes(3, "big") + (expires_us // 1_000_000).to_bytes(4, "big") + random[:9]


def _expires_us(raw: bytes) -> int:
    return int.from_bytes(raw[3:7], "big") * 1_000_000


def _mac(key: bytes, kind: str, subject: str, body: bytes) -> bytes:
    """`kind` keeps one sort of id from passing for the other."""
    said = f"controlplane {kind} v1\0{subject}\0".encode() + body
    return hmac.digest(key, said, hashlib.sha256)[:_MAC_BYTES]


def _genuine(raw: bytes, key: bytes, kind: str, subject: str) -> bool:
    return hmac.compare_digest(raw[_BODY_BYTES:], _mac(key, kind, subject, raw[:_BODY_BYTES]))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str, prefix: str) -> bytes | None:
    if not text.startswith(prefix) or len(text) != len(prefix) + 43:
        return None
    try:
        raw = base64.b64decode(text[len(prefix) :] + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character holds two spare bits: only one spelling of an id is accepted.
    return raw if _encode(raw) == text[len(prefix) :] else None
