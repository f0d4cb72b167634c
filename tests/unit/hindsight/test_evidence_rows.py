"""What rows of evidence tell, and what they hide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controlplane.hindsight.evidence_rows import Record, read_masked
from controlplane.hindsight.period import Period, _pages
from controlplane.wire.digest import mask
from policies.replay.recorded import Hidden, RecordedAction, RecordedOutcome

MINUTE_US = 60_000_000


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({"to": "DE89"}, {"to": Hidden.STRING}),
        ({"word": "number", "other": "boolean"}, {"word": Hidden.STRING, "other": Hidden.STRING}),
        ({"amount": 3, "rate": 0.5}, {"amount": Hidden.NUMBER, "rate": Hidden.NUMBER}),
        ({"public": True, "note": None}, {"public": Hidden.BOOLEAN, "note": None}),
        (
            {"empty": [], "none": {}, "nulls": [None, {"a": None}]},
            {"empty": [], "none": {}, "nulls": [None, {"a": None}]},
        ),
        ({"list": [1], "object": {"a": "b"}}, {"list": Hidden.LIST, "object": Hidden.OBJECT}),
    ],
)
def test_a_masked_argument_is_of_a_kind_or_whole(arguments: dict[str, Any], seen: dict[str, Any]) -> None:
    assert read_masked(mask(arguments)) == (seen, True)


@pytest.mark.parametrize(
    "arguments", [{"x" * 70: 1}, {f"argument_{number:04}": "x" for number in range(1000)}, {"…": 1}]
)
def test_where_names_are_cut_or_left_out_it_is_not_complete(arguments: dict[str, Any]) -> None:
    assert read_masked(mask(arguments))[1] is False


def test_a_list_that_is_cut_is_hidden() -> None:
    seen, complete = read_masked(mask({"list": [None] * 5000, "after": None}, limit_bytes=200))
    assert seen["list"] is Hidden.LIST
    assert complete is False


def row(event_type: str, **columns: Any) -> dict[str, Any]:
    names = (
        "event_id", "time_us", "log_id", "seq", "tenant_id", "agent_id", "session_id", "workflow_id", "action",
        "resource_type", "resource_id", "decision", "reason_code", "rule_ids", "bundle_hash", "atoms",
        "authorization_boundary", "arguments", "outcome", "duration_us", "details",
    )  # fmt: skip
    return {
        **dict.fromkeys(names),
        "event_type": event_type,
        "tenant_id": "default",
        "time_us": 100,
    } | columns


def decision(**columns: Any) -> RecordedAction:
    return read(Record(), **columns)


def read(record: Record, **columns: Any) -> RecordedAction:
    given = {
        "event_id": "d",
        "agent_id": "bot",
        "session_id": "ses_1",
        "decision": "allow",
        "arguments": "{}",
    }
    found = record.read(row("decision", **(given | columns)))
    assert isinstance(found, RecordedAction)
    return found


def test_a_decision_is_read_with_what_was_found_about_its_past() -> None:
    found = decision(
        duration_us=30,
        atoms=["p/a"],
        rule_ids=["p/x"],
        details=json.dumps(
            {"past": {"p/x": True}, "limits": {"p/y": {"level": "49000.5", "above": "50000"}}}
        ),
    )
    assert (found.time_us, found.asked_us) == (100, 70)
    assert found.truths == {"p/x": True}
    assert found.levels == {"p/y": "49000.5"}
    assert (found.session, found.workflow) == ("ses_1", "ses_1")


def test_what_people_approved_is_what_the_rules_escalated_and_it_happened() -> None:
    approved = decision(details=json.dumps({"approval": {"id": "apr_1", "rules": {"p/x": ["user:ann"]}}}))
    assert (approved.by_rules, approved.permitted) == ("escalate", True)
    assert decision().by_rules == "allow"


def test_who_somebody_is_comes_from_registrations_that_precede() -> None:
    record = Record()
    stranger = read(record)
    assert "subject.labels" in stranger.unknown
    assert record.strangers == {"agent:bot"}
    details = json.dumps({"labels": ["prod"], "owner": "ada"})
    assert record.read(row("agent_registered", agent_id="bot", details=details)) is None
    known = read(record)
    assert (known.subject.labels, known.subject.owner) == (("prod",), "ada")
    assert known.unknown == {"context", "resource.properties", "subject.attributes"}
    record.read(
        row("principal_set", details=json.dumps({"principal": "user:ann", "roles": ["r"], "groups": []}))
    )
    user = read(record, agent_id="ann", authorization_boundary='{"subject_type": "user"}')
    assert (user.subject.type, user.subject.roles) == ("user", ("r",))


@pytest.mark.parametrize("details", [None, "{", "[]", '{"decision": "d", "witness": true}'])
def test_an_outcome_names_its_decision(details: str | None) -> None:
    found = Record().read(row("outcome", outcome="failed", details=details))
    assert isinstance(found, RecordedOutcome)
    assert found.witnessed == (details is not None and "witness" in details)


def test_pages_are_runs_of_minutes_that_cover_a_period_once() -> None:
    period = Period(from_us=30 * MINUTE_US + 5, until_us=90 * MINUTE_US + 7)
    minutes = {30: 15_000, 31: 9_000, 40: 1, 41: 70_000, 90: 3}
    pages = list(_pages(minutes, period))
    assert pages[0].from_us == period.from_us
    assert pages[-1].until_us == period.until_us
    for minute in minutes:
        at_us = max(period.from_us, minute * MINUTE_US)
        assert sum(page.from_us <= at_us < page.until_us for page in pages) == 1
    assert list(_pages({}, period)) == []
