"""Which faults come in which order: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from integration.faults.victims import Fault, How, Victim

_SINGLE = (
    Fault(victim=Victim.HOST_0),
    Fault(victim=Victim.HOST_1),
    Fault(victim=Victim.DEDICATED),
    Fault(victim=Victim.REPLICA),
    Fault(victim=Victim.INGRESS),
    Fault(victim=Victim.CONTROL_STORE),
    Fault(victim=Victim.EVIDENCE_WRITER),
    Fault(victim=Victim.NOTIFIER),
)
_OF_THE_WRITER = tuple(
    Fault(victim=Victim.EVIDENCE_WRITER, how=How.CRASH, point=point)
    for point in (
        "handover.received",
        "table.before_commit",
        "table.after_commit",
        "table.after_sync",
        "writer.before_trim",
        "writer.after_trim",
    )
)
_OF_JOURNALS = tuple(
    Fault(victim=Victim.WHOEVER, how=How.CRASH, point=point)
    for point in (
        "journal.before_commit",
        "journal.after_commit",
        "journal.before_trim",
        "journal.after_trim",
        "handover.before_answer",
    )
)
_STOPS = (Fault(victim=Victim.HOST_0, how=How.STOP), Fault(victim=Victim.HOST_1, how=How.STOP))
_HANGS = (
    Fault(victim=Victim.HOST_0, how=How.HANG),
    Fault(victim=Victim.HOST_1, how=How.HANG),
    Fault(victim=Victim.EVIDENCE_WRITER, how=How.HANG),
    Fault(victim=Victim.CONTROL_STORE, how=How.HANG),
)
_CLUSTER = (Fault(victim=Victim.RAYLET), Fault(victim=Victim.GCS))
_EVERYTHING = Fault(victim=Victim.EVERYTHING)
_TWO = 0.35  # how often a second fault follows shortly after the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One or two faults in the middle of traffic.

    Attributes:
        gap_s: between two faults.
        hold_s: how long what is stopped stays so, at least.
        pick: which process, where a role has several.
    """

    number: int
    faults: tuple[Fault, ...]
    gap_s: float
    hold_s: float
    pick: float

    def __str__(self) -> str:
        return f", {self.gap_s:.1f} s later ".join(map(str, self.faults))


def long_plan(seed: int, rounds: int) -> list[Round]:
    """A longer plan begins with the shorter ones of the same seed."""
    rng = random.Random(seed)
    deck = _deck(rng)

    def draw(number: int) -> Round:
        faults = [next(deck)]
        if rng.random() < _TWO and faults[0].how is How.KILL:
            faults.append(rng.choice((*_SINGLE, *_STOPS)))
        return _round(number, tuple(faults), rng)

    return [draw(number) for number in range(1, rounds + 1)]


def short_plan(seed: int) -> list[Round]:
    """Every kind of fault in few rounds, the whole cluster by the end of one part and by that of all at once; only
    hanging for good is left to longer plans."""
    rng = random.Random(seed)
    singles = [fault for fault in _SINGLE if fault.victim is not Victim.HOST_1]
    rng.shuffle(singles)
    pairs = [tuple(singles[at : at + 2]) for at in range(0, len(singles), 2)]
    crashes = (rng.choice(_OF_THE_WRITER), rng.choice(_OF_JOURNALS))
    rounds = [*pairs, crashes, (rng.choice(_STOPS),), (rng.choice(_CLUSTER),), (_EVERYTHING,)]
    rng.shuffle(rounds)
    return [_round(number, faults, rng) for number, faults in enumerate(rounds, 1)]


def _round(number: int, faults: tuple[Fault, ...], rng: random.Random) -> Round:
    return Round(
        number=number,
        faults=faults,
        gap_s=rng.uniform(0.0, 1.5),
        hold_s=rng.uniform(3.0, 8.0),
        pick=rng.random(),
    )


def _deck(rng: random.Random) -> Iterator[Fault]:
    """Like cards: every kind comes before any comes again."""
    while True:
        cards = [*_SINGLE, *_STOPS, *rng.sample(_OF_THE_WRITER, 2), *rng.sample(_OF_JOURNALS, 2)]
        cards += [rng.choice(_HANGS), rng.choice(_CLUSTER), _EVERYTHING]
        rng.shuffle(cards)
        yield from cards
