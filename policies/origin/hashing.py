"""From tokens to digests: 64 bits under a key, so that state tells no value and nobody can look for one."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

_SIZE = 8


class TokenHasher:
    """A keyed pseudo-random function from tokens to 64 bits.

    Args:
        key: at most 64 bytes; whoever lacks it cannot tell which token a digest stands for.
    """

    __slots__ = ("_empty",)

    def __init__(self, key: bytes) -> None:
        self._empty = blake2b(digest_size=_SIZE, key=key, person=b"cp origin token")

    def __call__(self, token: str) -> int:
        """Cost: ⅓ µs."""
        state = self._empty.copy()
        state.update(token.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "little")

    def all(self, tokens: Iterable[str]) -> tuple[int, ...]:
        return tuple([self(token) for token in tokens])


class Rekeyed:
    """The same for digests, under a workflow's own key: what two workflows know shows no common value.

    Args:
        key: at most 64 bytes.
    """

    __slots__ = ("_empty",)

    def __init__(self, key: bytes) -> None:
        self._empty = blake2b(digest_size=_SIZE, key=key, person=b"cp origin flow")

    def __call__(self, digest: int) -> int:
        state = self._empty.copy()
        state.update(digest.to_bytes(_SIZE, "little"))
        return int.from_bytes(state.digest(), "little")


def packed(digests: Iterable[int]) -> bytes:
    """Digests as they travel."""
    numbers = tuple(digests)
    return _layout(len(numbers)).pack(*numbers)


def unpacked(raw: bytes) -> tuple[int, ...]:
    """Raises: struct.error: not a whole number of digests."""
    return _layout(len(raw) // _SIZE).unpack(raw)


@lru_cache(maxsize=256)
def _layout(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}Q")
