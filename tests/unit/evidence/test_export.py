"""Evidence in the formats of others: valid for them, complete, and told from where the last export ended."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from unit.evidence.evidence_samples import DAY_US, NOON_US, full_row, log, record, small_row
from unit.evidence.journalled import Story, told

from controlplane.errors import InputError
from evidence.delta.table import EvidenceTable
from evidence.errors import NoEvidenceError
from evidence.export.stream import BATCH_ROWS, FORMATS, Export, Format, cursor_text, read_cursor
from evidence.landing import LogBatch
from evidence.query import query

SCHEMA = json.loads(Path(__file__).with_name("ocsf_api_activity.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("story"))


def export(path: str | Path, format: Format, **options: Any) -> Export:
    return Export(str(path), format, product_version="1.2.3", **options)


def events(path: str | Path, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(path, "ocsf", **options)]


def records(path: str | Path, **options: Any) -> list[dict[str, Any]]:
    requests = [json.loads(line) for line in export(path, "otel", **options)]
    return [
        one
        for r in requests
        for part in r["resourceLogs"]
        for s in part["scopeLogs"]
        for one in s["logRecords"]
    ]


def attributes(record: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in record["attributes"]}


def land(path: Path, *rows: Any) -> None:
    numbered = [record(row | {"seq": seq}) for seq, row in enumerate(rows)]
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(rows) - 1, records=numbered)
    EvidenceTable.open_or_create(str(path)).land([batch], ingest_time_us=NOON_US + 1_000)


# -- OCSF ------------------------------------------------------------------------------------------------------------


def test_every_event_that_was_journalled_is_valid_ocsf_and_comes_once(story: Story) -> None:
    found = events(story.table)
    for event in found:
        VALID.validate(event)
    ids = query(story.table, "SELECT event_id FROM evidence").column(0).to_pylist()
    assert sorted(event["metadata"]["uid"] for event in found) == sorted(ids)
    assert all(event["type_uid"] == event["class_uid"] * 100 + event["activity_id"] for event in found)


@pytest.mark.parametrize(
    ("decision", "action", "disposition", "status"),
    [
        ("allow", (1, "Allowed"), (1, "Allowed"), (1, "Success")),
        ("deny", (2, "Denied"), (2, "Blocked"), (2, "Failure")),
        ("modify", (4, "Modified"), (11, "Corrected"), (1, "Success")),
        ("escalate", (2, "Denied"), (14, "Delayed"), (2, "Failure")),
    ],
)
def test_a_decision_says_what_the_control_did(
    decision: str,
    action: tuple[int, str],
    disposition: tuple[int, str],
    status: tuple[int, str],
    tmp_path: Path,
) -> None:
    land(tmp_path / "t", full_row(decision=decision, data_classes=["pii"]))
    (event,) = events(tmp_path / "t")
    VALID.validate(event)
    assert (event["action_id"], event["action"]) == action
    assert (event["disposition_id"], event["disposition"]) == disposition
    assert (event["status_id"], event["status"], event["status_code"]) == (*status, "rule_deny")
    assert event["is_alert"] is (decision == "deny")
    assert event["metadata"]["profiles"] == ["security_control"]
    assert event["time"] == NOON_US // 1000
    assert event["metadata"]["original_time"] == "2026-09-04T12:00:00.000000Z"
    assert event["actor"]["app_uid"] == event["src_endpoint"]["svc_name"] == "treasury-bot"
    assert event["actor"]["session"] == {"uid": "ses_1"}
    assert event["api"]["operation"] == "payments.transfer" and event["api"]["service"] == {
        "name": "core-banking"
    }
    assert event["resources"][0]["labels"] == ["pii"]
    assert event["authorizations"][0]["policy"]["uid"] == "treasury/large-transfer"
    assert event["unmapped"]["controls"] == ["sox/itgc-sod", "eu-ai-act/14-4"]
    assert event["unmapped"]["duration_us"] == 1234 and event["duration"] == 1


def test_a_decision_and_its_outcome_share_the_id_of_their_request(story: Story) -> None:
    about = [e for e in events(story.table) if e["api"].get("request") == {"uid": story.paid.id}]
    decided, came = sorted(about, key=lambda event: event["metadata"]["sequence"])
    assert (decided["metadata"]["event_code"], came["metadata"]["event_code"]) == ("decision", "outcome")
    assert decided["actor"]["user"]["uid"] == "user:owner"
    assert (came["status_id"], "action_id" in came) == (1, False)


def test_a_finding_is_an_alert_and_a_change_names_who_made_it(story: Story) -> None:
    by_type = {event["metadata"]["event_code"]: event for event in events(story.table)}
    finding, stored, granted = (by_type[kind] for kind in ("finding", "bundle_stored", "approval_granted"))
    assert (finding["severity"], finding["is_alert"], finding["action"]) == ("High", True, "Observed")
    assert (stored["actor"]["user"]["uid"], stored["activity_name"]) == ("ada", "Create")
    assert (
        granted["actor"]["user"]["uid"] == "user:bert" and granted["api"]["operation"] == "approval_granted"
    )


def test_the_least_that_a_row_may_hold_is_valid(tmp_path: Path) -> None:
    land(
        tmp_path / "t",
        small_row(),
        small_row(event_type="stop_expired"),
        small_row(event_type="decision", decision="deny"),
    )
    for event in events(tmp_path / "t"):
        VALID.validate(event)
    assert len(records(tmp_path / "t")) == 3


def test_details_that_are_no_object_are_left_out(tmp_path: Path) -> None:
    land(tmp_path / "t", *(small_row(details=text) for text in ("[1]", "{", '"x"', '{"decision":7}')))
    assert [event["unmapped"].get("details") for event in events(tmp_path / "t")] == [
        None,
        None,
        None,
        {"decision": 7},
    ]
    assert all("request" not in event["api"] for event in events(tmp_path / "t"))


# -- OpenTelemetry ---------------------------------------------------------------------------------------------------


def test_every_line_is_a_request_that_a_collector_accepts(story: Story) -> None:
    (line,) = export(story.table, "otel")
    parsed = json_format.Parse(_with_bytes(json.loads(line)), ExportLogsServiceRequest())
    (resource,) = parsed.resource_logs
    assert {one.key: one.value.string_value for one in resource.resource.attributes} == {
        "service.name": "controlplane",
        "service.version": "1.2.3",
    }
    (scope,) = resource.scope_logs
    assert (
        len(scope.log_records)
        == query(story.table, "SELECT count(*) FROM evidence").to_pylist()[0]["count_star()"]
    )
    (paid,) = [one for one in scope.log_records if one.trace_id]
    assert paid.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    values = {one.key: one.value for one in paid.attributes}
    assert values["log.record.uid"].string_value == story.paid.id
    assert values["gen_ai.operation.name"].string_value == "execute_tool"
    assert values["gen_ai.tool.name"].string_value == "bank.pay"
    assert values["gen_ai.tool.call.id"].string_value == "call_1"
    assert values["gen_ai.agent.id"].string_value == "bot"
    assert values["gen_ai.conversation.id"].string_value == story.session
    assert values["user.id"].string_value == "user:owner"
    assert paid.event_name == "controlplane.decision" and paid.severity_text == "INFO"


def _with_bytes(request: dict[str, Any]) -> str:
    """OTLP writes ids in hexadecimal where protobuf's own JSON has base64."""
    for one in request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name in ("traceId", "spanId"):
            if name in one:
                one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    return json.dumps(request)


def test_a_record_has_the_row_in_its_attributes(tmp_path: Path) -> None:
    land(tmp_path / "t", full_row())
    (found,) = records(tmp_path / "t")
    assert (found["timeUnixNano"], found["observedTimeUnixNano"]) == (f"{NOON_US}000", f"{NOON_US + 1000}000")
    assert (found["severityText"], found["traceId"], found["spanId"]) == (
        "WARN",
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
    )
    values = attributes(found)
    assert values["controlplane.seq"] == {"intValue": "0"}
    assert values["controlplane.data_classes"] == {"arrayValue": {"values": []}}
    assert values["controlplane.rule_ids"] == {
        "arrayValue": {"values": [{"stringValue": "treasury/large-transfer"}]}
    }
    assert values["controlplane.arguments_digest"] == {"stringValue": bytes(range(32)).hex()}


@pytest.mark.parametrize(
    ("trace", "span", "kept"),
    [
        ("0" * 32, "b7ad6b7169203331", (None, None)),
        ("not a trace", "b7ad6b7169203331", (None, None)),
        ("0af7651916cd43dd8448eb211c80319c", "0" * 16, ("0af7651916cd43dd8448eb211c80319c", None)),
    ],
)
def test_an_id_that_no_collector_accepts_is_left_out(
    trace: str, span: str, kept: tuple[str | None, str | None], tmp_path: Path
) -> None:
    land(tmp_path / "t", full_row(trace_id=trace, span_id=span))
    (found,) = records(tmp_path / "t")
    assert (found.get("traceId"), found.get("spanId")) == kept


# -- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_arguments_leave_only_when_they_are_asked_for(format: Format, tmp_path: Path) -> None:
    land(tmp_path / "t", full_row(arguments='{"amount":"MASKED-NUMBER"}'))
    assert b"MASKED-NUMBER" not in b"".join(export(tmp_path / "t", format))
    assert b"MASKED-NUMBER" in b"".join(export(tmp_path / "t", format, with_arguments=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"since_us": NOON_US}, [2, 3, 4]),
        ({"until_us": NOON_US}, [0, 1]),
        ({"since_us": NOON_US - 1, "until_us": NOON_US + 1}, [1, 2, 3]),
        ({"agents": ["clerk"]}, [1, 3]),
        ({"event_types": ["outcome", "finding"]}, [3, 4]),
        ({"agents": ["clerk"], "event_types": ["outcome"], "since_us": NOON_US}, [3]),
        ({"agents": ["nobody"]}, []),
        ({"after": {"host-000": 2}}, [3, 4]),
        ({"after": {"host-999": 7}}, [0, 1, 2, 3, 4]),
        ({"after": {"host-000": 4}}, []),
    ],
)
def test_only_what_is_asked_for_is_told(options: dict[str, Any], expected: list[int], tmp_path: Path) -> None:
    land(
        tmp_path / "t",
        full_row(event_time=NOON_US - DAY_US),
        full_row(event_time=NOON_US - 1, agent_id="clerk"),
        full_row(event_time=NOON_US),
        full_row(event_time=NOON_US, agent_id="clerk", event_type="outcome"),
        small_row(event_time=NOON_US + DAY_US),
    )
    assert sorted(event["metadata"]["sequence"] for event in events(tmp_path / "t", **options)) == expected
    assert len(records(tmp_path / "t", **options)) == len(expected)


@pytest.mark.parametrize("format", FORMATS)
def test_from_cursor_to_cursor_each_row_is_told_once(format: Format, tmp_path: Path) -> None:
    table = EvidenceTable.open_or_create(str(tmp_path / "t"))
    after: dict[str, int] | None = None
    rows = 0
    for first in (0, 700, 1400):
        batches = [
            log(first, first + 699, step_us=100_000_000),
            log(first // 2, first // 2 + 349, log_id="host-001"),
        ]
        table.land(batches, ingest_time_us=NOON_US)
        one = export(tmp_path / "t", format, after=after)
        lines = [*one]
        assert one.rows == 1050
        assert format == "ocsf" or len(lines) >= 1050 / BATCH_ROWS
        after, rows = read_cursor(cursor_text(one.cursor)), rows + one.rows
    assert after == {"host-000": 2099, "host-001": 1049}
    assert rows == 3150


def test_a_cursor_of_very_many_logs_tells_the_same(tmp_path: Path) -> None:
    land(tmp_path, *[small_row() for _ in range(5)])
    others = {f"agent-{number}": 7 for number in range(20_000)}
    later = export(tmp_path, "ocsf", after=others | {"host-000": 2})
    assert [json.loads(line)["metadata"]["sequence"] for line in later] == [3, 4]
    assert later.cursor == others | {"host-000": 4}
    assert len(events(tmp_path, after=others)) == 5


def test_a_cursor_goes_past_what_was_not_asked_for(tmp_path: Path) -> None:
    land(tmp_path / "t", full_row(), full_row(agent_id="clerk"), full_row())
    one = export(tmp_path / "t", "ocsf", agents=["clerk"])
    assert (len([*one]), one.cursor) == (1, {"host-000": 2})


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format":2,"logs":{}}', '{"format":1,"logs":{"a":"1"}}', '{"format":1}']
)
def test_something_else_is_no_cursor(text: str) -> None:
    with pytest.raises(InputError, match="no cursor of an evidence export"):
        read_cursor(text)


def test_lines_come_before_the_whole_table_was_read(tmp_path: Path) -> None:
    table = EvidenceTable.open_or_create(str(tmp_path / "t"))
    for first in range(0, 40, 10):
        table.land([log(first, first + 9, step_us=DAY_US // 10)], ingest_time_us=NOON_US)
    one = export(tmp_path / "t", "ocsf")
    next(iter(one))
    assert 0 < one.rows < 40


def test_dates_come_in_their_order(tmp_path: Path) -> None:
    table = EvidenceTable.open_or_create(str(tmp_path / "t"))
    table.land([log(0, 39, step_us=DAY_US // 10)], ingest_time_us=NOON_US)
    days = [datetime.fromtimestamp(e["time"] / 1000, UTC).date() for e in events(tmp_path / "t")]
    assert days == sorted(days) and len(set(days)) == 5


def test_an_empty_table_has_nothing_to_tell_and_none_is_said(tmp_path: Path) -> None:
    EvidenceTable.open_or_create(str(tmp_path / "t"))
    assert [*export(tmp_path / "t", "otel")] == []
    with pytest.raises(NoEvidenceError):
        export(tmp_path / "none", "ocsf")
