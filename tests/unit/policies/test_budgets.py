"""Sliding-window accounts, the ledgers that hold one for each key, and their bytes."""

from __future__ import annotations

import pickle

import pytest

from policies import budget_bytes, budgets, ledgers, quantities
from policies.budgets import Account, Window
from policies.ledgers import Ledger

DAY_US = 86_400_000_000
NOW_US = 1_753_000_000_000_000
DAILY = Window(per_us=DAY_US)
DAILY_ALLOWING = Window(per_us=DAY_US, restricting=False)
FOR_GOOD = Window(per_us=None)
KEYS = [n.to_bytes(16, "big") for n in range(ledgers.MOST_KEYS + 2)]


def account_of(*entries: tuple[int, int], window: Window = DAILY) -> Account:
    account = budgets.EMPTY
    for at_us, amount in entries:
        account = budgets.add(account, at_us, amount, window)
    return account


def full_ledger(window: Window = DAILY, at_us: int = NOW_US) -> Ledger:
    ledger = ledgers.EMPTY
    for n, key in enumerate(KEYS[: ledgers.MOST_KEYS]):
        ledger = ledgers.add(ledger, at_us + n, key, 1 + n % 7, window)
    return ledger


def test_an_entry_exactly_as_old_as_the_window_no_longer_counts() -> None:
    account = account_of((NOW_US, 5), (NOW_US + 1, 7))
    assert budgets.total(account, NOW_US + DAY_US - 1, DAILY) == 12
    assert budgets.total(account, NOW_US + DAY_US, DAILY) == 7
    assert budgets.total(account, NOW_US + DAY_US + 1, DAILY) == 0
    assert budgets.normalised(account, NOW_US + DAY_US + 1, DAILY) == budgets.EMPTY


def test_without_a_window_everything_counts_in_one_bucket() -> None:
    account = account_of(*((n * DAY_US, n) for n in range(10_000)), window=FOR_GOOD)
    assert len(account.buckets) == 1
    assert budgets.total(account, 10**18, FOR_GOOD) == sum(range(10_000))
    back = budgets.give_back(account, 7 * DAY_US, 7, FOR_GOOD)
    assert budgets.total(back, 10**18, FOR_GOOD) == sum(range(10_000)) - 7


@pytest.mark.parametrize("amount", [None, -1, -(10**40), 0])
def test_what_is_no_positive_number_leaves_a_budget_as_it_is(amount: int | None) -> None:
    account = account_of((NOW_US, 5))
    assert budgets.add(account, NOW_US + 1, amount, DAILY) is account
    assert budgets.give_back(account, NOW_US, amount, DAILY) is account


def test_any_number_of_entries_at_one_time_is_exact() -> None:
    account = account_of(*((NOW_US, 1) for _ in range(10_000)), (NOW_US + 1, 1))
    assert account.buckets == ((NOW_US, NOW_US, 10_000), (NOW_US + 1, NOW_US + 1, 1))


@pytest.mark.parametrize("window", [DAILY, DAILY_ALLOWING])
def test_ten_thousand_entries_in_one_window_stay_64_buckets_within_a_grain(window: Window) -> None:
    step_us = DAY_US // 10_000
    account = account_of(*((NOW_US + n * step_us, 1) for n in range(20_000)), window=window)
    assert len(account.buckets) <= budgets.MOST_BUCKETS
    found = budgets.total(account, NOW_US + 19_999 * step_us, window)
    if window.restricting:
        assert 10_000 <= found <= 10_000 + window.grain_us // step_us + 1
    else:
        assert 10_000 - window.grain_us // step_us - 1 <= found <= 10_000
    assert len(budget_bytes.encode(account)) <= 800


def test_the_time_of_an_owner_that_goes_back_errs_to_the_safe_side() -> None:
    account = account_of((NOW_US, 5), (NOW_US - 10, 7))
    assert budgets.total(account, NOW_US + DAY_US - 1, DAILY) == 12
    allowing = account_of((NOW_US, 5), (NOW_US - 10, 7), window=DAILY_ALLOWING)
    assert budgets.total(allowing, NOW_US, DAILY_ALLOWING) == 5


def test_giving_back_takes_out_what_was_added_then_and_nothing_else() -> None:
    account = account_of((NOW_US, 5), (NOW_US + 10, 7))
    assert budgets.give_back(account, NOW_US, 5, DAILY) == account_of((NOW_US + 10, 7))
    assert budgets.give_back(account, NOW_US + 10, 3, DAILY) == account_of((NOW_US, 5), (NOW_US + 10, 4))
    for at_us in (NOW_US - 1, NOW_US + 5, NOW_US + 11):
        assert budgets.give_back(account, at_us, 5, DAILY) is account
    only = account_of((NOW_US, 5))
    assert budgets.give_back(only, NOW_US, 5, DAILY) == budgets.EMPTY


def test_giving_back_more_than_was_added_makes_no_room() -> None:
    account = account_of((NOW_US, 5), (NOW_US + 10, 7))
    assert budgets.give_back(account, NOW_US, 6, DAILY) is account
    assert budgets.give_back(account, NOW_US, 6, DAILY_ALLOWING) == account_of((NOW_US + 10, 7))


def test_giving_back_reaches_into_merged_buckets() -> None:
    account = account_of(*((NOW_US + n, 2) for n in range(200)))
    assert len(account.buckets) < 200
    for n in range(200):
        account = budgets.give_back(account, NOW_US + n, 2, DAILY)
    assert account == budgets.EMPTY


def test_the_bytes_of_an_account_are_few() -> None:
    assert budget_bytes.encode(budgets.EMPTY) == b""
    for text in ("1", "12000", "999999999999999", "0.01", "123456789012.345", "1e63"):
        account = account_of((NOW_US, quantities.amount_of(text) or 0))
        assert len(budget_bytes.encode(account)) <= 20, text
    unkeyed = ledgers.add(ledgers.EMPTY, NOW_US, b"", 12_000 * quantities.ONE, DAILY)
    assert len(budget_bytes.encode_ledger(unkeyed)) <= 26
    many = account_of(*((NOW_US + n * 10**9, (n + 1) * quantities.ONE // 100) for n in range(64)))
    assert len(budget_bytes.encode(many)) <= 64 * 5 + 20


def test_garbled_bytes_are_refused_with_a_reason() -> None:
    good = budget_bytes.encode(account_of((NOW_US, 120), (NOW_US + 5, 7)))
    garbled = [
        good[:-1],
        good + b"\0",
        b"\0" + good[1:],
        bytes((65,)) + good[1:],
        good[:1] + b"\x80" + good[2:],
        good[:-3] + b"\x02\x78\x00\x07\x00",  # two bytes where one is enough
        good[:-3] + b"\x01\x78\x00",  # a bucket of nothing
        good[:-3] + b"\x01\x78\x0a",  # both amounts have a ten to take out
    ]
    for data in garbled:
        with pytest.raises(budget_bytes.GarbledBudget, match="garbled budget at byte"):
            budget_bytes.decode(data)
    for data in (b"\0", b"\0\0\0", b"\0\0\0\x05", b"\0\0\0\0\0", *(good[:n] for n in range(1, 6))):
        with pytest.raises(budget_bytes.GarbledBudget):
            budget_bytes.decode_ledger(data)


def test_values_survive_pickling() -> None:
    ledger = ledgers.add(ledgers.EMPTY, NOW_US, KEYS[0], 5, DAILY)
    assert pickle.loads(pickle.dumps(ledger)) == ledger
    assert pickle.loads(pickle.dumps(ledgers.EMPTY)) == ledgers.EMPTY


def test_adding_leaves_the_ledger_before_as_it_was() -> None:
    before = ledgers.add(ledgers.EMPTY, NOW_US, KEYS[0], 5, DAILY)
    ledgers.add(before, NOW_US, KEYS[1], 5, DAILY)
    ledgers.give_back(before, NOW_US, KEYS[0], 5, DAILY)
    assert before == Ledger({KEYS[0]: account_of((NOW_US, 5))})
    assert Ledger({}, budgets.EMPTY, None, {}) == ledgers.EMPTY


@pytest.mark.parametrize("amount", [None, -1])
def test_an_action_without_a_countable_amount_exceeds_what_restricts_and_reaches_nothing_that_allows(
    amount: int | None,
) -> None:
    found = ledgers.level(ledgers.EMPTY, NOW_US, b"", amount, DAILY)
    assert found is None
    assert ledgers.exceeds(found, 10**100, DAILY)
    assert not ledgers.exceeds(found, -1, DAILY_ALLOWING)
    assert ledgers.add(ledgers.EMPTY, NOW_US, b"", amount, DAILY) == ledgers.EMPTY


def test_a_limit_is_exceeded_by_more_than_its_number() -> None:
    ledger = ledgers.add(ledgers.EMPTY, NOW_US, b"", 30_000, DAILY)
    for amount, exceeded in ((20_000, False), (20_001, True)):
        found = ledgers.level(ledger, NOW_US + 1, b"", amount, DAILY)
        assert ledgers.exceeds(found, 50_000, DAILY) is exceeded


def test_what_had_no_key_counts_for_every_key_of_a_restricting_limit() -> None:
    ledger = ledgers.EMPTY
    for key, amount in ((KEYS[0], 10), (KEYS[1], 30), (None, 5)):
        ledger = ledgers.add(ledger, NOW_US, key, amount, DAILY)
    levels = [ledgers.level(ledger, NOW_US, key, 1, DAILY) for key in (KEYS[0], KEYS[1], KEYS[2], None)]
    assert levels == [16, 36, 6, 36]
    assert ledgers.give_back(ledger, NOW_US, None, 5, DAILY).keyless == budgets.EMPTY


def test_what_had_no_key_counts_for_none_of_an_allowing_limit() -> None:
    ledger = ledgers.add(ledgers.EMPTY, NOW_US, None, 5, DAILY_ALLOWING)
    assert ledger == ledgers.EMPTY
    assert ledgers.level(ledger, NOW_US, None, 5, DAILY_ALLOWING) is None


@pytest.mark.parametrize("window", [DAILY, DAILY_ALLOWING, FOR_GOOD])
def test_past_the_bound_new_keys_are_not_known_and_old_ones_go_on(window: Window) -> None:
    ledger = full_ledger(window)
    later_us = NOW_US + DAY_US // 2
    new, known = KEYS[-1], KEYS[0]
    assert ledgers.level(ledger, later_us, new, 1, window) is None
    assert ledgers.level(ledger, later_us, known, 1, window) == 2
    turned_away = ledgers.add(ledger, later_us, new, 1, window)
    assert turned_away.accounts == ledger.accounts
    assert turned_away.overflowed_us == later_us


def test_asking_alone_turns_nobody_away() -> None:
    ledger = full_ledger()
    ledgers.level(ledger, NOW_US + 5_000, KEYS[-1], 1, DAILY)
    much_later_us = NOW_US + DAY_US + 5_000
    assert ledgers.level(ledger, much_later_us, KEYS[-1], 1, DAILY) == 1


def test_a_key_that_was_turned_away_stays_doubtful_until_its_amounts_would_have_expired() -> None:
    new, overflow_us = KEYS[-1], NOW_US + DAY_US - 1_000_000
    ledger = ledgers.add(full_ledger(), overflow_us, new, 40, DAILY)
    # There is room again, but what the new key did before was never booked.
    room_us = NOW_US + DAY_US + 10
    assert ledgers.level(ledger, room_us, new, 1, DAILY) is None
    assert ledgers.level(ledger, room_us, None, 1, DAILY) is None
    ledger = ledgers.add(ledger, room_us, new, 2, DAILY)
    assert new in ledger.accounts
    assert ledgers.level(ledger, overflow_us + DAY_US - 1, new, 1, DAILY) is None
    assert ledgers.level(ledger, overflow_us + DAY_US, new, 1, DAILY) == 3
    assert ledgers.level(ledger, overflow_us + DAY_US, KEYS[-2], 1, DAILY) == 1


def test_only_accounts_in_which_nothing_counts_make_room() -> None:
    ledger = full_ledger()
    ledger = ledgers.add(ledger, NOW_US + 2_000, KEYS[0], 1, DAILY)
    at_us = NOW_US + DAY_US + 1  # KEYS[1] has just expired; KEYS[0] was used again
    ledger = ledgers.add(ledger, at_us, KEYS[-1], 1, DAILY)
    assert set(KEYS[: ledgers.MOST_KEYS]) - set(ledger.accounts) == {KEYS[1]}
    assert ledgers.level(ledger, at_us, KEYS[0], 0, DAILY) == 1
    assert ledgers.level(ledger, at_us, KEYS[-2], 1, DAILY) is None


def test_a_million_keys_take_no_more_room_than_a_thousand() -> None:
    ledger = full_ledger()
    size_bytes = len(pickle.dumps(ledger))
    for n in range(1_000_000):
        ledger = ledgers.add(ledger, NOW_US + 2_000 + n, b"\xff" * 8 + n.to_bytes(8, "big"), 1, DAILY)
    assert len(ledger.accounts) == ledgers.MOST_KEYS
    assert len(pickle.dumps(ledger)) < size_bytes + 100
    assert len(budget_bytes.encode_ledger(ledger)) < ledgers.MOST_KEYS * 40


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    window = Window(per_us=100)
    ledger = ledgers.EMPTY
    for n in range(20_000):
        ledger = ledgers.add(ledger, n * 10, n.to_bytes(16, "big"), 1, window)
        assert len(ledger.accounts) <= 12
    assert ledger.overflowed_us is None
    assert ledgers.normalised(ledger, 200_100, window) == ledgers.EMPTY


def test_a_ledger_that_is_given_away_becomes_what_a_copy_would_and_what_nobody_owns_stays_empty() -> None:
    given = kept = ledgers.EMPTY
    for n, key in enumerate([KEYS[0], KEYS[1], KEYS[0], None, KEYS[2]]):
        kept = ledgers.add(kept, NOW_US + n, key, 5, DAILY)
        given = ledgers.add(given, NOW_US + n, key, 5, DAILY, given_away=True)
        assert given == kept and list(given.accounts) == list(kept.accounts)
    assert Ledger({}, budgets.EMPTY, None, {}) == ledgers.EMPTY


def test_what_was_written_of_a_ledger_is_written_again_only_where_it_changed() -> None:
    written: budget_bytes.Written = {}
    ledger = ledgers.EMPTY
    for n, key in enumerate([*KEYS[:200], KEYS[0]]):
        ledger = ledgers.add(ledger, NOW_US + n, key, 5, DAILY)
        assert budget_bytes.encode_ledger(ledger, written) == budget_bytes.encode_ledger(ledger)
    assert written.keys() == ledger.accounts.keys()
    later_us = NOW_US + 2 * DAY_US
    for n, key in enumerate(KEYS[200:400]):  # two of the others are swept out for each
        ledger = ledgers.add(ledger, later_us + n, key, 5, DAILY)
        assert budget_bytes.encode_ledger(ledger, written) == budget_bytes.encode_ledger(ledger)
    assert ledger.accounts.keys() == set(KEYS[200:400])
    assert len(written) <= 200 + 64 + 1
