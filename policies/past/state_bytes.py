"""Pasts as bytes: small, because one is written with every action that changes it.

Numbers in it are those of one bundle's program; `policies.past.translation` carries a past over to another's.

    position (6) | last time (8) | widths (1) | monitors | monitors with keys | accounts | what is open

each a count (2) and its entries. The widths say how many bytes the number of a monitor takes and how many a slot, the
least that the largest needs: a slot's time is written as its distance from the last action's, 5 bytes for 6 days.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final

from controlplane.errors import GovernanceError
from policies import budget_bytes
from policies.past.monitor import Slots
from policies.past.program import Program, Scope
from policies.past.slices import Event, Measured, Slices
from policies.past.state import Open, Past, Remembered

_SMALL: Final = 1 << 46  # what a slot holds is a time from here on, below it a number of any other kind
_KEY_BYTES: Final = 16


class GarbledPast(GovernanceError):
    """The bytes are no past of this program."""

    code = "garbled_past"


def encode(past: Past) -> bytes:
    """The bytes of a past. Cost: 0.1 µs a slot, 0.2 µs a monitor or key, and what accounts take
    (`policies.budget_bytes`)."""
    last_us = past.last_us
    settled = past.settled
    wide = 1 if max((*settled.slots, *settled.slices), default=0) < 1 << 8 else 2
    cells, width = _cells(settled, last_us)
    parts = [past.position.to_bytes(6, "little"), last_us.to_bytes(8, "little"), bytes((wide << 4 | width,))]
    parts.append(_count(len(settled.slots)))
    at = 0
    for number, slots in settled.slots.items():
        end = at + len(slots) * width
        parts += (number.to_bytes(wide, "little"), cells[at:end])
        at = end
    parts.append(_count(len(settled.slices)))
    for number, slices in settled.slices.items():
        size = (1 + len(slices.base)) * width
        parts += (number.to_bytes(wide, "little"), cells[at : at + size], _count(len(slices.of)))
        at += size
        for key in slices.of:
            parts += (key, cells[at : at + size])
            at += size
    accounts = [(number, data) for number in past.ledgers if (data := _ledger(past, number))]
    parts.append(_count(len(accounts)))
    for number, data in accounts:
        parts += [_count(number), len(data).to_bytes(4, "little"), data]
    parts.append(_count(len(past.open)))
    for opened in past.open:
        parts += _opened(opened)
    return b"".join(parts)


def decode(program: Program, scope: Scope, data: bytes, widths: Sequence[int] | None = None) -> Past:
    """The past that `encode` wrote.

    Args:
        widths: slots of each monitor of the program whose numbers the bytes use, where that is another one; the past
            is then to be carried over (`policies.past.translation`).
    Raises: GarbledPast.
    """
    past = Past(program, scope)
    if widths is None:
        widths = [len(one.monitor.initial) for one in program.monitors]
    reader = _Reader(data)
    try:
        past.position = reader.number(6)
        past.last_us = last_us = reader.number(8)
        wide, reader.slot_bytes = divmod(reader.number(1), 16)
        for _ in range(reader.number(2)):
            number = reader.number(wide)
            past.settled.slots[number] = reader.slots(widths[number], last_us)
        for _ in range(reader.number(2)):
            number = reader.number(wide)
            width = widths[number]
            overflowed_us, *base = reader.slots(width + 1, last_us)
            of: dict[bytes, Slots] = {}
            doubts: dict[bytes, int] = {}
            for _ in range(reader.number(2)):
                key = reader.take(_KEY_BYTES)
                doubt_us, *slots = reader.slots(width + 1, last_us)
                of[key] = tuple(slots)
                if doubt_us >= 0:
                    doubts[key] = doubt_us
            past.settled.slices[number] = Slices(tuple(base), of, overflowed_us, doubts)
        for _ in range(reader.number(2)):
            number = reader.number(2)
            past.ledgers[number] = budget_bytes.decode_ledger(reader.take(reader.number(4)))
        past.open = [reader.opened() for _ in range(reader.number(2))]
    except (IndexError, ValueError, struct.error) as error:
        raise GarbledPast(f"the bytes are no past of this program: {error}") from error
    if reader.left():
        raise GarbledPast(f"{reader.left()} bytes too many behind a past")
    return past


def encode_event(event: Event) -> bytes:
    """An action as the past sees it, to be remembered until its outcome comes."""
    parts = [event.time_us.to_bytes(8, "little"), *map(_bits, (event.possibly, event.certainly))]
    parts.append(_count(len(event.measures)))
    for number, value in event.measures.items():
        parts += [_count(number), *_measured(value)]
    return b"".join(parts)


def decode_event(data: bytes) -> Event:
    """Raises: GarbledPast."""
    try:
        return _Reader(data).event()
    except (IndexError, ValueError) as error:
        raise GarbledPast(f"the bytes are no action: {error}") from error


def _ledger(past: Past, number: int) -> bytes:
    ledger = past.ledgers[number]
    last, data, written = past.written.get(number, (None, b"", {}))
    if last is not ledger:
        data = budget_bytes.encode_ledger(ledger, written)
        past.written[number] = (ledger, data, written)
    return data


def _opened(opened: Open) -> list[bytes]:
    event, reservation = encode_event(opened.event), opened.reservation.encode()
    return [
        opened.position.to_bytes(6, "little"),
        bytes((opened.outcome, opened.witnessed)),
        _count(len(reservation)),
        reservation,
        len(event).to_bytes(4, "little"),
        event,
    ]


def _cells(settled: Remembered, last_us: int) -> tuple[bytes, int]:
    """(all slots, in the order in which they are written, how many bytes each takes).

    0 = none; a time is odd, another number even.
    """
    slots = [*chain.from_iterable(settled.slots.values())]
    for slices in settled.slices.values():
        slots += (slices.overflowed_us, *slices.base)
        doubts = slices.doubts
        for key, own in slices.of.items():
            slots += (doubts.get(key, -1) if doubts else -1, *own)
    numbers = [(last_us - one) << 1 | 1 if one >= _SMALL else one + 1 << 1 for one in slots]
    width = (max(numbers, default=1).bit_length() + 7) // 8 or 1
    # Eight bytes each at once, of which those that are needed are taken column by column: a fifth of one by one.
    packed = struct.pack(f"<{len(numbers)}Q", *numbers)
    cells = bytearray(len(numbers) * width)
    for place in range(width):
        cells[place::width] = packed[place::8]
    return bytes(cells), width


def _bits(bits: int) -> bytes:
    size = (bits.bit_length() + 7) // 8
    return _count(size) + bits.to_bytes(size, "little")


def _measured(value: Measured) -> list[bytes]:
    match value:
        case None:
            return [b"\0"]
        case bytes():
            return [b"\1", value]
        case int():
            size = value.bit_length() // 8 + 1
            return [b"\2", _count(size), value.to_bytes(size, "little", signed=True)]


def _count(number: int) -> bytes:
    return number.to_bytes(2, "little")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.slot_bytes = 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise ValueError("it ends too early")
        self._at += size
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def slots(self, count: int, last_us: int) -> Slots:
        return tuple(self._slot(last_us) for _ in range(count))

    def _slot(self, last_us: int) -> int:
        value = self.number(self.slot_bytes)
        return last_us - (value >> 1) if value & 1 else (value >> 1) - 1

    def event(self) -> Event:
        time_us = self.number(8)
        possibly, certainly = self.number(self.number(2)), self.number(self.number(2))
        measures: dict[int, Measured] = {}
        for _ in range(self.number(2)):
            number = self.number(2)
            measures[number] = self._measured()
        return Event(time_us, possibly, certainly, measures)

    def _measured(self) -> Measured:
        match self.number(1):
            case 0:
                return None
            case 1:
                return self.take(_KEY_BYTES)
            case 2:
                return int.from_bytes(self.take(self.number(2)), "little", signed=True)
            case kind:
                raise ValueError(f"no measure of kind {kind}")

    def opened(self) -> Open:
        position = self.number(6)
        outcome, witnessed = self.number(1), self.number(1) == 1
        reservation = self.take(self.number(2)).decode()
        self.number(4)
        return Open(
            event=self.event(),
            position=position,
            outcome=outcome,
            witnessed=witnessed,
            reservation=reservation,
        )

    def left(self) -> int:
        return len(self._data) - self._at
