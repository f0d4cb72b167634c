"""What happens to a workflow's origins, one step at a time, as it is written down to be told again after a restart."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from policies.origin.facts import Fact
from policies.origin.origins import Origins
from policies.origin.origins_bytes import GarbledOrigins, opened, sealed
from policies.origin.told import Told
from policies.origin.units import Unit

_KINDS: Final = struct.Struct("<BBB16s")
_FACTS: Final = tuple(Fact)
_TASK, _ACTED, _RETURNED = range(3)
_AWAITED, _TRUSTED = 1, 2
_SIZES: Final = struct.Struct("<6I")
_COUNTS: Final = struct.Struct("<BHHI")


class AskedFor(NamedTuple):
    """The user said something."""

    told: Told

    def tell(self, origins: Origins) -> None:
        origins.task(self.told)


class Acted(NamedTuple):
    """An action was permitted.

    Attributes:
        units: all values of its arguments.
        source: the number of its decision, below 2¹²⁸.
        awaited: whether strangers may speak in what it returns.
    """

    units: tuple[Unit, ...]
    source: int
    awaited: bool

    def tell(self, origins: Origins) -> None:
        origins.uttered(self.units)
        if self.awaited:
            origins.awaiting(self.source)


class Returned(NamedTuple):
    """What an action returned is told; see `Origins.result`."""

    told: Told
    source: int
    looked_up: Fact
    trusting: bool

    def tell(self, origins: Origins) -> None:
        origins.result(self.told, source=self.source, looked_up=self.looked_up, trusting=self.trusting)


Happened: TypeAlias = AskedFor | Acted | Returned


def to_bytes(happened: Happened, key: bytes) -> bytes:
    """Sealed under the workflow's key, as its state is. Cost: about 10 µs, and 5 ns a byte."""
    match happened:
        case AskedFor(told):
            plain = _head(_TASK, 0, 0, 0) + _told_bytes(told)
        case Acted(units, source, awaited):
            plain = _head(_ACTED, _AWAITED * awaited, 0, source) + b"".join(map(_unit_bytes, units))
        case Returned(told, source, looked_up, trusting):
            head = _head(_RETURNED, _TRUSTED * trusting, _FACTS.index(looked_up), source)
            plain = head + _told_bytes(told)
    return sealed(plain, key)


def from_bytes(data: bytes, key: bytes) -> Happened:
    """Raises: GarbledOrigins: not what `to_bytes` gave for a workflow with this key."""
    plain = opened(data, key)
    try:
        kind, flags, fact, raw = _KINDS.unpack_from(plain)
        source, rest = int.from_bytes(raw, "little"), plain[_KINDS.size :]
        if kind == _TASK:
            return AskedFor(_read_told(rest))
        if kind == _ACTED:
            return Acted(tuple(_read_units(rest)), source, bool(flags & _AWAITED))
        return Returned(_read_told(rest), source, _FACTS[fact], bool(flags & _TRUSTED))
    except (struct.error, IndexError) as error:
        raise GarbledOrigins(f"the bytes are no step of a workflow: {error}") from None


def _head(kind: int, flags: int, fact: int, source: int) -> bytes:
    return _KINDS.pack(kind, flags, fact, source.to_bytes(16, "little"))


def _told_bytes(told: Told) -> bytes:
    task, *parts, untrusted, complete, lost = told
    flags = bytes((task, untrusted, complete, lost))
    return flags + _SIZES.pack(*map(len, parts)) + b"".join(parts)


def _read_told(raw: bytes) -> Told:
    task, untrusted, complete, lost = raw[:4]
    place = 4 + _SIZES.size
    parts = []
    for size in _SIZES.unpack_from(raw, 4):
        parts.append(raw[place : place + size])
        place += size
    return Told._make((bool(task), *parts, bool(untrusted), bool(complete), lost))


def _unit_bytes(unit: Unit) -> bytes:
    """What `Origins.uttered` reads of it."""
    beside = (*unit.beside, *unit.written)
    names = (unit.whole, *unit.names, *beside)
    counts = _COUNTS.pack(unit.cut, len(unit.names), len(beside), len(unit.words))
    return counts + struct.pack(f"<{len(names)}Q{len(unit.words)}I", *names, *unit.words)


def _read_units(raw: bytes) -> Iterable[Unit]:
    place = 0
    while place < len(raw):
        cut, named, beside, worded = _COUNTS.unpack_from(raw, place)
        place += _COUNTS.size
        layout = struct.Struct(f"<{1 + named + beside}Q{worded}I")
        numbers = layout.unpack_from(raw, place)
        place += layout.size
        yield Unit(
            path="",
            role="",
            whole=numbers[0],
            names=numbers[1 : 1 + named],
            beside=numbers[1 + named : 1 + named + beside],
            words=numbers[1 + named + beside :],
            runs=(),
            strong=False,
            indirect=False,
            trivial=False,
            cut=bool(cut),
            masked="",
        )
