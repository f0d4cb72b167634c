"""How long evidence is kept, and legal holds, in the control store: durable, bounded, and in evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from unit.actors.owners import World

from actors.control import Control, open_control_journal
from actors.retention import entries
from controlplane.errors import ConflictError, ForbiddenError, InputError, NotFoundError


class Store:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.db"
        self.world = World()
        self.reopen()

    def reopen(self) -> None:
        journal = open_control_journal(self.path, new_log_id="control.x")
        self.control = Control(journal, self.world.surroundings())
        self.retention = self.control.retention

    def keep(self, days: int | None, **more: Any) -> dict[str, Any]:
        values: dict[str, Any] = {"tenant": "default", "allow_shorter": False, "reason": "", "by": "k"}
        return self.retention.set_retention(**(values | {"keep_days": days} | more))

    def hold(self, tenant: str = "default", **given: Any) -> dict[str, Any]:
        names = ("agent", "session", "workflow", "tenant", "first", "last")
        values: dict[str, Any] = dict.fromkeys(names) | {"reason": "case 4711"}
        return self.retention.set_hold(tenant=tenant, given=values | given, by="k")

    def begin(self, *, note: str = "ab", number: int | None = None) -> None:
        about = {
            "by": "schedule",
            "partitions": ["2026-01-01", "2026-01-02"],
            "rows": 7,
            "logs": {"host-000.0a": 3, "control.0b": 4},
            "note": note,
            "version": 12,
        }
        if number is None:
            number = self.retention.retention_terms()["number"]
        self.retention.begin_retirement(tenant="default", number=number, about=about)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        records = self.control.journal.pending(after_seq=-1, limit=1_000)
        rows = [orjson.loads(canonical) for _, canonical, _ in records]
        return [(row["event_type"], orjson.loads(row["details"])) for row in rows]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_evidence_is_kept_for_ever_until_somebody_says_how_long(store: Store) -> None:
    assert store.retention.retention()["keep_days"] is None
    assert store.keep(400)["keep_days"] == 400
    store.reopen()
    assert store.retention.retention()["keep_days"] == 400
    store.keep(None)
    assert store.retention.retention_terms()["keep_days"] is None
    details = [(about["keep_days"], about["replaces"]) for _, about in store.events()]
    assert details == [(400, None), (None, 400)]


@pytest.mark.parametrize(
    ("allowed", "reason", "good"),
    [(False, "", False), (False, "why", False), (True, " ", False), (True, "why", True)],
)
def test_less_than_six_months_is_refused_unless_it_is_meant(
    store: Store, allowed: bool, reason: str, good: bool
) -> None:
    store.keep(183)
    if good:
        assert store.keep(182, allow_shorter=allowed, reason=reason)["keep_days"] == 182
        assert store.events()[-1][1]["reason"] == reason
    else:
        with pytest.raises(InputError, match="six months"):
            store.keep(182, allow_shorter=allowed, reason=reason)
        assert store.retention.retention()["keep_days"] == 183


def test_a_hold_stays_until_its_tenant_releases_it(store: Store) -> None:
    held = store.hold(agent="bot", first="2026-01-01")
    store.reopen()
    assert store.retention.holds(tenant="default")[0]["agent"] == "bot"
    assert store.retention.holds(tenant="other") == []
    with pytest.raises(NotFoundError):
        store.retention.release_hold(tenant="other", identity=held["id"], reason="r", by="k")
    store.retention.release_hold(tenant="default", identity=held["id"], reason="over", by="k2")
    assert store.retention.holds(tenant="default") == []
    assert store.events() == [
        (
            "hold_set",
            {"hold": held["id"], "agent": "bot", "first": "2026-01-01", "reason": "case 4711", "by": "k"},
        ),
        ("hold_released", {"hold": held["id"], "reason": "over", "by": "k2"}),
    ]


def test_a_hold_is_for_ones_own_tenant_alone(store: Store) -> None:
    assert store.hold(tenant="default")["tenant"] == "default"
    with pytest.raises(ForbiddenError):
        store.retention.set_hold(
            tenant="default",
            given=dict.fromkeys(("agent", "session", "workflow", "first", "last"))
            | {"tenant": "other", "reason": "r"},
            by="k",
        )


def test_holds_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_HOLDS", 1)
    store.hold(agent="a")
    with pytest.raises(ConflictError, match="1 holds"):
        store.hold(agent="b")


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.hold(agent="bot"),
        lambda store: store.keep(401),
        lambda store: store.retention.release_hold(
            tenant="default", identity=store.retention.holds(tenant="default")[0]["id"], reason="r", by="k"
        ),
    ],
    ids=["hold", "keep", "release"],
)
def test_nothing_leaves_on_terms_that_have_changed(store: Store, change: Any) -> None:
    store.keep(400)
    store.hold(agent="other")
    number = store.retention.retention_terms()["number"]
    change(store)
    with pytest.raises(ConflictError, match="changed"):
        store.begin(number=number)
    assert [kind for kind, _ in store.events()].count("retention") == 0


def test_what_leaves_is_in_evidence_before_and_after(store: Store) -> None:
    store.begin()
    with pytest.raises(ConflictError):
        store.begin(note="cd")
    store.reopen()
    assert store.retention.retention()["leaving"] == ["2026-01-01", "2026-01-02"]
    store.retention.end_retirement(note="other", version=3)
    store.retention.end_retirement(note="ab", version=14)
    store.retention.end_retirement(note="ab", version=14)
    (_, begun), (_, done) = store.events()
    assert (begun["state"], begun["version"], done["state"], done["version"]) == ("begun", 12, "done", 14)
    assert begun["partitions"] == done["partitions"] == ["2026-01-01", "2026-01-02"]
    assert (done["rows"], done["logs"], done["note"], done["by"]) == (
        7,
        {"control.0b": 4, "host-000.0a": 3},
        "ab",
        "schedule",
    )
    store.begin(note="cd")
    store.retention.end_retirement(note="cd", version=None)
    assert store.events()[-1][1]["state"] == "abandoned"
    assert store.retention.retention()["leaving"] == []


def test_a_hold_that_comes_too_late_says_for_which_dates(store: Store) -> None:
    store.begin()
    assert store.hold(agent="bot", first="2026-01-02")["too_late"] == ["2026-01-02"]
    assert store.hold(agent="bot", last="2025-12-31")["too_late"] == []
    assert store.hold(agent="bot")["too_late"] == ["2026-01-01", "2026-01-02"]


def test_an_event_names_so_many_logs_and_counts_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "LOGS_NAMED", 1)
    store.begin()
    ((_, begun),) = store.events()
    assert (begun["logs"], begun["more_logs"]) == ({"control.0b": 4}, 1)
