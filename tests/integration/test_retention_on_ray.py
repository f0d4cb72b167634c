"""Old evidence leaves a running control plane: by command, unless held; and the verifier accounts for all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from integration.plane import brought_up, controlplane
from unit.evidence.retired_tables import RetiredTable, day

from controlplane.settings import Settings
from evidence.verify.verifier import Options, verify

pytestmark = pytest.mark.ray

LONG_AGO = -2_000
"""In days before the first of the samples."""


def test_what_is_old_leaves_by_command_and_what_is_held_stays(tmp_path: Path) -> None:
    data = tmp_path / "cp"
    settings = Settings.create_or_open(data, hosts=2)
    before = RetiredTable(data)
    before.land(LONG_AGO, LONG_AGO + 3, log_id="host-000.0a")
    before.land(LONG_AGO, LONG_AGO + 3, log_id="host-001.0b", agent_id="suspect")

    def asked(*words: str) -> Any:
        return json.loads(controlplane("evidence", *words, "--json", data=data).stdout)

    def old_dates() -> set[str]:
        names = (uri.rpartition("event_date=")[2][:10] for uri in DeltaTable(before.path).file_uris())
        return {name for name in names if name < "2024"}

    dates = [day(LONG_AGO + number).isoformat() for number in range(4)]
    with brought_up(data, hosts=2):
        assert asked("retention", "run")["state"] == "nothing"
        asked("retention", "set", "--keep", "400d")
        hold = asked("hold", "add", "--agent", "suspect", "--to", dates[1], "--reason", "case 4711")
        assert set(asked("retention", "run", "--dry-run")["held"]) == set(dates[:2])
        found = asked("retention", "run")
        assert (found["state"], [each["date"] for each in found["leaving"]]) == ("done", dates[2:])
        assert old_dates() == set(dates[:2])
        asked("hold", "release", hold["id"], "--reason", "over")
        assert asked("retention", "run")["state"] == "done"
        assert old_dates() == set()
        assert asked("retention", "show")["keep_days"] == 400
    key = (settings.evidence_table.parent / "keys.vkey").read_text()
    report = verify(str(settings.evidence_table), Options(keys=[key], jobs=1))
    assert report.holds and report.retained_rows == 32, list(report.lines())
    events = DeltaTable(before.path).to_pyarrow_table(columns=["event_type", "details"]).to_pylist()
    states = [json.loads(each["details"])["state"] for each in events if each["event_type"] == "retention"]
    assert sorted(states) == ["begun", "begun", "done", "done"]
