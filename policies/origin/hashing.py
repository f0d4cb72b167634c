"""Digests that stand for tokens: 64 bits for names, 32 for words and for pairs of adjacent words.

Names (addresses, accounts, short whole values) are judged one by one; a phrase is known only where each of its pairs
is, so that 32 bits are enough for it, and twice as many fit into a workflow's state.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2s
from itertools import pairwise
from sys import byteorder
from typing import Final

_KEY_BYTES: Final = 32
_SPREAD: Final = 0x9E3779B1  # odd: for each first word, different second words make different pairs
WORD_MASK: Final = 0xFFFFFFFF
_MANY: Final = 32
_MEMO_LIMIT: Final = 50_000  # words; about 6 MB
_LONGEST_REMEMBERED: Final = 16


class TokenHasher:
    """A keyed pseudo-random function from texts to digests; the same key in every replica, for as long as
    workflows live: digests of another key are of nothing that a state knows.

    Args:
        key: 16 to 32 bytes that no agent knows, so that nobody can prepare values that collide.
    Raises: ValueError: the key has another length.
    """

    __slots__ = ("_memo", "_start")

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= _KEY_BYTES:
            raise ValueError(f"a token key has 16 to 32 bytes, found {len(key)}")
        self._start = blake2s(key=key, digest_size=8)
        self._memo: dict[str, int] = {}

    def name(self, text: str) -> int:
        """64 bits. Cost: 0.35 µs."""
        state = self._start.copy()
        state.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "little")

    def words(self, texts: Iterable[str]) -> dict[str, int]:
        """The low 32 bits of the names of many. Cost: 0.1 µs for a word that it had before, else 0.4 µs."""
        memo = self._memo
        if len(memo) > _MEMO_LIMIT:
            memo = self._memo = {}  # never cleared: another thread may be reading it
        copy = self._start.copy
        found: dict[str, int] = {}
        for text in texts:
            digest = memo.get(text)
            if digest is None:
                state = copy()
                state.update(text.encode("utf-8", "surrogatepass"))
                digest = int.from_bytes(state.digest()[:4], "little")
                if len(text) <= _LONGEST_REMEMBERED and text.isalpha():
                    memo[text] = digest
            found[text] = digest
        return found


def pairs(words: Sequence[int]) -> Iterable[int]:
    """The digests of adjacent words. Not keyed by itself: whose words are unpredictable, its pairs are.

    Cost: 0.1 µs a pair of few, 0.02 µs of many.
    """
    if len(words) < _MANY or byteorder == "big":
        return [(a * _SPREAD + b) & WORD_MASK for a, b in pairwise(words)]
    # All at once, in lanes of 64 bits of one integer: a * spread + b < 2**64, so that no lane carries into the next.
    lanes = int.from_bytes(array("Q", words).tobytes(), "little")
    summed = lanes * _SPREAD + (lanes >> 64)
    return array("I", summed.to_bytes(8 * len(words), "little"))[: 2 * len(words) - 2 : 2]
