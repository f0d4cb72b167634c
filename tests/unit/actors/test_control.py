"""The fleet's registry: durable, versioned, and every change with its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from unit.actors.owners import World

from actors import api_keys
from actors.control import Control, open_control_journal
from actors.journal import FencedError
from controlplane.errors import ConflictError, NotFoundError

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


class Registry:
    """A control over a real journal that a test can close and open again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.world = World()
        self.reopen()

    def reopen(self) -> None:
        self.control = Control(
            open_control_journal(self.path, new_log_id="control.x"), self.world.surroundings()
        )

    def events(self) -> list[str]:
        rows = self.control.journal.pending(after_seq=-1, limit=1000)
        return [orjson.loads(canonical)["event_type"] for _, canonical, _ in rows]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "control.db")


def test_a_control_store_that_was_superseded_leases_nothing(tmp_path: Path) -> None:
    path, world = tmp_path / "control.db", World().surroundings()
    first, second = (Control(open_control_journal(path, new_log_id="control.x"), world) for _ in range(2))
    second.stops.set(
        tenant="default", target_type="fleet", target_id="", reason="r", expires_in_s=None, by="k"
    )
    with pytest.raises(FencedError):
        first.changes(0)
    assert [kind for kind, _, _ in second.changes(0)[2]] == ["stop"]


def make_key(control: Control, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tenant": "default",
        "role": "agent",
        "agents": ["a"],
        "subjects": [],
        "grants": [],
        "note": "",
        "expires_in_s": None,
        "by": "k",
    }
    return control.create_key(**(values | more))


def test_a_key_is_kept_as_a_hash_alone(registry: Registry) -> None:
    made = make_key(registry.control)
    stored = registry.path.read_bytes() + registry.path.with_name("control.db-wal").read_bytes()
    secret = made["key"].split("_", 2)[2]
    assert secret.encode() not in stored
    assert api_keys.hash_of(made["key"]).encode() in stored
    assert all("hash" not in key and "key" not in key for key in registry.control.keys("default"))


def test_changes_are_handed_out_by_revision_and_survive_a_restart(registry: Registry) -> None:
    make_key(registry.control)
    revision, _, first = registry.control.changes(0)
    assert [kind for kind, _, _ in first] == ["key"]
    assert registry.control.changes(revision)[2] == []
    registry.control.set_principal(
        tenant="default",
        subject_type="user",
        subject_id="rick",
        roles=["admin"],
        groups=[],
        attributes={},
        by="k",
    )
    registry.reopen()
    assert [identity for _, identity, _ in registry.control.changes(revision)[2]] == ["default/user/rick"]


def test_a_revoked_key_is_a_change_and_stays_revoked(registry: Registry) -> None:
    made = make_key(registry.control)
    revision = registry.control.revision
    registry.control.revoke_key(made["id"], tenant="default", by="k")
    ((_, _, entry),) = registry.control.changes(revision)[2]
    assert api_keys.verify(entry, entry["hash"], now_us=0) == "revoked"
    registry.control.revoke_key(made["id"], tenant="default", by="k")
    assert registry.events() == ["key_created", "key_revoked"]
    with pytest.raises(NotFoundError):
        registry.control.revoke_key(made["id"], tenant="another", by="k")


def test_the_operator_key_of_the_data_directory_is_made_once(registry: Registry) -> None:
    _, key = api_keys.mint(lambda n: b"r" * n)
    registry.control.ensure_operator_key(key)
    registry.control.ensure_operator_key(key)
    registry.reopen()
    registry.control.ensure_operator_key(key)
    assert registry.events() == ["key_created"]
    identity = key.split("_")[1]
    registry.control.revoke_key(identity, tenant="default", by="k")
    assert registry.control.ensure_operator_key(key) is False
    ((_, _, entry),) = registry.control.changes(1)[2]
    assert api_keys.verify(entry, api_keys.hash_of(key), now_us=0) == "revoked"
    with pytest.raises(ConflictError):
        registry.control.ensure_operator_key("nonsense")


def test_an_agents_isolation_is_fixed_and_dedicated_ones_are_numbered(registry: Registry) -> None:
    def claim(agent: str, isolation: str) -> dict[str, Any]:
        return registry.control.claim_agent(
            tenant="default", agent_id=agent, isolation=isolation, owner="o", by="k"
        )

    first, second = claim("a", "dedicated"), claim("b", "dedicated")
    assert (first["ordinal"], second["ordinal"]) == (4096, 4097)
    assert claim("a", "dedicated") == first
    claim("c", "hosted")
    for agent, isolation in (("a", "hosted"), ("c", "dedicated")):
        with pytest.raises(ConflictError, match="cannot be changed"):
            claim(agent, isolation)
    registry.reopen()
    assert [entry["id"] for entry in registry.control.dedicated()] == ["a", "b"]
    assert [entry["id"] for entry in registry.control.agents("default", after="a", limit=10)] == ["b", "c"]
    assert registry.control.agents("other", after="", limit=10) == []


def test_activation_is_numbered_durable_and_idempotent(registry: Registry) -> None:
    with pytest.raises(NotFoundError):
        registry.control.activate(DIGEST, tenant="default", by="k")
    for digest in (DIGEST, OTHER):
        registry.control.store_bundle(
            digest=digest, name="n", rules=1, sources=[("p.yaml", "kind: Policy")], tenant="default", by="k"
        )
    assert registry.control.activate(DIGEST, tenant="default", by="k").number == 1
    assert registry.control.activate(DIGEST, tenant="default", by="k").number == 1
    assert registry.control.activate(OTHER, tenant="default", by="k").number == 2
    registry.reopen()
    assert registry.control.activation.digest == OTHER
    assert registry.control.changes(0)[1] == (OTHER, 2, False)
    assert registry.events().count("bundle_activated") == 2


def test_a_change_that_fails_leaves_neither_revision_nor_evidence(registry: Registry) -> None:
    make_key(registry.control)
    before = registry.control.revision
    with pytest.raises(TypeError):
        registry.control.set_principal(
            tenant="default",
            subject_type="user",
            subject_id="rick",
            roles=[],
            groups=[],
            attributes={"not json": object()},
            by="k",
        )
    assert registry.control.revision == before
    assert registry.events() == ["key_created"]
    make_key(registry.control)
    assert registry.control.revision == before + 1
