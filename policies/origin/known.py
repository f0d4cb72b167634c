"""One kind of tokens of a workflow: what is known of each digest, and from which result."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from policies.origin.facts import DERIVED, ECHO, TASK, TRUSTED, UNTRUSTED

BITS: Final = 5
BITS_MASK: Final = (1 << BITS) - 1
_TRUST: Final = TRUSTED | DERIVED
_STAYS: Final = TASK | UNTRUSTED | DERIVED | ECHO


class Known:
    """digest → bits, and the number of a source above them (0: none).

    INVARIANT (echo): a token that the agent said before it was trusted (`ECHO`) never gets `TRUSTED` or `DERIVED`.
    """

    __slots__ = ("of",)

    def __init__(self, of: dict[int, int] | None = None) -> None:
        self.of: dict[int, int] = {} if of is None else of

    def add(self, digests: set[int], bit: int, source: int) -> None:
        """Cost: 0.05 µs a digest."""
        of = self.of
        blocked = ECHO if bit & _TRUST else 0
        for digest in of.keys() & digests:
            value = of[digest]
            if not value & (bit | blocked):
                # The source that explains: of what is untrusted, the first that was; otherwise the first of all.
                mine = bit == UNTRUSTED or not value >> BITS
                of[digest] = value & BITS_MASK | bit | source << BITS if mine else value | bit
        of.update(dict.fromkeys(digests.difference(of), bit | source << BITS))

    def utter(self, digests: Iterable[int]) -> None:
        of = self.of
        for digest in digests:
            value = of.get(digest, 0)
            if not value & (TASK | _TRUST | ECHO):
                of[digest] = value | ECHO

    def count(self, bit: int) -> int:
        return sum(1 for value in self.of.values() if value & bit)

    def evict_trusted(self, most: int) -> None:
        """Forget what is only trusted, the oldest first, down to `most` tokens."""
        over = len(self.of) - most
        if over > 0:
            for digest in list(islice((d for d, value in self.of.items() if not value & _STAYS), over)):
                del self.of[digest]

    def evict_all(self, most: int) -> bool:
        """Forget also others but the task's, the latest first; whether any was forgotten."""
        over = len(self.of) - most
        if over <= 0:
            return False
        for digest in list(islice((d for d in reversed(self.of) if not self.of[d] & TASK), over)):
            del self.of[digest]
        return True

    def keep_task(self) -> None:
        self.of = {digest: value for digest, value in self.of.items() if value & TASK}
