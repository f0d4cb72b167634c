"""API keys: what they look like, how they are kept, and what they may do.

A key is ``cp_<id>_<secret>``. The secret has 256 random bits, so a plain SHA-256 of it is what is kept: there is
nothing to guess, and a slow hash would only slow every request down.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_PREFIX = "cp_"
_REMEMBERED = 1 << 16


def mint(random_bytes: Callable[[int], bytes]) -> tuple[str, str]:
    """A new key: (id, the whole key, shown once)."""
    identity = base64.b32encode(random_bytes(8)).decode().rstrip("=").lower()
    secret = base64.urlsafe_b64encode(random_bytes(32)).decode().rstrip("=")
    return identity, f"{_PREFIX}{identity}_{secret}"


def split(key: str) -> tuple[str, str] | None:
    """(id, hash of the whole key) of something that looks like a key, else None."""
    parts = key.split("_", 2)
    if len(parts) != 3 or parts[0] != "cp" or len(key) > 128 or not key.isascii():
        return None
    return parts[1], hash_of(key)


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who holds a good key, and what the key may do.

    Attributes:
        agents: globs over ids of agents that it may speak for.
        subjects: ``type:glob`` of other subjects that it may speak for; the type ends at the first colon and is
            compared whole, so a type with a colon in it is spoken for by operators alone.
        rate_per_s: requests a second that it may make; 0 = no limit, None = what the deployment says.
    """

    key_id: str
    tenant: str
    role: str
    agents: tuple[str, ...]
    subjects: tuple[str, ...]
    grants: frozenset[str]
    rate_per_s: int | None = None

    @classmethod
    def of(cls, identity: str, entry: dict[str, Any]) -> Caller:
        return cls(
            key_id=identity,
            tenant=entry["tenant"],
            role=entry["role"],
            agents=tuple(entry["agents"]),
            subjects=tuple(entry["subjects"]),
            grants=frozenset(entry["grants"]),
            rate_per_s=entry.get("rate_per_s"),
        )

    def may_speak_for(self, subject_type: str, subject_id: str) -> bool:
        """Whether this key may ask for decisions of this subject. Agent ids compare whole unless there is a `*`.

        A `*` in a key's pattern matches any run of characters: whoever issues keys knows the names.
        """
        if self.role == "operator":
            return True
        if subject_type == "agent":
            return _one_matches(self.agents, subject_id)
        named = (pattern.split(":", 1) for pattern in self.subjects if ":" in pattern)
        return any(kind == subject_type and matches(pattern, subject_id) for kind, pattern in named)

    @property
    def principal(self) -> str | None:
        """`type:id` of the one person whom an approver's key stands for; None for every other key, and for one of an
        earlier version that stands for nobody."""
        if self.role != "approver" or len(self.subjects) != 1 or "*" in self.subjects[0]:
            return None
        return self.subjects[0]

    @property
    def starts_workflows(self) -> bool:
        return self.role == "operator" or "workflows" in self.grants

    @property
    def witnesses(self) -> bool:
        """Whether what it reports counts as seen by a PEP that the agent cannot steer."""
        return "witness" in self.grants


def verify(entry: dict[str, Any], found_hash: str, *, now_us: int) -> str | None:
    """None when the key is good, else why not: ``unknown``, ``revoked`` or ``expired``."""
    if not hmac.compare_digest(entry["hash"], found_hash):
        return "unknown"
    return no_longer_good(entry, now_us=now_us)


def no_longer_good(entry: dict[str, Any], *, now_us: int) -> str | None:
    """``revoked`` or ``expired``, or None for a key that still counts."""
    if entry["revoked_us"]:
        return "revoked"
    expires_us = entry["expires_us"]
    return "expired" if expires_us is not None and expires_us <= now_us else None


@lru_cache(maxsize=_REMEMBERED)
def _one_matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def matches(pattern: str, text: str) -> bool:
    """Glob with `*` alone (no classes, no `?`): linear, never a regular expression from outside."""
    if "*" not in pattern:
        return pattern == text
    head, *middle, tail = pattern.split("*")
    if len(text) < len(head) + len(tail) or not text.startswith(head) or not text.endswith(tail):
        return False
    position, end = len(head), len(text) - len(tail)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
