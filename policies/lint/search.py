"""What a formula is over every past of a few actions: found by going through all of them, not by reasoning.

The monitors that decide are the ones that step here. Two pasts after which they remember the same are one, so that a
search goes deep at little cost, and may even end because nothing new can come.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from policies.lint.reach import Letter
from policies.past.formula import Done, Formula, Historically, Never, Once, Previous, Since, names, walk
from policies.past.monitor import FAILED, SUCCEEDED, Slots, monitor_of
from policies.past.slices import Event, Keys, Sliced, Slices

MOST_ACTIONS: Final = 4
"""How long the pasts are that are gone through; longer ones for formulas with more operators."""
MOST_STEPS: Final = 60_000

_START_US: Final = 1_600_000_000_000_000
_A_TIME: Final = 1_000_000_000_000  # slots above it hold times, those below positions and bits
_POSITION: Final = 1  # positions are only asked for by outcomes that come late, and here none does
_VALUES: Final = (b"1", b"2")
_OPERATORS = Once | Historically | Never | Previous | Since


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One action of a past that the search found.

    Args:
        atoms: that hold; keys: values by atom, "1" or "2".
        succeeded: None where no formula asks; the last action is being decided.
    """

    at_us: int
    place: str
    atoms: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    succeeded: bool | None = None

    def __str__(self) -> str:
        shown = [f"{name} of {self.keys[name]}" if name in self.keys else name for name in self.atoms]
        outcome = {None: "", True: ", succeeded", False: ", not succeeded"}[self.succeeded]
        return f"{_time(self.at_us)} {self.place} ({', '.join(shown) or 'none of the atoms'}{outcome})"


Trace: TypeAlias = tuple[Happening, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far a search went: every past of up to `actions` actions, `whole` = of any number, with these gaps."""

    actions: int
    gaps_us: tuple[int, ...]
    whole: bool

    def __str__(self) -> str:
        length = "any number of actions" if self.whole else f"up to {self.actions} actions"
        return (
            f"decided by bounded search: every past of {length}, {', '.join(map(_time, self.gaps_us))} apart"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truths:
    """Shortest pasts after which a formula is true, and false; None = there is none within the bound."""

    true: Trace | None
    false: Trace | None
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The shortest past after which two formulas differ, None = there is none within the bound."""

    trace: Trace | None
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about formulas of one rule.

    Args:
        names: of the atoms; bit i of a letter is the i-th, and bit `len(names)` the rule's own.
        keys: expressions by atom (`by`).
    """

    names: tuple[str, ...]
    letters: tuple[Letter, ...]
    restricting: bool
    keys: Mapping[str, str]


def truths(question: Question, formula: Formula) -> Truths:
    """What a formula can be where its rule looks at it. Cost: at most `MOST_STEPS` steps, tens of milliseconds."""
    own = 1 << len(question.names)
    seen: dict[bool, Trace] = {}

    def look(found: Sequence[bool], way: _Way, trace: Callable[[], Trace]) -> bool:
        if way.letter.bits & own:
            seen.setdefault(found[0], ())
            if not seen[found[0]]:
                seen[found[0]] = trace()
        return len(seen) == 2

    bound = _explore(question, [formula], look, unknown=False)
    return Truths(true=seen.get(True), false=seen.get(False), bound=bound)


def difference(question: Question, one: Formula, other: Formula) -> Difference:
    """Whether two formulas differ anywhere, also where facts are unknown. Cost: that of `truths`, twice."""
    found: list[Trace] = []

    def look(truth: Sequence[bool], way: _Way, trace: Callable[[], Trace]) -> bool:
        if truth[0] is not truth[1]:
            found.append(trace())
        return bool(found)

    bound = _explore(question, [one, other], look, unknown=True)
    return Difference(trace=found[0] if found else None, bound=bound)


def deep_enough(bound: Bound, formula: Formula) -> bool:
    """Whether a search went far enough to say that something is never so."""
    return bound.whole or bound.actions > sum(isinstance(one, _OPERATORS) for one in walk(formula))


class _Way(NamedTuple):
    """One action as the search tries it."""

    letter: Letter
    event: Event  # its time is a gap
    outcomes: tuple[int, ...]


class _Watched:
    """A formula and what its monitor remembers."""

    def __init__(self, question: Question, formula: Formula) -> None:
        number_of = {name: number for number, name in enumerate(question.names)}
        self.monitor = monitor_of(formula, number_of=number_of, restricting=question.restricting)
        keys = {name: number_of[name] for name in sorted(question.keys) if name in names(formula)}
        self._sliced: Sliced | None = None
        if keys:
            mask = sum(1 << number for number in keys.values())
            of = tuple((1 << number, 1 << number, number) for number in keys.values())
            self._sliced = Sliced(
                monitor=self.monitor,
                keys=Keys(of=of, mask=mask),
                restricting=question.restricting,
                reach_us=None,
            )

    def start(self) -> Slots | Slices:
        return self.monitor.initial if self._sliced is None else Slices(self.monitor.initial)

    def truth(self, state: Slots | Slices, event: Event) -> bool:
        if self._sliced is not None:
            assert isinstance(state, Slices)
            return self._sliced.truth(state, event, _POSITION)
        assert isinstance(state, tuple)
        step = self.monitor.step
        return step(state, event.possibly, event.certainly, event.time_us, _POSITION, FAILED)[0]

    def after(self, state: Slots | Slices, event: Event, outcome: int) -> Slots | Slices:
        if self._sliced is not None:
            assert isinstance(state, Slices)
            state = state.copy()
            self._sliced.take(state, event, _POSITION, outcome)
            return state
        assert isinstance(state, tuple)
        step = self.monitor.step
        return step(state, event.possibly, event.certainly, event.time_us, _POSITION, outcome)[1]


def _explore(
    question: Question,
    formulas: Sequence[Formula],
    look: Callable[[Sequence[bool], _Way, Callable[[], Trace]], bool],
    *,
    unknown: bool,
) -> Bound:
    """Go through all pasts, the shortest first, until `look` has seen enough. Returns: how far it went."""
    watched = [_Watched(question, formula) for formula in formulas]
    windows = sorted(
        {w for f in formulas for one in walk(f) if (w := getattr(one, "window_us", None)) is not None}
    )
    gaps = (0, *itertools.chain.from_iterable((w, w + 1) for w in windows))
    horizon_us = max(windows, default=0) + 1
    ways = list(_ways(question, formulas, unknown=unknown))
    most = max(MOST_ACTIONS, *(sum(isinstance(o, _OPERATORS) for o in walk(f)) + 2 for f in formulas))
    start = (_START_US, tuple(one.start() for one in watched), ())
    frontier: list[tuple[int, tuple[Slots | Slices, ...], tuple[tuple[_Way, int, int], ...]]] = [start]
    known = {_remembered(start[1], _START_US, horizon_us)}
    steps = 0
    for depth in range(1, most + 1):
        following = []
        for now_us, states, told in frontier:
            for gap in gaps if told else (0,):
                for way in ways:
                    steps += len(watched)
                    if steps > MOST_STEPS:
                        return Bound(actions=depth - 1, gaps_us=gaps, whole=False)
                    event = way.event._replace(time_us=now_us + gap)
                    found = [one.truth(state, event) for one, state in zip(watched, states, strict=True)]

                    def trace(told=told, way=way, time_us=event.time_us) -> Trace:  # type: ignore[no-untyped-def]
                        return _told(question, (*told, (way, time_us, -1)))

                    if look(found, way, trace):
                        return Bound(actions=depth, gaps_us=gaps, whole=False)
                    if not way.letter.lasting:
                        continue
                    for outcome in way.outcomes:
                        after = tuple(
                            one.after(state, event, outcome)
                            for one, state in zip(watched, states, strict=True)
                        )
                        remembered = _remembered(after, event.time_us, horizon_us)
                        if remembered not in known:
                            known.add(remembered)
                            asked = outcome if len(way.outcomes) > 1 else -1
                            following.append((event.time_us, after, (*told, (way, event.time_us, asked))))
        if not following:
            return Bound(actions=depth, gaps_us=gaps, whole=True)
        frontier = following
    return Bound(actions=most, gaps_us=gaps, whole=False)


def _ways(question: Question, formulas: Sequence[Formula], *, unknown: bool) -> Iterator[_Way]:
    done = {one.name for f in formulas for one in walk(f) if isinstance(one, Done)}
    for letter in question.letters:
        of_formula = letter.bits & ((1 << len(question.names)) - 1)
        holding = [name for number, name in enumerate(question.names) if letter.bits >> number & 1]
        outcomes = (SUCCEEDED, FAILED) if done & set(holding) else (FAILED,)
        keyed = [question.names.index(name) for name in holding if name in question.keys]
        for values in itertools.product(_VALUES, repeat=len(keyed)):
            measures = dict(zip(keyed, values, strict=True))
            yield _Way(letter, Event(0, letter.bits, letter.bits, measures), outcomes)
            unsure = letter.unsure & of_formula
            if unknown and unsure:
                yield _Way(letter, Event(0, letter.bits, letter.bits & ~unsure, measures), outcomes)


def _remembered(states: Sequence[Slots | Slices], now_us: int, horizon_us: int) -> tuple[object, ...]:
    """What tells two states apart for all that can follow: times as distances, and none beyond every window."""

    def relative(slots: Slots) -> Slots:
        return tuple(max(value - now_us, -horizon_us) if value > _A_TIME else value for value in slots)

    return tuple(
        (relative(one.base), frozenset((key, relative(slots)) for key, slots in one.of.items()))
        if isinstance(one, Slices)
        else relative(one)
        for one in states
    )


def _told(question: Question, told: Sequence[tuple[_Way, int, int]]) -> Trace:
    first_us = told[0][1]
    happenings = []
    for way, time_us, outcome in told:
        atoms = tuple(name for number, name in enumerate(question.names) if way.event.possibly >> number & 1)
        keys = {
            question.names[number]: value.decode()
            for number, value in way.event.measures.items()
            if isinstance(value, bytes)
        }
        happenings.append(
            Happening(
                at_us=time_us - first_us,
                place=way.letter.place,
                atoms=atoms,
                keys=keys,
                succeeded=None if outcome < 0 else outcome == SUCCEEDED,
            )
        )
    return tuple(happenings)


_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000))


def _time(us: int) -> str:
    """`25h` in days and hours, and what is just beyond as `24h+`."""
    beyond = "+" if us % 1_000_000 else ""
    us -= us % 1_000_000
    return next((f"{us // size}{unit}" for unit, size in _UNITS if us and us % size == 0), "0s") + beyond
