"""Which process is crashed where, in which order: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from evidence.failpoints import POINTS

MOMENTS = ("an owner at any moment", "the writer at any moment")
"""SIGKILL from outside: also where no failpoint is, in the middle of a write of delta-rs above all."""
_TWO = 0.3  # how often a second crash comes with the first
_MOST_PASSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One crash.

    Attributes:
        where: a failpoint, or one of `MOMENTS`.
        passes: how many times the failpoint is passed before.
        delay_s: after which a moment comes.
        pick: which owner, from 0 to 1.
    """

    where: str
    passes: int
    delay_s: float
    pick: float

    @property
    def is_moment(self) -> bool:
        return self.where in MOMENTS

    def __str__(self) -> str:
        return self.where + (f" (after {self.passes})" if self.passes and not self.is_moment else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One or two crashes in the middle of traffic. `away_s`: how long what ended is left so."""

    number: int
    crashes: tuple[Crash, ...]
    away_s: float

    def __str__(self) -> str:
        return " and ".join(map(str, self.crashes))


def plan(seed: int, rounds: int) -> list[Round]:
    """A longer plan begins with the shorter ones of the same seed. Every place comes before any comes again."""
    rng = random.Random(seed)
    deck = _deck(rng)

    def draw(number: int) -> Round:
        crashes = [_crash(next(deck), rng)]
        if rng.random() < _TWO:
            other = _crash(rng.choice([*sorted(POINTS), *MOMENTS]), rng)
            if other.where != crashes[0].where:
                crashes.append(other)
        return Round(
            number=number, crashes=tuple(crashes), away_s=rng.choice((0.0, 0.0, rng.uniform(0, 1.5)))
        )

    return [draw(number) for number in range(1, rounds + 1)]


def _crash(where: str, rng: random.Random) -> Crash:
    return Crash(
        where=where, passes=rng.randrange(_MOST_PASSES + 1), delay_s=rng.uniform(0.0, 0.5), pick=rng.random()
    )


def _deck(rng: random.Random) -> Iterator[str]:
    """Like cards."""
    while True:
        cards = [*sorted(POINTS), *MOMENTS]
        rng.shuffle(cards)
        yield from cards
