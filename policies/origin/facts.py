"""What can be said of where a value came from, and how trust accumulates: as bits, of which each only ever adds."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

# What is known of one token. A token's bits are never taken back; `fact_of` reads them.
TASK: Final = 1  # the user's task says it
TRUSTED: Final = 2  # a trusted result said it, and the agent had not said it before
DERIVED: Final = 4  # a trusted result said it, but to a question that an untrusted value asked
UNTRUSTED: Final = 8
ECHO: Final = 16  # the agent said it before any trusted result did: no result can make it trusted any more


class Fact(StrEnum):
    """Where a value came from, from the best to the worst."""

    TRUSTED = "trusted"
    DERIVED = "derived"
    MIXED = "mixed"
    UNKNOWN = "unknown"
    UNTRUSTED = "untrusted"

    @property
    def badness(self) -> int:
        return _BADNESS[self]


_BADNESS: Final = {fact: place for place, fact in enumerate(Fact)}
# What a value that asked a question passes on to the answer.
TAINTING: Final = frozenset((Fact.UNTRUSTED, Fact.DERIVED))


def worst(facts: Iterable[Fact]) -> Fact:
    """The worst of some facts; of none, trusted."""
    return max(facts, key=_BADNESS.__getitem__, default=Fact.TRUSTED)


def _fact_of(bits: int) -> Fact:
    if bits & TASK:
        return Fact.TRUSTED
    if bits & UNTRUSTED:
        return Fact.MIXED if bits & TRUSTED else Fact.UNTRUSTED
    if bits & DERIVED:
        return Fact.DERIVED
    return Fact.TRUSTED if bits & TRUSTED else Fact.UNKNOWN


# INVARIANT (any order): results add bits in any order to one fact, because it depends on the set alone.
FACTS: Final = tuple(map(_fact_of, range(32)))
