"""Runs of retention, on a real table and a real control store's journal: what leaves, what stays, and over crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from unit.actors.test_retention_entries import Store
from unit.evidence.evidence_samples import DAY_US
from unit.evidence.retired_tables import FIRST_US, RetiredTable, changed, day, forge

from actors.retention import runs
from actors.retention.runs import SCHEDULE, RetentionRuns
from controlplane.errors import ConflictError, UnavailableError
from evidence.delta import retiring
from evidence.delta.table import EvidenceTable
from evidence.signing_keys import Signer


class Runs:
    """Evidence of five days, four rows and another agent each; ten days are kept, and today three are due."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.table = RetiredTable(folder)
        for number in range(5):
            self.table.land(number, number, agent_id=f"bot-{number}")
        self.store.world.wall_us = FIRST_US + 13 * DAY_US
        self.store.keep(10, allow_shorter=True, reason="test")
        self.before: dict[str, Callable[[], None]] = {}
        self.reachable = True

    async def call(self, name: str, method: str, asked: str, arguments: dict[str, Any], **_: Any) -> Any:
        self.before.pop(asked, lambda: None)()
        if not self.reachable:
            raise UnavailableError("the control store is away")
        return getattr(self.store.retention, asked)(**arguments)

    async def exclusively(self, work: Callable[[EvidenceTable], Any]) -> Any:
        return work(self.table.table)

    def run(self, *, by: str = "key_1", dry_run: bool = False) -> dict[str, Any]:
        async def go() -> dict[str, Any]:
            made = RetentionRuns(
                str(self.table.path),
                Signer(files=self.table.keys),
                self.exclusively,
                self.store.world.surroundings(),
                call=self.call,
            )
            made.start(by=by, tenant="default", dry_run=dry_run)
            with pytest.raises(ConflictError):
                made.start(by=by, tenant="default", dry_run=dry_run)
            assert made._running is not None
            await made._running
            made.close()
            return made.status()

        return asyncio.run(go())

    def dates(self) -> list[str]:
        names = (uri.rpartition("event_date=")[2] for uri in DeltaTable(self.table.path).file_uris())
        return sorted({name.partition("/")[0] for name in names})

    def states(self) -> list[str]:
        """Of the events about what leaves."""
        return [details["state"] for kind, details in self.store.events() if kind == "retention"]


ALL = [day(number).isoformat() for number in range(5)]


@pytest.fixture
def plane(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_dry_run_says_what_would_leave_and_what_is_held_and_changes_nothing(plane: Runs) -> None:
    held = plane.store.hold(agent="bot-1")
    version = plane.table.table.version
    found = plane.run(dry_run=True)
    assert (found["state"], found["keep_days"], found["more"], found["late"]) == ("dry", 10, 0, [])
    assert [(each["date"], each["rows"]) for each in found["leaving"]] == [(ALL[0], 4), (ALL[2], 4)]
    assert all(each["size_bytes"] > 1_000 for each in found["leaving"])
    assert found["held"] == {ALL[1]: [held["id"]]}
    assert (DeltaTable(plane.table.path).version(), plane.states()) == (version, [])


def test_a_run_lets_go_what_is_due_and_evidence_says_so_before_and_after(plane: Runs) -> None:
    found = plane.run()
    assert (found["state"], found["checked_rows"]) == ("done", 12)
    assert plane.dates() == ALL[3:]
    begun, done = (about for kind, about in plane.store.events() if kind == "retention")
    assert (begun["state"], done["state"], done["version"]) == ("begun", "done", found["version"])
    assert (
        done["partitions"] == ALL[:3] and done["logs"] == {"host-000": 12} and done["note"] == found["note"]
    )
    assert plane.run()["state"] == "nothing"


def test_without_a_time_to_keep_nothing_leaves(plane: Runs) -> None:
    plane.store.keep(None)
    assert plane.run()["state"] == "nothing"
    assert plane.dates() == ALL


def test_if_the_control_store_cannot_be_asked_nothing_leaves(plane: Runs) -> None:
    plane.reachable = False
    assert plane.run()["state"] == "failed"

    def go_away() -> None:
        plane.reachable = False

    plane.reachable = True
    plane.before["begin_retirement"] = go_away
    assert plane.run()["state"] == "failed"
    assert plane.dates() == ALL


def test_a_hold_that_is_set_while_rows_are_checked_keeps_them(plane: Runs) -> None:
    plane.before["begin_retirement"] = lambda: plane.store.hold(agent="bot-0") and None
    assert plane.run()["state"] == "done"
    assert plane.dates() == [ALL[0], *ALL[3:]]
    assert plane.states() == ["begun", "done"]


def test_rows_that_land_while_others_are_checked_begin_it_anew(plane: Runs) -> None:
    plane.before["begin_retirement"] = lambda: plane.table.land(0, 0, log_id="host-001")
    found = plane.run()
    assert found["state"] == "done"
    assert plane.states() == ["begun", "abandoned", "begun", "done"]
    assert plane.dates() == ALL[3:]


def test_rows_that_were_tampered_with_do_not_leave(plane: Runs) -> None:
    forge(plane.table, changed)
    found = plane.run()
    assert found["state"] == "failed" and "are not those of the signed checkpoint" in found["error"]
    assert (plane.dates(), plane.states()) == (ALL, [])


def test_many_dates_wait_for_an_operator_and_do_not_leave_by_themselves(
    plane: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SCHEDULED_PARTITIONS", 2)
    found = plane.run(by=SCHEDULE)
    assert found["state"] == "waiting" and "3 dates are due" in found["error"]
    assert plane.dates() == ALL
    assert plane.run()["state"] == "done"
    plane.store.world.pass_s(2 * 86_400)
    assert plane.run(by=SCHEDULE)["state"] == "done"
    assert plane.dates() == []


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(("commit", "state"), [(0, "abandoned"), (1, "abandoned"), (2, "done")])
def test_what_a_crash_left_open_is_found_out_and_told_by_the_next_run(
    plane: Runs, monkeypatch: pytest.MonkeyPatch, commit: int, state: str
) -> None:
    real, made = retiring.CommitProperties, [0]

    def counted(*given: Any, **named: Any) -> Any:
        if made[0] == commit:
            raise Crash
        made[0] += 1
        return real(*given, **named)

    monkeypatch.setattr(retiring, "CommitProperties", counted)
    with pytest.raises(Crash):
        plane.run()
    monkeypatch.undo()
    plane.table.open()
    plane.store.reopen()
    plane.run()
    assert plane.states() == ["begun", state] + (["begun", "done"] if state == "abandoned" else [])
    assert plane.dates() == ALL[3:]
