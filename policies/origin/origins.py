"""What the owner of a workflow remembers of where values came from, and its judgement of a call's arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from policies.origin import origins_bytes
from policies.origin.facts import DERIVED, ECHO, FACTS, TAINTING, TASK, TRUSTED, UNTRUSTED, Fact, worst
from policies.origin.hashing import pairs
from policies.origin.known import BITS, BITS_MASK
from policies.origin.origins_bytes import GarbledOrigins, Remembered
from policies.origin.told import NAMES_LOST, PAIRS_LOST, WORDS_LOST, Told, unpack
from policies.origin.units import Unit

__all__ = ("GarbledOrigins", "Judged", "Origins")

MOST_NAMES: Final = 1_536
MOST_PHRASES: Final = 7_424  # words and pairs together
MOST_SOURCES: Final = 128  # results that explain; what later ones say is known without its source
MOST_AWAITED: Final = 64
_WHERE_TO: Final = frozenset(
    ("destination", "target")
)  # an unknown one may have been said in what is not known
_ECHO_LOST: Final = 8  # what the agent said is not all known: no result gives trust any more
_MANY_AWAITED: Final = 16
_CUT: Final = 32
_MOST_TASK_NAMES: Final = MOST_NAMES // 2
_MOST_TASK_PHRASES: Final = MOST_PHRASES // 2


class Judged(NamedTuple):
    """Args:
    source: the result that it came from, as it was numbered when reported; None: none, or not known.
    over_bound: what would decide may have been forgotten; a rule then counts as matched.
    outstanding: nobody said it, but `source` is not told, or not whole.
    also: facts of other parts of the same text that are not trusted: the worst of them hides none from a rule.
    """

    fact: Fact
    source: int | None = None
    over_bound: bool = False
    outstanding: bool = False
    also: frozenset[Fact] = frozenset()


_TASK_SAYS: Final = Judged(Fact.TRUSTED)


class Origins:
    """The state of one workflow, its sessions and delegates together. Not for several threads.

    At most 64 KiB as bytes, whatever was read. What was trusted is forgotten first, then pairs of words: from then on
    a phrase is untrusted where all its words are. What the task says is never forgotten.
    """

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = Remembered()

    def task(self, told: Told) -> None:
        """One turn of the user. Raises: ValueError: it was told by something else than a task."""
        if not told.task:
            raise ValueError("only what `told_by_task` read is a task")
        state = self._state
        names = set(unpack("Q", told.trusted_names))
        words, adjacent = set(unpack("I", told.trusted_words)), set(unpack("I", told.trusted_pairs))
        for known, digests, most in (
            (state.names, names, _MOST_TASK_NAMES),
            (state.words, words, _MOST_TASK_PHRASES - state.pairs.count(TASK)),
            (state.pairs, adjacent, _MOST_TASK_PHRASES - state.words.count(TASK) - len(words)),
        ):
            room = max(0, most - known.count(TASK))
            known.add(digests if len(digests) <= room else set(sorted(digests)[:room]), TASK, 0)
        self._bound()

    def uttered(self, units: Iterable[Unit]) -> None:
        """All arguments of a permitted call: what a later result only gives back gains no trust by it."""
        state = self._state
        for unit in units:
            state.names.utter(
                (*((unit.whole,) if unit.whole else ()), *unit.names, *unit.beside, *unit.written)
            )
            state.words.utter(unit.words)
            if not state.flags & PAIRS_LOST:
                state.pairs.utter(pairs(unit.words))
            if unit.cut:
                state.flags |= _ECHO_LOST
        self._bound()

    def asked_by(self, units: Iterable[Unit]) -> Fact:
        """What a call's arguments pass on to its result, to be kept with its decision: the worst of their facts, but
        that an unknown value hides no derived one."""
        state = self._state
        blind = bool(state.flags & (_CUT | _MANY_AWAITED) or state.awaited)
        found = set[Fact]()
        for unit in units:
            judged = self.judge(unit)
            unsure = judged.over_bound or (blind and judged.fact is Fact.UNKNOWN and not unit.indirect)
            found.add(Fact.UNTRUSTED if unsure else judged.fact)
            found |= judged.also
        return worst(found & TAINTING or found)

    def awaiting(self, source: int) -> None:
        """A read of what is untrusted was permitted; until its result is reported, it may have said anything."""
        if len(self._state.awaited) < MOST_AWAITED:
            self._state.awaited[source] = None
        else:
            self._state.flags |= _MANY_AWAITED

    def arrived(self, source: int) -> None:
        """It has said all that it will: reported, or never executed."""
        self._state.awaited.pop(source, None)

    def result(self, told: Told, *, source: int, looked_up: Fact, trusting: bool = True) -> None:
        """A reported result.

        Args:
            source: the number of its decision, below 2¹²⁸.
            looked_up: what `asked_by` said of the call's arguments.
            trusting: False where the reporter could have made it up (a plain agent's key): it can only add untrust,
                and what was awaited stays so until `arrived`.
        Cost: at most 2 ms, for a result that fills the state.
        """
        state = self._state
        if told.task:
            raise ValueError("a task is no result")
        number = self._number(source)
        if trusting:
            # Whoever could have made it up could have left out what it said.
            self.arrived(source)
        if told.untrusted:
            if not told.complete:
                state.flags |= _CUT
                state.cut_source = state.cut_source or number
            state.flags |= told.lost
            self._add(UNTRUSTED, number, told.untrusted_names, told.untrusted_words, told.untrusted_pairs)
        bit = DERIVED if looked_up in TAINTING else TRUSTED
        if trusting and (bit == DERIVED or not state.flags & _ECHO_LOST):
            self._add(bit, number, told.trusted_names, told.trusted_words, told.trusted_pairs)
        self._bound()

    def judge(self, unit: Unit) -> Judged:
        """Where one unit came from. Cost: 1 to 2 µs for a name or a few words, 0.2 µs a word of a long text."""
        if unit.trivial:
            return _TASK_SAYS
        found = self._judge(unit)
        if unit.indirect:
            return found if found.fact is Fact.UNTRUSTED else _TASK_SAYS
        if unit.written and found.fact is not Fact.UNTRUSTED:
            found = self._as_written(unit, found)
        if unit.cut and found.fact is not Fact.UNTRUSTED:
            found = Judged(worst((found.fact, Fact.UNKNOWN)), None, True)
        if found.fact is Fact.UNKNOWN and unit.role in _WHERE_TO:
            state = self._state
            if state.flags & (_CUT | _MANY_AWAITED) or state.awaited:
                awaited = next(iter(state.awaited), None)
                source = awaited if awaited is not None else self._source(state.cut_source)
                return Judged(Fact.UNTRUSTED, source, found.over_bound, outstanding=True, also=found.also)
        return found

    @property
    def digests(self) -> int:
        """How many are known."""
        state = self._state
        return len(state.names.of) + len(state.words.of) + len(state.pairs.of)

    def missed(self) -> None:
        """Something untrusted may have been read of which nothing will be told."""
        self._state.flags |= _CUT

    def to_bytes(self, key: bytes) -> bytes:
        """At most 64 KiB, sealed under the workflow's key: equal values do not show in the bytes of two workflows.

        Args:
            key: 16 to 64 bytes, of this workflow alone.
        Cost: 1 ms when full.
        """
        return origins_bytes.encode(self._state, key)

    @classmethod
    def from_bytes(cls, data: bytes, key: bytes) -> Origins:
        """Raises: GarbledOrigins: not the bytes of a workflow with this key."""
        found = cls()
        found._state = origins_bytes.decode(data, key)
        return found

    def _judge(self, unit: Unit) -> Judged:
        state = self._state
        words = unit.words
        if not words:
            return Judged(Fact.UNKNOWN, None, True)
        if len(words) == 1:
            if not unit.whole:
                return self._fact(state.words.of.get(words[0], 0), WORDS_LOST)
            found = self._fact(state.names.of.get(unit.whole, 0), NAMES_LOST)
            return self._beside(unit) or found if found.fact is Fact.UNKNOWN else found
        phrase = self._phrase(words)
        if phrase & TASK:
            return _TASK_SAYS
        if not unit.names:
            return self._fact(phrase, WORDS_LOST)
        known = [state.names.of.get(name, 0) for name in unit.names]
        if not (phrase or unit.runs or unit.beside) and known.count(known[0]) == len(known):
            return self._fact(
                known[0], NAMES_LOST
            )  # a date with its time, say: nothing tells its names apart
        names = [self._fact(value, NAMES_LOST) for value in known]
        if phrase:
            # The text is known as it stands; a name in it that is untrusted or derived stays so.
            parts = [self._fact(phrase, WORDS_LOST)]
            parts += [one for one in names if one.fact in TAINTING]
        else:
            runs = [self._fact(self._phrase(words[a:b]), WORDS_LOST) for a, b in unit.runs]
            if unit.strong:
                # `Ann Lee <ann@example.com>`: an unknown word beside an address changes nothing.
                runs = [one for one in runs if one.fact is not Fact.UNKNOWN]
            parts = [*names, *runs]
        if unit.beside and any(one.fact is Fact.UNKNOWN for one in names) and (host := self._beside(unit)):
            parts.append(host)
        found = max(parts, key=lambda one: one.fact.badness)
        over_bound = found.fact is not Fact.UNTRUSTED and any(one.over_bound for one in parts)
        if len(parts) == 1:
            return Judged(found.fact, found.source, over_bound)
        also = frozenset([one.fact for one in parts if one.fact not in (Fact.TRUSTED, found.fact)])
        return Judged(found.fact, found.source, over_bound, also=also)

    def _as_written(self, unit: Unit, found: Judged) -> Judged:
        """INVARIANT (look-alikes): letters that look like those of a known name give it no trust, nor hide where it
        comes from: it is what was said of exactly these."""
        for name in unit.written:
            said = self._fact(self._state.names.of.get(name, 0), NAMES_LOST)
            if said.fact is Fact.UNKNOWN and found.fact is not Fact.UNKNOWN:
                return Judged(Fact.UNTRUSTED)
            if said.fact.badness > found.fact.badness:
                found = said._replace(also=found.also)
        return found

    def _beside(self, unit: Unit) -> Judged | None:
        """An untrusted host, say, where nothing is known of the URL as a whole."""
        for name in unit.beside:
            value = self._state.names.of.get(name, 0)
            if FACTS[value & BITS_MASK] in TAINTING:
                return self._fact(value, NAMES_LOST)
        return None

    def _phrase(self, words: tuple[int, ...]) -> int:
        """What is known of all of some adjacent words."""
        state = self._state
        if len(words) == 1:
            return state.words.of.get(words[0], 0)
        known = state.pairs.of
        bits, source = BITS_MASK, 0
        for pair in pairs(words):
            value = known.get(pair, 0)
            bits &= value
            source = source or value >> BITS
            if not bits:
                break
        if state.flags & PAIRS_LOST and not bits & (TASK | UNTRUSTED):
            # Without pairs, what has only words of untrusted texts is taken for untrusted; so is it for derived.
            values = [state.words.of.get(word, 0) for word in words]
            for bit, any_of in ((UNTRUSTED, UNTRUSTED), (DERIVED, UNTRUSTED | DERIVED)):
                if all(value & any_of for value in values):
                    bits, source = bits | bit, values[0] >> BITS
                    break
        return bits & ~ECHO | source << BITS if bits & ~ECHO else 0

    def _fact(self, value: int, decisive: int) -> Judged:
        fact = FACTS[value & BITS_MASK]
        if value & TASK:
            return _TASK_SAYS
        over_bound = fact is not Fact.UNTRUSTED and bool(self._state.flags & decisive)
        return Judged(fact, self._source(value >> BITS), over_bound)

    def _add(self, bit: int, source: int, names: bytes, words: bytes, adjacent: bytes) -> None:
        state = self._state
        state.names.add(set(unpack("Q", names)), bit, source)
        state.words.add(set(unpack("I", words)), bit, source)
        if not state.flags & PAIRS_LOST:
            state.pairs.add(set(unpack("I", adjacent)), bit, source)

    def _bound(self) -> None:
        """Forget what is too much: trust first, then pairs, then whatever came last."""
        state = self._state
        if len(state.names.of) > MOST_NAMES:
            state.names.evict_trusted(MOST_NAMES)
            if state.names.evict_all(MOST_NAMES):
                state.flags |= NAMES_LOST | _ECHO_LOST
        if state.flags & PAIRS_LOST:
            state.pairs.keep_task()
        if len(state.words.of) + len(state.pairs.of) <= MOST_PHRASES:
            return
        state.pairs.evict_trusted(MOST_PHRASES - len(state.words.of))
        if len(state.words.of) + len(state.pairs.of) > MOST_PHRASES:
            state.flags |= PAIRS_LOST
            state.pairs.keep_task()
        most = MOST_PHRASES - len(state.pairs.of)
        state.words.evict_trusted(most)
        if state.words.evict_all(most):
            state.flags |= WORDS_LOST | _ECHO_LOST

    def _number(self, source: int) -> int:
        sources = self._state.sources
        number = sources.get(source, 0)
        if not number and len(sources) < MOST_SOURCES:
            number = sources[source] = len(sources) + 1
        return number

    def _source(self, number: int) -> int | None:
        # Numbers count from 1 in the order of the dictionary, which is short.
        for source, mine in self._state.sources.items() if number else ():
            if mine == number:
                return source
        return None
