"""Owners are started on the nodes that have their journals, and a node is claimed once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.journal_folder import Place
from controlplane.errors import UnavailableError
from controlplane.service import actor_calls, nodes, owners
from controlplane.service.away import owners_away
from controlplane.service.fleet import Fleet
from controlplane.service.nodes import claim_places, places_of, present_nodes, unclaimed
from controlplane.service.owners import Owners
from controlplane.settings import Settings
from controlplane.stopping import Stopping
from evidence.signing_keys import KeyFiles


def node(*names: str, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": 1.0} | {f"journals-{name}": 1.0 for name in names}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [node("a")]
    monkeypatch.setattr(nodes.ray, "nodes", lambda: found)
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.create_or_open(tmp_path / "cp", hosts=5, nodes=["a", "b"])


def test_only_living_nodes_are_present(cluster: list[dict[str, Any]]) -> None:
    cluster += [node("b", alive=False), node(), node("c")]
    assert present_nodes() == {"a", "c"}


def test_the_first_start_waits_for_every_node(
    settings: Settings, cluster: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_ALL_NODES_TIMEOUT_S", 0.0)
    with pytest.raises(UnavailableError, match=r"`b` has never been in the cluster.*journals-b") as missing:
        claim_places(settings)
    assert missing.value.code == "node_missing"
    assert unclaimed(settings) == ("a", "b")


def test_a_node_is_claimed_once_and_may_be_away_later(
    settings: Settings, cluster: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[str] = []

    def there(_: Settings, name: str) -> str:
        claimed.append(name)
        return f"mark-of-{name}"

    monkeypatch.setattr(nodes, "_claim_there", there)
    cluster.append(node("b"))
    claim_places(settings)
    first = places_of(settings)
    del cluster[1]
    claim_places(settings)
    assert claimed == ["b"]
    assert places_of(settings) == first
    assert [place.node for place in first] == ["a", "b"]
    # The head's folder is marked by the head itself.
    assert (settings.journals / "node-a.json").exists()


def test_the_owners_of_a_lost_node_are_known_dedicated_ones_too(settings: Settings) -> None:
    fleet = Fleet(5)
    entries = [{"name": f"agent-{n}", "ordinal": n} for n in (4096, 4097)]
    fleet.directory.apply(1, (None, 0), [("dedicated", e["name"], e) for e in entries], sent_s=0)
    assert owners_away(make(), fleet, {"a", "b", "c"}) == {}
    assert owners_away(make(), fleet, {"a"}) == dict.fromkeys(["host-001", "host-003", "agent-4097"], "b")


def test_who_asks_for_an_owner_of_a_lost_node_is_refused_before_ray_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def answer(name: str, *_: Any, **__: Any) -> str:
        asked.append(name)
        return "answered"

    monkeypatch.setattr(actor_calls, "ask", answer)
    monkeypatch.setattr(actor_calls, "_away", {})
    actor_calls.note_away({"host-001": "b"})
    with pytest.raises(UnavailableError, match=r"`host-001` lives on the node `b`, which is lost") as refused:
        asyncio.run(actor_calls.call_actor("host-001", "decide"))
    assert refused.value.code == "node_lost"
    assert asyncio.run(actor_calls.call_actor("host-000", "decide")) == "answered"
    actor_calls.note_away({})
    assert asyncio.run(actor_calls.call_actor("host-001", "decide")) == "answered"
    assert asked == ["host-000", "host-001"]


class FakeRay:
    """Records how actors are started."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {}

    def remote(self, _: type) -> FakeRay:
        return self

    def options(self, **options: Any) -> Any:
        class Starter:
            def remote(_, *arguments: Any, **bounds: int) -> object:
                own = {"evidence_backlog": 77, "outcome_timeout_s": 60, "stop_on_mismatch": False}
                store = {"second_operator": True, "evidence_backlog": 77}
                writer = {"lag_s": 9, "disk_low_bytes": 10, "store_access": ""}
                assert bounds in ({}, own, store, writer)
                self.started[options["name"]] = options, arguments
                return object()

        return Starter()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(owners, "ray", fake)
    return fake


PLACES = (Place("a", "mark-a"), Place("b", "mark-b"))


def make(hosts: int = 5) -> Owners:
    return Owners(
        journals="/j",
        evidence="/e",
        evidence_keys=KeyFiles(private=Path("/k"), notes=Path("/n"), public=Path("/p")),
        checkpoint_files="/f",
        hosts=hosts,
        secrets_file="/s",
        places=PLACES,
        evidence_backlog=77,
        outcome_timeout_s=60,
        evidence_lag_s=9,
        disk_low_bytes=10,
        stopping=Stopping(release_needs_second_operator=True, stop_on_mismatch=False),
    )


def test_every_owner_is_pinned_to_the_node_of_its_journal_and_told_whose_it_is(fake: FakeRay) -> None:
    fleet = make()
    fleet.start_control_store()
    fleet.start_evidence_writer()
    fleet.start_notifier()
    fleet.start_hosts()
    fleet.start_dedicated_again("agent-x", 4097)
    on = {name: list(options["resources"]) for name, (options, _) in fake.started.items()}
    assert on == {
        "control-store": ["journals-a"],
        "evidence-writer": ["journals-a"],
        "notifier": ["journals-a"],
        "host-000": ["journals-a"],
        "host-001": ["journals-b"],
        "host-002": ["journals-a"],
        "host-003": ["journals-b"],
        "host-004": ["journals-a"],
        "agent-x": ["journals-b"],
    }
    for name, (options, arguments) in fake.started.items():
        assert 0 < options["resources"][on[name][0]] <= 0.001
        assert options["max_task_retries"] == 0
        if name != "evidence-writer":
            assert tuple(PLACES[on[name] == ["journals-b"]]) in arguments


def test_a_dedicated_agent_of_a_lost_node_is_refused_at_once(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "present_nodes", lambda: frozenset({"a"}))
    with pytest.raises(UnavailableError, match="lives on the node `b`") as refused:
        asyncio.run(make().start_dedicated("agent-x", 4097))
    assert refused.value.code == "node_lost"
    assert "agent-x" in fake.started
