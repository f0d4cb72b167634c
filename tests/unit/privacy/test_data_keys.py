"""A replica's data keys: shared calls, a short memory, and nothing where the store cannot be had."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.errors import UnavailableError
from controlplane.privacy import data_keys
from controlplane.privacy.data_keys import EFFECTIVE_S, KEPT_S, DataKeys


class Store:
    """Stands for the control store."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.calls: list[int] = []
        self.fails = False
        self.full = False

    async def call(self, method: str, *, timeout_s: float = 1.0, **arguments: Any) -> Any:
        assert method == "data_keys"
        self.calls.append(len(arguments["wanted"]))
        await asyncio.sleep(0)
        if self.fails:
            raise UnavailableError("away")
        if self.full:
            return [None for _ in arguments["wanted"]]
        return [self.keys.setdefault(subject, (id_, key)) for _, subject, id_, key in arguments["wanted"]]


class Replica:
    def __init__(self, wrapping_key: bytes = b"w" * 32) -> None:
        self.now_s = 1000.0
        self.keys = DataKeys(
            digest_key=b"d" * 32,
            wrapping_key=wrapping_key,
            random_bytes=os.urandom,
            monotonic_s=lambda: self.now_s,
        )

    def fetch(self, *subjects: str) -> None:
        asyncio.run(self.keys.fetch("default", subjects, within_s=5))

    def id_of(self, subject: str) -> str | None:
        key = self.keys.get("default", subject)
        return None if key is None else key.id


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    found = Store()
    monkeypatch.setattr(data_keys, "call_control", found.call)
    return found


def test_two_replicas_have_the_same_key(store: Store) -> None:
    one, other = Replica(), Replica()
    one.fetch("customer:1")
    other.fetch("customer:1", "customer:2")
    assert one.id_of("customer:1") == other.id_of("customer:1") is not None
    assert other.id_of("customer:2") not in (None, other.id_of("customer:1"))
    assert one.id_of("customer:2") is None


def test_what_is_kept_is_not_asked_for_until_it_is_too_old_for_an_erasure_to_wait(store: Store) -> None:
    replica = Replica()
    replica.fetch("customer:1")
    first = replica.id_of("customer:1")
    replica.fetch("customer:1")
    assert store.calls == [1]
    store.keys.clear()  # erased
    replica.now_s += KEPT_S + 0.1
    assert replica.id_of("customer:1") is None
    replica.fetch("customer:1")
    assert store.calls == [1, 1]
    assert replica.id_of("customer:1") not in (None, first)
    assert KEPT_S + 2 * data_keys._ASKING_S < EFFECTIVE_S


def test_those_who_wait_share_a_call(store: Store) -> None:
    replica = Replica()

    async def many() -> None:
        await asyncio.gather(
            *(replica.keys.fetch("default", [f"customer:{n % 50}"], within_s=5) for n in range(200))
        )

    asyncio.run(many())
    assert sum(store.calls) == 50 and len(store.calls) <= 2


def test_a_replica_that_erased_forgets_at_once(store: Store) -> None:
    replica = Replica()
    replica.fetch("customer:1")
    replica.keys.forget("default", "customer:1")
    assert replica.id_of("customer:1") is None


def test_a_key_that_was_on_its_way_while_it_was_erased_is_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica()

    async def erased_meanwhile(method: str, **arguments: Any) -> Any:
        found = await store.call(method, **arguments)
        replica.keys.forget("default", "customer:1")
        return found

    monkeypatch.setattr(data_keys, "call_control", erased_meanwhile)
    replica.fetch("customer:1", "customer:2")
    assert replica.id_of("customer:1") is None and replica.id_of("customer:2") is not None
    monkeypatch.setattr(data_keys, "call_control", store.call)
    replica.fetch("customer:1")
    assert replica.id_of("customer:1") is not None


def test_without_the_store_there_is_no_key_and_it_is_left_alone_for_a_second(store: Store) -> None:
    replica = Replica()
    store.fails = True
    replica.fetch("customer:1")
    replica.fetch("customer:2")
    assert store.calls == [1]
    assert replica.id_of("customer:1") is None
    store.fails = False
    replica.now_s += 1.1
    replica.fetch("customer:1")
    assert replica.id_of("customer:1") is not None


def test_nobody_waits_longer_than_half_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(data_keys, "call_control", never)
    replica = Replica()

    async def ask() -> None:
        async with asyncio.timeout(10):
            await replica.keys.fetch("default", ["customer:1"], within_s=0.02)
        assert replica.keys._asking is not None
        replica.keys._asking.cancel()

    asyncio.run(ask())
    assert replica.id_of("customer:1") is None


@pytest.mark.parametrize(
    "why", [lambda store: setattr(store, "full", True), lambda store: store.keys.update(_of_another(store))]
)
def test_a_key_that_is_not_to_be_had_is_none(store: Store, why: Callable[[Store], None]) -> None:
    why(store)
    replica = Replica()
    replica.fetch("customer:1")
    assert replica.id_of("customer:1") is None


def _of_another(store: Store) -> dict[str, tuple[str, bytes]]:
    Replica(b"x" * 32).fetch("customer:1")
    return dict(store.keys)


def test_without_a_wrapping_key_nobody_is_asked(store: Store) -> None:
    replica = Replica(b"")
    replica.fetch("customer:1")
    assert store.calls == [] and replica.id_of("customer:1") is None


def test_what_is_kept_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_keys, "MOST_KEPT", 3)
    replica = Replica()
    replica.fetch(*(f"customer:{n}" for n in range(10)))
    assert sum(replica.id_of(f"customer:{n}") is not None for n in range(10)) == 3


def test_digests_of_subjects_are_keyed_and_each_tenants_own() -> None:
    keys = Replica().keys
    assert keys.digest("a", "customer:1") != keys.digest("b", "customer:1")
    other = DataKeys(digest_key=b"e" * 32, wrapping_key=b"", random_bytes=os.urandom, monotonic_s=lambda: 0.0)
    assert keys.digest("a", "customer:1") != other.digest("a", "customer:1")
