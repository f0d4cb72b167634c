"""What may be known of where a value comes from."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Fact(StrEnum):
    """From the best to the worst."""

    TRUSTED = "trusted"  # the task says it, or a trusted result
    DERIVED = "derived"  # a trusted result that was looked up by a value which is not trusted
    MIXED = "mixed"  # trusted, and strangers say it as well
    UNKNOWN = "unknown"  # nobody said it: the model made it up, or somebody told it elsewhere
    UNTRUSTED = "untrusted"  # strangers' text alone says it


_RANK = {fact: rank for rank, fact in enumerate(Fact)}


def worst(facts: Iterable[Fact]) -> Fact:
    """The worst of them; of none, TRUSTED."""
    return max(facts, key=_RANK.__getitem__, default=Fact.TRUSTED)
