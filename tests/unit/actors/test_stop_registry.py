"""Stops in the control store: durable, bounded, released by one operator or two, leased while they are live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from unit.actors.owners import World

from actors.control import Control, open_control_journal
from actors.directory import Directory
from actors.stops import room
from actors.stops.live import Acting, Stop
from controlplane.errors import ConflictError, ForbiddenError, NotFoundError, OverloadedError

DAY_S = 86_400


class Registry:
    """The control store's part, and one directory that leases from it."""

    def __init__(self, folder: Path, *, second_operator: bool = False) -> None:
        self.path = folder / "control.db"
        self.second_operator = second_operator
        self.world = World()
        self.directory = Directory()
        self.reopen()
        self.first, self.second = self.operator(), self.operator()
        self.world.pass_s(1)

    def reopen(self) -> None:
        journal = open_control_journal(self.path, new_log_id="control.x")
        self.control = Control(journal, self.world.surroundings(), second_operator=self.second_operator)

    def operator(self) -> str:
        made = self.control.create_key(
            tenant="default",
            role="operator",
            agents=[],
            subjects=[],
            grants=[],
            note="",
            expires_in_s=None,
            by="k",
        )
        return str(made["id"])

    def stop(self, target_type: str = "agent", target_id: str = "bot", **more: Any) -> str:
        values: dict[str, Any] = {
            "tenant": "default",
            "target_type": target_type,
            "target_id": target_id,
            "reason": "pays twice",
            "expires_in_s": None,
            "by": self.first,
        }
        return str(self.control.stops.set(**(values | more))["id"])

    def release(self, identity: str, by: str | None = None) -> dict[str, Any]:
        return self.control.stops.release(
            identity=identity, tenant="default", reason="mended", by=by or self.first
        )

    def lease(self) -> None:
        changes = self.control.changes(self.directory.revision)
        self.directory.apply(*changes, sent_s=self.world.monotonic_us / 1e6)

    def stopped(self, agent: str = "bot") -> bool:
        """Whether whoever leases knows it stopped."""
        self.lease()
        acting = Acting(tenant="default", agents=((agent, None),))
        return self.directory.stops.meeting(acting, self.world.wall_us) is not None

    def state(self, identity: str) -> str | None:
        found = self.control.stops.get(identity=identity, tenant="default")
        return None if found["over_us"] is None else str(found["over"])

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        rows = [orjson.loads(row) for _, row, _ in self.control.journal.pending(after_seq=-1, limit=10_000)]
        return [
            (row["event_type"], orjson.loads(row["details"]))
            for row in rows
            if row["event_type"].startswith("stop")
        ]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Registry:
    return Registry(tmp_path, second_operator=True)


def automatic(identity: str = "stp_1", *, expires_us: int | None = None, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": identity,
        "tenant": "default",
        "target_type": "agent",
        "target_id": "bot",
        "reason": "too many denials",
        "by": "rule:p/probing",
        "created_us": 1,
        "expires_us": expires_us,
        "decision": "0199",
    }
    return Stop(**(values | more)).to_json()


def test_a_stop_is_leased_until_it_is_released_and_leaves_the_copy_then(registry: Registry) -> None:
    identity = registry.stop()
    assert registry.stopped() and not registry.stopped("other")
    released = registry.release(identity)
    assert (released["over"], released["release_reason"]) == ("released", "mended")
    assert not registry.stopped() and len(registry.directory.stops) == 0
    assert [kind for kind, _ in registry.events()] == ["stop_set", "stop_released"]
    assert registry.events()[0][1] | {"by": registry.first} == registry.events()[0][1]


def test_a_lease_that_was_overtaken_on_the_way_neither_undoes_a_stop_nor_brings_one_back(
    registry: Registry,
) -> None:
    before = registry.control.changes(0)
    identity = registry.stop()
    with_it = registry.control.changes(0)
    assert registry.stopped()
    registry.directory.apply(*before, sent_s=9e9)
    assert registry.stopped()
    registry.release(identity)
    assert not registry.stopped()
    registry.directory.apply(*with_it, sent_s=9e9)
    assert len(registry.directory.stops) == 0


def test_stops_come_with_the_first_lease_after_a_restart_and_released_ones_do_not(registry: Registry) -> None:
    kept, gone = registry.stop(), registry.stop("tool", "mail.*")
    registry.release(gone)
    registry.reopen()
    registry.directory = Directory()
    registry.lease()
    assert [stop.id for stop in registry.directory.stops] == [kept]
    assert registry.state(gone) == "released"


def test_one_that_expires_is_over_at_once_for_whoever_asks_and_swept_from_the_copies(
    registry: Registry,
) -> None:
    identity = registry.stop(expires_in_s=60)
    lasting = registry.stop(expires_in_s=120, target_id="other")
    registry.world.pass_s(59)
    registry.control.stops.sweep()
    assert registry.stopped() and registry.state(identity) is None
    registry.world.pass_s(1)
    assert not registry.stopped()
    assert len(registry.directory.stops) == 2 and registry.state(identity) == "expired"
    registry.control.stops.sweep()
    registry.lease()
    assert [stop.id for stop in registry.directory.stops] == [lasting]
    assert registry.events()[-1][0] == "stop_expired"
    registry.reopen()
    registry.world.pass_s(60)
    registry.control.stops.sweep()
    assert registry.state(lasting) == "expired"


def test_a_release_is_idempotent_and_unknown_stops_of_others_are_unknown(registry: Registry) -> None:
    identity = registry.stop()
    registry.release(identity)
    assert registry.release(identity, registry.second)["released_by"] == registry.first
    for tenant, name in (("other", identity), ("default", "stp_nothing")):
        with pytest.raises(NotFoundError):
            registry.control.stops.release(identity=name, tenant=tenant, reason="r", by="k")


def test_two_operators_release_the_first_asks_the_second_confirms(two: Registry) -> None:
    identity = two.stop()
    asked = two.release(identity)
    assert asked["over_us"] is None and asked["release_request"]["by"] == two.first
    assert two.stopped()
    with pytest.raises(ConflictError, match="another operator"):
        two.release(identity)
    two.reopen()
    released = two.release(identity, two.second)
    assert (released["released_by"], released["release_request"]["by"]) == (two.second, two.first)
    assert not two.stopped()
    kinds = [kind for kind, _ in two.events()]
    assert kinds == ["stop_set", "stop_release_requested", "stop_released"]
    assert two.events()[-1][1]["requested_by"] == two.first


def test_a_key_that_was_made_after_the_request_does_not_confirm_it(two: Registry) -> None:
    identity = two.stop()
    two.release(identity)
    with pytest.raises(ForbiddenError, match="made after"):
        two.release(identity, two.operator())
    assert two.stopped()


def test_a_request_is_void_once_its_key_is_revoked_or_a_day_has_passed(two: Registry) -> None:
    identity = two.stop()
    two.release(identity)
    two.control.revoke_key(two.first, tenant="default", by="k")
    assert two.release(identity, two.second)["release_request"]["by"] == two.second
    two.world.pass_s(DAY_S + 1)
    assert two.control.stops.get(identity=identity, tenant="default")["release_request"] is None
    assert two.release(identity, two.second)["over_us"] is None
    assert two.stopped()


def test_live_stops_are_bounded_operators_apart_from_automatic_ones(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_OPERATORS_STOPS", 2)
    monkeypatch.setattr(room, "MAX_AUTOMATIC_STOPS", 1)
    stops = [automatic("stp_1"), automatic("stp_2", target_id="other")]
    _, taken = registry.control.stops.take(stops=stops)
    assert taken == ["stp_1"]
    first = registry.stop()
    registry.stop()
    with pytest.raises(OverloadedError, match="2 such stops are live"):
        registry.stop()
    registry.release(first)
    registry.stop(tenant="another")
    registry.stop()
    monkeypatch.setattr(room, "MAX_GLOBS", 0)
    monkeypatch.setattr(room, "MAX_OPERATORS_STOPS", 9)
    with pytest.raises(OverloadedError, match="glob"):
        registry.stop("agent", "tre*")
    registry.stop("owner", "lit*eral")


def test_however_much_is_stopped_the_fleet_can_be(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_OPERATORS_STOPS", 1)
    registry.stop()
    with pytest.raises(OverloadedError, match="or stop an owner's agents or the fleet instead"):
        registry.stop()
    registry.stop("owner", "treasury")
    registry.stop("fleet", "")
    assert registry.stopped("anybody")


def test_what_has_run_out_takes_no_room_before_a_sweep_says_so(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_OPERATORS_STOPS", 1)
    monkeypatch.setattr(room, "MAX_GLOBS", 1)
    registry.stop("agent", "tre*", expires_in_s=10)
    registry.world.pass_s(11)
    registry.stop("agent", "pay*")
    assert registry.stopped("payer")


def test_an_agent_that_stops_workflow_after_workflow_is_stopped_all_the_same(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_AUTOMATIC_STOPS", 2)
    flood = [automatic(f"stp_{one}", target_type="workflow", target_id=f"wfl_{one}") for one in range(9)]
    assert registry.control.stops.take(stops=flood)[1] == ["stp_0", "stp_1"]
    assert registry.control.stops.take(stops=[automatic("stp_bot")])[1] == ["stp_bot"]
    assert registry.stopped()


def test_what_finds_no_room_is_counted_once_a_call(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_AUTOMATIC_STOPS", 0)
    counted: list[str] = []
    refuse = room.refuse_too_many
    monkeypatch.setattr(
        "actors.stops.registry.refuse_too_many",
        lambda live, stop, now_us: (counted.append(stop.id), refuse(live, stop, now_us)),
    )
    stops = [automatic(f"stp_{one}", target_id=f"bot-{one}") for one in range(200)]
    assert registry.control.stops.take(stops=stops)[1] == []
    assert counted == ["stp_0"]


def test_an_automatic_stop_is_taken_in_once_and_one_of_a_rule_and_target_is_live(registry: Registry) -> None:
    soon, late = registry.world.wall_us + 60_000_000, registry.world.wall_us + 90_000_000
    revision, taken = registry.control.stops.take(stops=[automatic(expires_us=soon)])
    assert taken == ["stp_1"] and revision == registry.control.revision
    assert registry.control.stops.take(stops=[automatic(expires_us=soon)]) == (revision, ["stp_1"])
    registry.control.stops.take(
        stops=[automatic("stp_2", expires_us=late), automatic("stp_3", expires_us=soon)]
    )
    found = registry.control.stops.listed(tenant="default", over=True)["stops"]
    assert [(one["id"], one["expires_us"]) for one in found] == [("stp_1", late)]
    registry.world.pass_s(61)
    registry.control.stops.sweep()
    assert registry.stopped()
    registry.world.pass_s(30)
    registry.control.stops.sweep()
    assert not registry.stopped() and registry.state("stp_1") == "expired"
    _, taken = registry.control.stops.take(stops=[automatic("stp_4", by="rule:p/other")])
    assert taken == ["stp_4"] and registry.stopped()


def test_rows_are_found_by_the_agent_or_the_workflow_that_they_are_about(registry: Registry) -> None:
    registry.release(registry.stop())
    registry.stop("agent", "b*")
    registry.stop("workflow", "wfl_1")
    rows = [orjson.loads(row) for _, row, _ in registry.control.journal.pending(after_seq=-1, limit=100)]
    found = [
        (row.get("agent_id"), row.get("workflow_id")) for row in rows if row["event_type"].startswith("stop")
    ]
    assert found == [("bot", None), ("bot", None), (None, None), (None, "wfl_1")]


def test_the_list_is_of_live_ones_the_newest_first(registry: Registry) -> None:
    made = []
    for number in range(3):
        registry.world.pass_s(1)
        made.append(registry.stop(target_id=f"a{number}"))
    registry.release(made[1])
    stops = registry.control.stops
    listed = stops.listed(tenant="default", over=False)
    assert [one["id"] for one in listed["stops"]] == [made[2], made[0]] and not listed["more"]
    every = stops.listed(tenant="default", over=True)["stops"]
    assert [one["id"] for one in every] == [made[2], made[0], made[1]]
    assert stops.listed(tenant="other", over=True)["stops"] == []


def test_what_was_over_long_ago_is_forgotten_and_an_old_copy_begins_anew(registry: Registry) -> None:
    gone, kept = registry.stop(), registry.stop(target_id="other")
    asleep = Directory()
    asleep.apply(*registry.control.changes(0), sent_s=0)
    assert len(asleep.stops) == 2
    registry.release(gone)
    registry.world.pass_s(7 * DAY_S + 1)
    registry.control.stops.sweep()
    with pytest.raises(NotFoundError):
        registry.state(gone)
    registry.stop(target_id="third")
    # Nobody can tell it any more that the first one is over.
    asleep.apply(*registry.control.changes(asleep.revision), sent_s=0)
    assert {stop.target_id for stop in asleep.stops} == {"other", "third"}
    registry.reopen()
    assert registry.state(kept) is None


def test_whether_an_agent_is_registered_is_told_where_one_is_named(registry: Registry) -> None:
    registry.control.claim_agent(tenant="default", agent_id="bot", isolation=None, owner="treasury", by="k")

    def known(target_type: str, target_id: str) -> bool | None:
        found: bool | None = registry.control.stops.set(
            tenant="default",
            target_type=target_type,
            target_id=target_id,
            reason="r",
            expires_in_s=None,
            by="k",
        )["known"]
        return found

    assert (known("agent", "bot"), known("agent", "bto"), known("agent", "b*")) == (True, False, None)
    assert known("fleet", "") is None
    assert (known("owner", "treasury"), known("owner", "tresury")) == (True, False)
