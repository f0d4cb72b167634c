"""Accounts and ledgers as bytes: one form for each value, small for the usual account of a few entries.

Numbers stand in columns: one byte that says how many bytes each takes, the least that the largest needs, and then
all of them, little-endian. An account is

    number of buckets | power of ten that divides all amounts | first time | distances | widths | amounts

(distances: from one bucket's last time to the next one's first, left out where there is one bucket), and an account or
a ledger that holds nothing is no bytes at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from math import gcd
from operator import sub

from controlplane.errors import GovernanceError
from policies import budgets, ledgers
from policies.budgets import MOST_BUCKETS, Account, Bucket
from policies.ledgers import MOST_KEYS, Ledger

_PACKED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MOST_BYTES = 64  # of one number: an amount of 96 digits, added 10^57 times
_POWERS = tuple((exponent, 10**exponent) for exponent in (64, 32, 16, 8, 4, 2, 1))
_KEY_SIZES = (0, 16)
_MOST_GONE = 64  # accounts that are remembered as written though they are gone


class GarbledBudget(GovernanceError):
    """The bytes are not those of an account or a ledger."""

    code = "garbled_budget"


def encode(account: Account) -> bytes:
    """The account's bytes; at most 20 for one entry of up to 15 digits, 0 for an empty account.

    Cost: 2.5 µs for one entry, 20 µs for 64 (330 bytes for a day's cents).
    """
    buckets = account.buckets
    if not buckets:
        return b""
    first_us, last_us, amounts = zip(*buckets, strict=True)
    exponent, power = _common_power(amounts)
    parts = [bytes((len(buckets), exponent)), _number(first_us[0])]
    if len(buckets) > 1:
        parts.append(_column([*map(sub, first_us[1:], last_us)]))
    parts.append(_column([*map(sub, last_us, first_us)]))
    parts.append(_column(amounts if power == 1 else [amount // power for amount in amounts]))
    return b"".join(parts)


def decode(data: bytes) -> Account:
    """The account that `encode` wrote.

    Raises: GarbledBudget: anything that `encode` does not write.
    Cost: 4 µs for one entry, 17 µs for 64.
    """
    if not data:
        return budgets.EMPTY
    reader = _Reader(data)
    account = _account(reader)
    reader.finish()
    return account


Written = dict[bytes, tuple[Account, bytes]]
"""Key → the account that was written for it last, and its bytes."""


def encode_ledger(ledger: Ledger, written: Written | None = None) -> bytes:
    """The ledger's bytes: 6 more than its only account's where the limit has no key; none for an empty ledger.

    Args:
        written: what was written of it the last time, to be changed: an account that is still the same is not encoded
            again.
    Cost: 3 µs a key, 0.1 µs for one that is still the same. With many keys it is better to keep `encode(account)` in a
    row for each, of which a booking changes one, and beside them this of the ledger without its accounts
    (`ledger._replace(accounts={})`).
    """
    if ledger == ledgers.EMPTY:
        return b""
    parts = [
        _number(0 if ledger.overflowed_us is None else ledger.overflowed_us + 1),
        _framed(encode(ledger.keyless)),
        _number(len(ledger.doubts)),
    ]
    for key, us in sorted(ledger.doubts.items()):
        parts += (_key(key), _number(us))
    if written is None:
        written = {}
    elif len(written) > len(ledger.accounts) + _MOST_GONE:
        for key in written.keys() - ledger.accounts.keys():
            del written[key]
    for key, account in ledger.accounts.items():
        known = written.get(key)
        if known is None or known[0] is not account:
            known = written[key] = (account, _key(key) + _framed(encode(account)))
        parts.append(known[1])
    return b"".join(parts)


def decode_ledger(data: bytes) -> Ledger:
    """The ledger that `encode_ledger` wrote, its accounts in the same order.

    Raises: GarbledBudget: anything that `encode_ledger` does not write.
    Cost: 4 µs a key.
    """
    if not data:
        return ledgers.EMPTY
    reader = _Reader(data)
    overflowed = reader.number()
    keyless = decode(reader.take(reader.number()))
    doubts: dict[bytes, int] = {}
    for _ in range(min(reader.number(), MOST_KEYS + 1)):
        key = reader.key()
        if doubts and key <= next(reversed(doubts)):
            raise reader.garbled("doubts out of order")
        doubts[key] = reader.number()
    accounts: dict[bytes, Account] = {}
    while reader.left():
        key = reader.key()
        account = decode(reader.take(reader.number()))
        if key in accounts or not account.buckets:
            raise reader.garbled("a key twice, or without an account")
        accounts[key] = account
    if len(accounts) > MOST_KEYS or len(doubts) > MOST_KEYS:
        raise reader.garbled("too many keys")
    ledger = Ledger(accounts, keyless, overflowed - 1 if overflowed else None, doubts)
    if ledger == ledgers.EMPTY:
        raise reader.garbled("an empty ledger has no bytes")
    return ledger


def _common_power(amounts: Sequence[int]) -> tuple[int, int]:
    """(n, 10^n) with the greatest n for which 10^n divides all amounts."""
    if amounts[-1] % 10:
        return 0, 1
    common = gcd(*amounts)
    exponent = 0
    if common % 10 == 0:
        for step, power in _POWERS:
            quotient, rest = divmod(common, power)
            if not rest:
                common = quotient
                exponent += step
    return exponent, 10**exponent


def _column(numbers: Sequence[int]) -> bytes:
    if len(numbers) == 1:
        return _number(numbers[0])
    size = (max(numbers).bit_length() + 7) >> 3
    if size == 0:
        return b"\0"
    code = _PACKED.get(size)
    if code is not None:
        return struct.pack(f"<B{len(numbers)}{code}", size, *numbers)
    return bytes((size,)) + b"".join([number.to_bytes(size, "little") for number in numbers])


def _number(number: int) -> bytes:
    size = (number.bit_length() + 7) >> 3
    return bytes((size,)) + number.to_bytes(size, "little")


def _framed(data: bytes) -> bytes:
    return _number(len(data)) + data


def _key(key: bytes) -> bytes:
    return bytes((len(key),)) + key


def _account(reader: _Reader) -> Account:
    count, exponent = reader.take(2)
    if not 1 <= count <= MOST_BUCKETS:
        raise reader.garbled(f"{count} buckets")
    first_us = reader.number()
    distances = reader.column(count - 1) if count > 1 else ()
    widths = reader.column(count)
    amounts = reader.column(count)
    if not (all(distances) and all(amounts)):
        raise reader.garbled("an empty bucket, or two at one time")
    if exponent > 127 or not any(amount % 10 for amount in amounts):
        raise reader.garbled("another power of ten divides its amounts")
    power = 10**exponent
    buckets: list[Bucket] = []
    held = 0
    for distance, width, amount in zip((0, *distances), widths, amounts, strict=True):
        first_us += distance
        buckets.append((first_us, first_us + width, amount * power))
        first_us += width
        held += amount
    return Account(tuple(buckets), held * power)


class _Reader:
    """What is left of the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        start = self._at
        self._at = end = start + size
        if end > len(self._data):
            raise self.garbled("it ends too early")
        return self._data[start:end]

    def column(self, count: int) -> Sequence[int]:
        if count == 1:
            return (self.number(),)
        (size,) = self.take(1)
        if size == 0:
            return (0,) * count
        if size > _MOST_BYTES:
            raise self.garbled(f"a number of {size} bytes")
        data = self.take(size * count)
        code = _PACKED.get(size)
        numbers: Iterable[int]
        if code is not None:
            numbers = struct.unpack(f"<{count}{code}", data)
        else:
            numbers = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
        if max(numbers).bit_length() <= 8 * (size - 1):
            raise self.garbled("a number takes more bytes than it needs")
        return tuple(numbers)

    def number(self) -> int:
        (size,) = self.take(1)
        if size > _MOST_BYTES:
            raise self.garbled(f"a number of {size} bytes")
        data = self.take(size)
        if data.endswith(b"\0"):
            raise self.garbled("a number takes more bytes than it needs")
        return int.from_bytes(data, "little")

    def key(self) -> bytes:
        (size,) = self.take(1)
        if size not in _KEY_SIZES:
            raise self.garbled(f"a key of {size} bytes")
        return self.take(size)

    def left(self) -> int:
        return len(self._data) - self._at

    def finish(self) -> None:
        if self.left():
            raise self.garbled(f"{self.left()} bytes follow")

    def garbled(self, what: str) -> GarbledBudget:
        return GarbledBudget(f"garbled budget at byte {self._at} of {len(self._data)}: {what}")
