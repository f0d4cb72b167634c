"""The control store's evidence of alarms: a row when each begins, a row when it ends, whoever says it how often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import World

from actors.alarms.state import EVIDENCE_GAP, EVIDENCE_LAG, MOST_ON
from actors.control import Control, open_control_journal
from controlplane.errors import InputError, UnavailableError

LAG = {"code": EVIDENCE_LAG, "about": "", "says": "late", "since_us": 5}
GAP = {"code": EVIDENCE_GAP, "about": "host-000.x", "says": "a gap", "since_us": 6}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


@pytest.fixture
def control(path: Path) -> Control:
    return reopened(path)


def reopened(path: Path, evidence_backlog: int = 1000) -> Control:
    journal = open_control_journal(path, new_log_id="control.x")
    return Control(journal, World().surroundings(), evidence_backlog=evidence_backlog)


def rows(control: Control) -> list[dict[str, Any]]:
    found = [json.loads(canonical) for _, canonical, _ in control.journal.pending(after_seq=-1, limit=100)]
    for row in found:
        assert (row["event_type"], row["tenant_id"]) == ("finding", "default")
    return [row | {"details": json.loads(row["details"])} for row in found]


def test_it_stands_in_evidence_when_it_begins_and_when_it_ends(control: Control) -> None:
    assert control.alarms.note_alarms(on=[LAG]) == 1
    assert control.alarms.note_alarms(on=[LAG, GAP]) == 1
    assert control.alarms.note_alarms(on=[GAP]) == 1
    assert control.alarms.note_alarms(on=[]) == 1
    told = [(row["reason_code"], row["details"]["alarm"], row["details"]["about"]) for row in rows(control)]
    assert told == [
        (EVIDENCE_LAG, "began", ""),
        (EVIDENCE_GAP, "began", "host-000.x"),
        (EVIDENCE_LAG, "ended", ""),
        (EVIDENCE_GAP, "ended", "host-000.x"),
    ]
    assert rows(control)[2]["details"] == {"alarm": "ended", "about": "", "says": "late", "since_us": 5}


def test_told_twice_or_in_other_words_it_counts_once(control: Control) -> None:
    assert [control.alarms.note_alarms(on=[LAG]) for _ in range(3)] == [1, 0, 0]
    assert control.alarms.note_alarms(on=[LAG | {"says": "later still"}]) == 0
    assert len(rows(control)) == 1


def test_a_restart_remembers_which_are_on(control: Control, path: Path) -> None:
    control.alarms.note_alarms(on=[LAG, GAP])
    control.journal.close()
    again = reopened(path)
    assert again.alarms.alarms_on() == [GAP, LAG]
    assert again.alarms.note_alarms(on=[LAG, GAP]) == 0


def test_at_the_bound_of_evidence_nothing_is_noted_and_nothing_is_forgotten(path: Path) -> None:
    control = reopened(path, evidence_backlog=1)
    control.alarms.note_alarms(on=[LAG])
    with pytest.raises(UnavailableError) as refused:
        control.alarms.note_alarms(on=[GAP])
    assert refused.value.code == "evidence_backlog"
    assert (control.alarms.alarms_on(), control.alarms.note_alarms(on=[LAG])) == ([LAG], 0)
    control.journal.trim(landed_seq=0)
    assert control.alarms.note_alarms(on=[GAP]) == 2


def test_what_is_none_and_what_is_too_much_is_refused(control: Control) -> None:
    with pytest.raises(InputError, match="no alarm `fire`"):
        control.alarms.note_alarms(on=[LAG | {"code": "fire"}])
    with pytest.raises(InputError, match="keeps account of"):
        control.alarms.note_alarms(on=[GAP | {"about": str(n)} for n in range(MOST_ON + 1)])
    assert rows(control) == []


def test_words_are_cut_short(control: Control) -> None:
    control.alarms.note_alarms(on=[LAG | {"says": "x" * 10_000}])
    assert len(rows(control)[0]["details"]["says"]) == 500
