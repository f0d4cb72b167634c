"""The columns are a contract: whoever changes this list breaks somebody's queries."""

from __future__ import annotations

import typing

from evidence.columns import COLUMNS, COMMENTS, SCHEMA, EvidenceRow

CONTRACT = """
event_date date32[day] not null | event_id string not null | event_type string not null
schema_version int32 not null | event_time timestamp[us, tz=UTC] not null
ingest_time timestamp[us, tz=UTC] not null | log_id string not null | seq int64 not null
tenant_id string not null | agent_id string | agent_version string | session_id string
workflow_id string | parent_agent_id string | trace_id string | span_id string
action string | tool_name string | tool_call_id string | resource_type string | resource_id string
system string | data_classes list<item: string> | boundary string
decision string | enforced_action string | mode string | reason_code string
reasons list<item: string> | rule_ids list<item: string> | controls list<item: string>
bundle_hash string | atoms list<item: string> | authorization_boundary string | arguments string
arguments_digest binary | risk_steps int32 | approval_id string | approval_state string
approver_id string | outcome string | duration_us int64 | retention_class string | details string
leaf_hash binary not null
"""


def test_the_columns_are_those_of_the_contract_in_its_order() -> None:
    expected = [column.strip() for line in CONTRACT.strip().splitlines() for column in line.split("|")]
    found = [f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in SCHEMA]
    assert found == expected


def test_a_row_may_name_each_column_that_does_not_follow_from_others() -> None:
    derived = {"event_date", "ingest_time", "leaf_hash"}
    assert set(typing.get_type_hints(EvidenceRow)) == {c.name for c in COLUMNS} - derived


def test_each_column_says_what_it_means() -> None:
    assert all(COMMENTS[name] for name in SCHEMA.names)
