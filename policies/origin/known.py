"""What the owner of a workflow knows of its values: which were asked for, read in trust, written by strangers.

Kept as digests under a key of the workflow's own, each with a byte of what is known of it and the number of the
result that said it. Bounded: past the bound what is trusted goes first, so that forgetting only ever restricts.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from policies.origin.arguments import Spoken, Unit
from policies.origin.facts import Fact, worst
from policies.origin.hashing import Rekeyed, unpacked
from policies.origin.results import Told
from policies.origin.trust import LOOKED_UP_BY

MAX_KNOWN: Final = 5_000
"""Digests of one workflow, beside those of its task."""
MAX_TASK: Final = 2_048
"""Digests of all of the user's turns."""
MAX_AWAITED: Final = 64
MAX_SOURCES: Final = 4_095

_TASK, _TRUSTED, _DERIVED, _STRANGERS, _TYPED, _SPOKEN = 1, 2, 4, 8, 16, 32
_FROM_TRUST: Final = _TASK | _TRUSTED
_SOURCE_BITS: Final = 12
_FRESH: Final = 256
_HEADER: Final = struct.Struct("<BBHHI")
_VERSION: Final = 1
_MISSED, _OVERFULL, _SPOKE_MORE = 1, 2, 4


class Judged(NamedTuple):
    """Where one value comes from.

    Attributes:
        source: what `result` was given with the result that said it; None = the task, nobody, or long ago.
        over_bound: whether more is unknown than could be kept: whatever is asked of it, it may be so.
    """

    fact: Fact
    source: int | None = None
    over_bound: bool = False


class Origins:
    """Of one workflow. Not thread-safe.

    Args:
        key: of the workflow, at most 64 bytes.
    Cost: 11 bytes a digest; at most 100 kB.
    """

    __slots__ = (
        "_awaited",
        "_digests",
        "_flags",
        "_fresh",
        "_own",
        "_own_of",
        "_sources",
        "_task_size",
        "_values",
    )

    def __init__(self, key: bytes) -> None:
        self._own = Rekeyed(key)
        self._digests: array[int] = array("Q")
        self._values: array[int] = array("I")
        self._fresh: dict[int, int] = {}
        self._sources: list[int] = []
        self._awaited: set[int] = set()
        self._flags = 0
        self._task_size = 0

    # -- what happens ---------------------------------------------------------------------------------------------

    def task(self, told: Told) -> None:
        """The user said this."""
        found: dict[int, int] = {}
        for digest in unpacked(told.trusted):
            own = self._own(digest)
            if not self._value(own) & _TASK:
                if self._task_size >= MAX_TASK:
                    break
                self._task_size += 1
                found[own] = _TASK
        self._add(found)

    def spoke(self, said: Spoken) -> None:
        """The agent said this in an action that was permitted."""
        found = {}
        for digest in unpacked(said.digests):
            own = self._own(digest)
            if not self._value(own) & 0xFF:
                found[own] = _SPOKEN
        self._add(found)
        if said.more:
            self._flags |= _SPOKE_MORE

    def await_result(self, source: int) -> None:
        """What strangers write is about to be read: until it is told, what nobody said may have been said there."""
        if len(self._awaited) >= MAX_AWAITED:
            self._flags |= _MISSED
        else:
            self._awaited.add(source)

    def missed(self) -> None:
        """Something was read of which nothing will be told."""
        self._flags |= _MISSED

    def result(
        self, told: Told, *, source: int, looked_up: Fact = Fact.TRUSTED, witnessed: bool = True
    ) -> None:
        """What an action returned.

        Args:
            source: number of the action, at most 63 bits.
            looked_up: the worst fact of the values that it was looked up by.
            witnessed: whether somebody tells it whom the agent cannot steer. Else it adds no trust, and may not be all.
        """
        number = self._number(source)
        found: dict[int, int] = {}
        if witnessed and not self._flags & _SPOKE_MORE:
            clean = looked_up in (Fact.TRUSTED, Fact.UNKNOWN)
            flag = _TRUSTED if clean else _DERIVED
            for digest in unpacked(told.trusted):
                own = self._own(digest)
                value = self._value(own)
                # INVARIANT (no laundering): what the agent said before anybody else did gains no trust by an echo.
                if not value & _SPOKEN:
                    found[own] = value or number << 8
                    found[own] |= flag
        for raw, flag in ((told.strangers, _STRANGERS), (told.typed, _STRANGERS | _TYPED)):
            for digest in unpacked(raw):
                own = self._own(digest)
                value = found.get(own, self._value(own))
                if not value & _STRANGERS:
                    # Whoever asks wants to know which stranger.
                    value = value & 0xFF | number << 8
                found[own] = value | flag
        self._add(found)
        if told.more:
            self._flags |= _OVERFULL
        if witnessed:
            self._awaited.discard(source)
            if not told.complete:
                self._flags |= _MISSED

    # -- what is asked --------------------------------------------------------------------------------------------

    def judge(self, unit: Unit) -> Judged | None:
        """Where a value comes from; None for another reading of one that says nothing. Cost: ¾ µs a digest of it."""
        value = 0
        for digest in unit.either:
            value |= self._value(self._own(digest))
        if not value & ~_SPOKEN & 0xFF and unit.host is not None:
            value = self._value(self._own(unit.host))
        if not value & ~_SPOKEN & 0xFF and unit.words:
            value = self._phrase(unit)
        fact = _fact(value)
        if fact is Fact.UNKNOWN:
            if unit.aside:
                return None
            if self._flags & _OVERFULL:
                return Judged(Fact.UNTRUSTED, None, over_bound=True)
            if self._flags & _MISSED or self._awaited:
                return Judged(Fact.UNTRUSTED)
            return Judged(fact)
        source = value >> 8
        return Judged(fact, self._sources[source - 1] if 0 < source <= len(self._sources) else None)

    def looked_up_by(self, units: Iterable[Unit] | None) -> Fact:
        """The worst fact of the values that choose what an action returns."""
        if units is None:
            return Fact.UNTRUSTED
        units = (unit for unit in units if unit.role in LOOKED_UP_BY)
        return worst(judged.fact for unit in units if (judged := self.judge(unit)) is not None)

    # -- as bytes -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """All that is known. Cost: about 20 ns a digest."""
        self._merge()
        awaited = sorted(self._awaited)
        header = _HEADER.pack(_VERSION, self._flags, self._task_size, len(awaited), len(self._sources))
        numbers = struct.pack(f"<{len(awaited) + len(self._sources)}q", *awaited, *self._sources)
        return header + numbers + self._digests.tobytes() + self._values.tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes, key: bytes) -> Origins:
        """Raises: ValueError: not what `to_bytes` gives."""
        try:
            version, flags, task_size, awaited, sources = _HEADER.unpack_from(raw)
            if version != _VERSION:
                raise ValueError(f"origins of version {version}")
            numbers = struct.unpack_from(f"<{awaited + sources}q", raw, _HEADER.size)
            rest = raw[_HEADER.size + 8 * len(numbers) :]
            count, left = divmod(len(rest), 12)
            if left:
                raise ValueError("origins are cut short")
        except struct.error as error:
            raise ValueError(f"not origins: {error}") from None
        found = cls(key)
        found._flags, found._task_size = flags, task_size
        found._awaited = set(numbers[:awaited])
        found._sources = list(numbers[awaited:])
        found._digests.frombytes(rest[: 8 * count])
        found._values.frombytes(rest[8 * count :])
        return found

    # -- inside ---------------------------------------------------------------------------------------------------

    def _phrase(self, unit: Unit) -> int:
        """What is known of a text by its words: strangers' may be any of theirs, trusted ones stand in their order."""
        values = [self._value(self._own(digest)) for digest in unit.words]
        common = 0xFF
        for value in values:
            common &= value | (_FROM_TRUST if value & _FROM_TRUST else 0)
        if common & (_FROM_TRUST | _DERIVED):
            for digest in unit.adjacent:
                value = self._value(self._own(digest))
                common &= value | (_FROM_TRUST if value & _FROM_TRUST else 0) | _STRANGERS
        if not common & ~_SPOKEN:
            return 0
        return common & ~_SPOKEN | max(value >> 8 for value in values) << 8

    def _value(self, own: int) -> int:
        fresh = self._fresh.get(own)
        if fresh is not None:
            return fresh
        place = bisect_left(self._digests, own)
        if place < len(self._digests) and self._digests[place] == own:
            return self._values[place]
        return 0

    def _number(self, source: int) -> int:
        """The number by which a source is filed, from 1; 0 = there are too many."""
        if len(self._sources) >= MAX_SOURCES:
            return 0
        self._sources.append(source)
        return len(self._sources)

    def _add(self, found: dict[int, int]) -> None:
        for own, value in found.items():
            self._fresh[own] = self._value(own) & 0xFF | value
        if len(self._fresh) > _FRESH:
            self._merge()

    def _merge(self) -> None:
        if not self._fresh:
            return
        every = dict(zip(self._digests, self._values, strict=True))
        every.update(self._fresh)
        self._fresh = {}
        if len(every) > MAX_KNOWN + self._task_size:
            every = self._fitting(every)
        self._digests = array("Q", sorted(every))
        self._values = array("I", [every[own] for own in self._digests])

    def _fitting(self, every: dict[int, int]) -> dict[int, int]:
        """As many as may be kept: the task's, then what was said before, strangers' values, their words, and trust."""
        self._flags |= _OVERFULL
        kept = sorted(every.items(), key=lambda entry: _worth(entry[1]))[: MAX_KNOWN + self._task_size]
        if sum(1 for value in every.values() if value & _SPOKEN) > sum(
            1 for _, value in kept if value & _SPOKEN
        ):
            self._flags |= _SPOKE_MORE
        return dict(kept)


def _worth(value: int) -> int:
    if value & _TASK:
        return 0
    if value & _STRANGERS and value & _TYPED:
        return 1
    if value & _SPOKEN:
        return 2
    return 3 if value & _STRANGERS else 4


def _fact(value: int) -> Fact:
    # INVARIANT (the task wins): whatever the user asked for is theirs to ask, whoever says it as well.
    if value & _TASK:
        return Fact.TRUSTED
    trusted, strangers = value & (_TRUSTED | _DERIVED), value & _STRANGERS
    if trusted and strangers:
        return Fact.MIXED
    if strangers:
        return Fact.UNTRUSTED
    if value & _TRUSTED:
        return Fact.TRUSTED
    return Fact.DERIVED if value & _DERIVED else Fact.UNKNOWN


def worst_judged(judged: Sequence[Judged]) -> Judged | None:
    """The judgement that decides."""
    ranks = {fact: rank for rank, fact in enumerate(Fact)}
    return max(judged, key=lambda one: ranks[one.fact], default=None)
