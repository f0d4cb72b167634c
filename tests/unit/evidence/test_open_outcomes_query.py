"""The query of the docs for permitted actions that nobody reported on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import full_row, record, small_row

from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query

PAGE = Path(__file__).parents[3] / "docs" / "evidence-format.md"
LONG_AGO_US = 1_700_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    permitted = {"event_time": LONG_AGO_US, "event_type": "decision", "decision": "allow", "agent_id": "bot"}
    rows = [
        full_row(**permitted, event_id="d-heard", resource_id="mail.send"),
        full_row(**permitted, event_id="d-silent", resource_id="mail.send"),
        full_row(**permitted | {"decision": "modify"}, event_id="d-changed", resource_id="ledger.pay"),
        full_row(**permitted | {"decision": "deny"}, event_id="d-denied", resource_id="mail.send"),
        small_row(
            event_time=LONG_AGO_US,
            event_type="outcome",
            outcome="succeeded",
            details=json.dumps({"decision": "d-heard"}),
        ),
    ]
    records = [record(row | {"seq": seq}) for seq, row in enumerate(rows)]  # type: ignore[arg-type]
    where = str(tmp_path / "decisions")
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(rows) - 1, records=records)
    EvidenceTable.open_or_create(where).land([batch], ingest_time_us=LONG_AGO_US)
    return where


def test_it_lists_what_has_no_outcome(path: str) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Actions that nobody reported on")[2]
    found = re.search(r"```sql\n(.*?)```", section, re.DOTALL)
    assert found is not None
    rows = query(path, found[1]).to_pylist()
    assert [(row["agent_id"], row["resource_id"], row["open"]) for row in rows] == [
        ("bot", "ledger.pay", 1),
        ("bot", "mail.send", 1),
    ]
