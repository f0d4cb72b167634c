"""A replica's lease: shared, rate-limited, and never older than what its caller has seen done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.ids import decision_id, session_id
from controlplane.errors import NotFoundError, UnavailableError
from controlplane.service import fleet
from controlplane.service.fleet import Fleet


class Store:
    """Stands for the control store: counts leases and hands out what was put in."""

    def __init__(self) -> None:
        self.leases = 0
        self.entries: list[tuple[str, str, dict[str, Any]]] = []
        self.away = False

    async def __call__(self, name: str, method: str, since: int, **_: Any) -> Any:
        assert (name, method) == ("control-store", "lease")
        self.leases += 1
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError("away")
        return len(self.entries), (None, 0), self.entries[since:]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(fleet, "call_actor", store)
    return store


def test_what_was_done_before_a_refresh_is_known_after_it_however_soon_it_follows_another(
    store: Store,
) -> None:
    async def scenario() -> None:
        view = Fleet(2)
        for number in range(3):
            store.entries.append(("key", f"k{number}", {}))
            await view.refresh()
            assert view.directory.get("key", f"k{number}") == {}

    asyncio.run(scenario())


def test_callers_that_wait_share_one_renewal(store: Store) -> None:
    async def scenario() -> None:
        view = Fleet(2)
        await asyncio.gather(*(view.refresh() for _ in range(50)))
        assert store.leases <= 2

    asyncio.run(scenario())


def test_a_control_store_that_is_away_leaves_the_lease_to_run_out(store: Store) -> None:
    async def scenario() -> None:
        view = Fleet(2)
        store.away = True
        await view.refresh()
        assert not view.fresh()
        store.away = False
        await view.refresh()
        assert view.fresh()

    asyncio.run(scenario())


def test_ids_lead_to_their_owner_and_foreign_ones_nowhere(store: Store) -> None:
    async def scenario() -> None:
        view = Fleet(2)
        store.entries.append(("dedicated", "default/agent/loner", {"name": "agent-1", "ordinal": 4096}))
        await view.refresh()
        assert view.owner_of_decision(decision_id(now_us=1, ordinal=1, random=1)) == "host-001"
        assert view.owner_of_decision(decision_id(now_us=1, ordinal=4096, random=1)) == "agent-1"
        assert view.owner_of("default", "agent", "loner") == "agent-1"
        with pytest.raises(NotFoundError):
            view.owner_of_decision(decision_id(now_us=1, ordinal=7, random=1))
        minted = session_id(key=b"k", subject="s", ordinal=0, expires_us=0, random=b"123456789")
        assert view.owner_of_session(minted) == "host-000"
        with pytest.raises(NotFoundError):
            view.owner_of_session("ses_nonsense")

    asyncio.run(scenario())
