"""docs/evidence-export.md says where each column comes to stand; an exported row with every column filled shows it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from unit.evidence.evidence_samples import NOON_US, full_row, small_row

from evidence.columns import COLUMNS
from evidence.export import ocsf, otel
from evidence.export.row import Row

PAGE = (Path(__file__).parents[3] / "docs" / "evidence-export.md").read_text(encoding="utf-8")
PLACES = re.findall(r"^\| `(\w+)` \| `([\w.]+)`.*? \| `([\w.]+)`.* \|$", PAGE, re.MULTILINE)
CONTROL = re.findall(
    r"^\| `?(\w[\w ]*)`? \| (\d+) (\w+) \| (\d+) (\w+) \| (?:(\d) \w+)? ?\| (\w+), (\w+)(; `is_alert`)? \|$",
    PAGE,
    re.MULTILINE,
)
PRINCIPAL = "user:ada"
# Columns that stand there as something else than they are in the row.
OTHERWISE: dict[str, tuple[Any, Any]] = {
    "event_time": (NOON_US // 1000, f"{NOON_US}000"),
    "ingest_time": (NOON_US // 1000, f"{NOON_US}000"),
    "authorization_boundary": (PRINCIPAL, PRINCIPAL),
    "decision": (2, "deny"),
    "outcome": (2, "succeeded"),
    "details": ({"detail": "why"}, '{"detail":"why"}'),
    "arguments_digest": (bytes(range(32)).hex(), bytes(range(32)).hex()),
    "leaf_hash": ("01" * 32, "01" * 32),
    "reasons": ("because", ["because"]),
    "rule_ids": ("treasury/large-transfer", ["treasury/large-transfer"]),
}


def row(**changes: Any) -> Row:
    filled = full_row(
        authorization_boundary=json.dumps({"principal": PRINCIPAL}),
        reasons=["because"],
        data_classes=["pii"],
        details='{"detail":"why"}',
    )
    return {
        **dict.fromkeys(c.name for c in COLUMNS),
        **filled,
        "ingest_time": NOON_US,
        "leaf_hash": b"\x01" * 32,
        **changes,
    }


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def in_record(record: dict[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    (value,) = (one["value"] for one in record["attributes"] if one["key"] == name)
    match value:
        case {"intValue": text}:
            return int(text)
        case {"arrayValue": {"values": values}}:
            return [one["stringValue"] for one in values]
        case _:
            return value["stringValue"]


def test_the_page_has_a_place_for_each_column() -> None:
    assert [name for name, _, _ in PLACES] == [
        column.name for column in COLUMNS if column.name != "event_date"
    ]


@pytest.mark.parametrize(("column", "in_ocsf", "in_otel"), PLACES)
def test_each_column_stands_where_the_page_says(column: str, in_ocsf: str, in_otel: str) -> None:
    filled = row()
    here, there = OTHERWISE.get(column, (filled[column], filled[column]))
    assert at(ocsf.event(filled, product_version="1", with_arguments=True), in_ocsf) == here
    assert in_record(otel.record(filled, with_arguments=True), in_otel) == there


def test_the_original_time_has_microseconds() -> None:
    event = ocsf.event(row(event_time=NOON_US + 123_456), product_version="1")
    assert datetime.fromisoformat(event["metadata"]["original_time"]).microsecond == 123_456


def test_the_page_tells_what_a_decision_becomes() -> None:
    assert [line[0] for line in CONTROL] == ["allow", "modify", "escalate", "deny", "a finding"]
    for said, action_id, action, disposition_id, disposition, status, severity, text, alert in CONTROL:
        if said == "a finding":
            filled = {
                **dict.fromkeys(c.name for c in COLUMNS),
                **small_row(),
                "ingest_time": 0,
                "leaf_hash": b"",
            }
        else:
            filled = row(decision=said, outcome=None)
        event = ocsf.event(filled, product_version="1")
        assert (event["action_id"], event["action"]) == (int(action_id), action)
        assert (event["disposition_id"], event["disposition"]) == (int(disposition_id), disposition)
        assert event.get("status_id") == (int(status) if status else None)
        assert (event["severity"], otel.record(filled)["severityText"]) == (severity, text)
        assert event["is_alert"] is bool(alert)
