"""What one text or result says, as digests: what travels from a replica to the owner of a workflow."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

from policies.origin.hashing import TokenHasher, pairs
from policies.origin.tokens import Reading

MOST_NAMES: Final = 4_096
MOST_WORDS: Final = 16_384
MOST_PAIRS: Final = 16_384
NAMES_LOST: Final = 1
WORDS_LOST: Final = 2
PAIRS_LOST: Final = 4


class Told(NamedTuple):
    """Plain; `tuple(told)` can be marshalled.

    Args:
        task: it is what the user asked for; only `told_by_task` says so.
        trusted_names …: packed 64-bit digests of names, 32-bit digests of words and of adjacent words.
        untrusted: whether the result may hold what is untrusted, by the catalog or by what was found.
        complete: whether nothing was cut.
        lost: which kinds of untrusted digests are not all here (`NAMES_LOST`, …).
    """

    task: bool
    trusted_names: bytes
    trusted_words: bytes
    trusted_pairs: bytes
    untrusted_names: bytes
    untrusted_words: bytes
    untrusted_pairs: bytes
    untrusted: bool
    complete: bool
    lost: int


class Digests:
    """Names, words and pairs of some texts, each once."""

    __slots__ = ("names", "readings")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.readings: list[list[str]] = []

    def add(self, reading: Reading) -> None:
        self.names |= reading.names
        if reading.words:
            self.readings.append(reading.words)

    def packed(self, hasher: TokenHasher) -> tuple[bytes, bytes, bytes, int]:
        """Names, words, pairs, and what did not fit: of too many, those with the least digests stay."""
        unique: set[str] = set()
        for words in self.readings:
            unique.update(words)
        digest_of = hasher.words(unique)
        adjacent: array[int] = array("I")
        for words in self.readings:
            if len(words) > 1:
                adjacent.extend(pairs(list(map(digest_of.__getitem__, words))))
        names, names_left = _pack("Q", map(hasher.name, self.names), MOST_NAMES)
        single, words_left = _pack("I", array("I", digest_of.values()), MOST_WORDS)
        double, pairs_left = _pack("I", adjacent, MOST_PAIRS)
        lost = NAMES_LOST * names_left | WORDS_LOST * words_left | PAIRS_LOST * pairs_left
        return names, single, double, lost


def unpack(code: str, data: bytes) -> array[int]:
    found: array[int] = array(code)
    found.frombytes(data)
    return found


def _pack(code: str, digests: Iterable[int], most: int) -> tuple[bytes, bool]:
    if isinstance(digests, array) and len(digests) <= most:
        return digests.tobytes(), False  # few come twice: the owner may as well find out
    found = set(digests)
    if len(found) > most:
        return array(code, sorted(found)[:most]).tobytes(), True
    return array(code, found).tobytes(), False
