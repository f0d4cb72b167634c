"""One account for each value of a limit's key, bounded, so that no caller can fill the memory with new values.

A limit without a key has the one key `b""`; others the 16-byte digest of the key's canonical value
(`canonical_values.digest`); None stands for a key that is missing or whose expression failed.

What cannot be known counts against the action: it exceeds a limit that restricts and does not reach one that allows.
- Past `MOST_KEYS` keys a new one is turned away. Only accounts in which nothing counts any more make room for others.
- Amounts of a key that was turned away were never booked. So for as long as they could count, a key that is new, or
  was when it came in, is *doubtful*: its account may hold too little.
- An action without a key might have any: its amount counts for every key, and it is itself judged as if its key were
  the one with the largest total. (A limit that allows neither counts nor grants it.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from policies import budgets
from policies.budgets import Account, Window

MOST_KEYS = 1_000
"""Keys of one limit in one scope instance."""

_AT_ONCE = 2  # how many expired accounts one booking sweeps out: more than it brings in


class Ledger(NamedTuple):
    """Immutable, unless it is given away: see `add`.

    Args:
        accounts: by key, the one that was added to least recently first.
        keyless: what was permitted without a key; counts for every key.
        overflowed_us: when an amount was last turned away; None = never, or too long ago to count.
        doubts: key → when the last amount before it came in was turned away.
    """

    accounts: Mapping[bytes, Account] = {}
    keyless: Account = budgets.EMPTY
    overflowed_us: int | None = None
    doubts: Mapping[bytes, int] = {}


EMPTY = Ledger()


def level(ledger: Ledger, now_us: int, key: bytes | None, amount: int | None, window: Window) -> int | None:
    """What the limit would stand at, were the action permitted now; None = it cannot be known.

    `amount` is that of the action itself: None when it is no number, 0 when it adds nothing (a limit on denials).
    Negative amounts cannot be counted either.
    Cost: 0.4 µs. Without a key 20 µs at a thousand keys: an account that holds no more than the largest total found so
    far is passed over unread (170 µs at worst, when each holds more than the one before).
    """
    if amount is None or amount < 0:
        return None
    if key is None:
        if not window.restricting or _counts(ledger.overflowed_us, now_us, window):
            return None
        known = _largest(ledger.accounts, now_us, window)
    else:
        account = ledger.accounts.get(key)
        if account is not None:
            if ledger.doubts and _counts(ledger.doubts.get(key), now_us, window):
                return None
            known = budgets.total(account, now_us, window)
        elif _counts(ledger.overflowed_us, now_us, window) or not _has_room(ledger.accounts, now_us, window):
            return None
        else:
            known = 0
    return known + budgets.total(ledger.keyless, now_us, window) + amount


def exceeds(level: int | None, above: int, window: Window) -> bool:
    """Whether a limit holds, i.e. its rule matches: more than `above`, or not known and the rule restricts."""
    return window.restricting if level is None else level > above


def add(
    ledger: Ledger,
    now_us: int,
    key: bytes | None,
    amount: int | None,
    window: Window,
    *,
    given_away: bool = False,
) -> Ledger:
    """The ledger after the action was permitted; the amounts that `budgets.add` does not take change nothing.

    Args:
        given_away: nobody looks at the ledger again, so that its accounts need not be copied.
    Cost: 1.2 µs, whatever the number of keys, for one that is given away; a copy of a thousand keys takes 3 to 10 µs
        more. 1 µs to turn one away.
    """
    if amount is None or amount <= 0:
        return ledger
    if key is None:
        if not window.restricting:
            return ledger
        return ledger._replace(keyless=budgets.add(ledger.keyless, now_us, amount, window))
    account = ledger.accounts.get(key)
    if account is None and not _has_room(ledger.accounts, now_us, window):
        return ledger._replace(overflowed_us=max(now_us, ledger.overflowed_us or now_us))
    accounts = ledger.accounts
    # Those of `EMPTY` are everybody's.
    if not (given_away and accounts and isinstance(accounts, dict)):
        accounts = dict(accounts)
    doubts = ledger.doubts
    if account is None:
        account = budgets.EMPTY
        if ledger.overflowed_us is not None and _counts(ledger.overflowed_us, now_us, window):
            doubts = {**doubts, key: ledger.overflowed_us}
    else:
        del accounts[key]  # to come back at the end
    doubts = _swept(accounts, doubts, now_us, window)
    accounts[key] = budgets.add(account, now_us, amount, window)
    return Ledger(accounts, ledger.keyless, ledger.overflowed_us, doubts)


def give_back(ledger: Ledger, at_us: int, key: bytes | None, amount: int | None, window: Window) -> Ledger:
    """The ledger after a witness said that what was added at `at_us` was not executed.

    Without effect for what has expired, was turned away or was never added. Cost: that of `add`.
    """
    if key is None:
        return ledger._replace(keyless=budgets.give_back(ledger.keyless, at_us, amount, window))
    account = ledger.accounts.get(key)
    if account is None:
        return ledger
    left = budgets.give_back(account, at_us, amount, window)
    if left is account:
        return ledger
    if left.buckets:
        return ledger._replace(accounts={**ledger.accounts, key: left})
    return ledger._replace(
        accounts={other: there for other, there in ledger.accounts.items() if other != key},
        doubts=_without(ledger.doubts, key),
    )


def normalised(ledger: Ledger, now_us: int, window: Window) -> Ledger:
    """The ledger without anything that no longer counts; equal to `EMPTY` when nothing does.

    No level gets lower by it. (While new keys are doubtful, one that was known to have spent nothing becomes so, too.)
    Cost: 0.15 µs for each key; for ledgers that go to rest, not for each decision.
    """
    accounts = {
        key: left
        for key, account in ledger.accounts.items()
        if (left := budgets.normalised(account, now_us, window)).buckets
    }
    return Ledger(
        accounts,
        budgets.normalised(ledger.keyless, now_us, window),
        ledger.overflowed_us if _counts(ledger.overflowed_us, now_us, window) else None,
        {key: us for key, us in ledger.doubts.items() if key in accounts and _counts(us, now_us, window)},
    )


def _counts(us: int | None, now_us: int, window: Window) -> bool:
    """Whether what was added at `us` still counts."""
    return us is not None and (window.per_us is None or us > now_us - window.per_us)


def _has_room(accounts: Mapping[bytes, Account], now_us: int, window: Window) -> bool:
    """For one more key. The account at the front was added to least recently: the first in which nothing counts.

    (Giving back may empty one behind it earlier: room that is then found a little late.)
    """
    if len(accounts) < MOST_KEYS:
        return True
    front = next(iter(accounts.values()))
    return not budgets.normalised(front, now_us, window).buckets


def _swept(
    accounts: dict[bytes, Account], doubts: Mapping[bytes, int], now_us: int, window: Window
) -> Mapping[bytes, int]:
    """Take accounts in which nothing counts from the front of `accounts`; returns the doubts about the others.

    Nothing is lost with them: a key that was dropped is new when it comes again, and a doubt about it is no older
    than `overflowed_us`, which makes it doubtful again.
    """
    if window.per_us is None:
        return doubts
    for _ in range(_AT_ONCE):
        oldest = next(iter(accounts), None)
        if oldest is None or budgets.normalised(accounts[oldest], now_us, window).buckets:
            break
        del accounts[oldest]
        doubts = _without(doubts, oldest)
    return doubts


def _without(doubts: Mapping[bytes, int], key: bytes) -> Mapping[bytes, int]:
    return {other: us for other, us in doubts.items() if other != key} if key in doubts else doubts


def _largest(accounts: Mapping[bytes, Account], now_us: int, window: Window) -> int:
    largest = 0
    for account in accounts.values():
        if account.held > largest:
            largest = max(largest, budgets.total(account, now_us, window))
    return largest
