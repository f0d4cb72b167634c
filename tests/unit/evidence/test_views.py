"""The views answer from what owners really journalled, in DuckDB's SQL and in Spark's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from unit.evidence.evidence_samples import NOON_US, log, record, small_row
from unit.evidence.journalled import BUNDLE, Story, told

from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query
from evidence.views.texts import DIALECTS, VIEWS, create, script, select


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("story"))


def rows(story: Story, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(story.table, sql).to_pylist()
    return found


def test_decisions_have_one_row_each_with_what_json_held_in_columns(story: Story) -> None:
    found = rows(
        story,
        "SELECT decision_id, decision, permitted, principal, subject_type, key_id, rule, trace_id, tool_call_id"
        " FROM decisions ORDER BY event_time, seq",
    )
    ids = [story.looked.id, story.paid.id, story.strange.id, story.large.id, story.permitted.id]
    assert [row["decision_id"] for row in found][:5] == ids
    assert [(row["decision"], row["permitted"]) for row in found] == [
        ("allow", True),
        ("allow", True),
        ("deny", False),
        ("escalate", False),
        ("allow", True),
        ("escalate", False),
    ]
    assert {(row["subject_type"], row["principal"]) for row in found[:5]} == {("agent", "user:owner")}
    assert found[1]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (found[1]["tool_call_id"], found[1]["rule"], found[1]["key_id"]) == ("call_1", "desk/all", "k")


def test_a_denial_that_no_rule_made_is_named_by_its_reason(story: Story) -> None:
    (row,) = rows(story, "SELECT decision_id, rule, reason_code, tool_name FROM denials")
    assert (row["decision_id"], row["tool_name"]) == (story.strange.id, "shell.run")
    assert row["rule"] == row["reason_code"] == story.strange.reason_code


def test_an_approval_is_one_row_however_many_events_it_has(story: Story) -> None:
    used, waiting = rows(story, "SELECT * FROM approvals ORDER BY requested_at")
    assert (used["approval_id"], waiting["approval_id"]) == (story.approval, story.waiting)
    assert used["decision_id"] == story.large.id and used["permitted_decision_id"] == story.permitted.id
    assert (used["state"], used["approvers"], used["took_s"]) == ("used", ["user:anna", "user:bert"], 60.0)
    assert (used["justification"], used["rule_ids"], used["denied_by"]) == ("the rent", ["desk/large"], None)
    assert used["used_at"] == used["decided_at"]
    assert (waiting["state"], waiting["approvers"], waiting["took_s"]) == ("pending", [], None)


def test_boundaries_say_what_a_session_was_entitled_to_and_touched(story: Story) -> None:
    found = rows(
        story,
        "SELECT boundary, tools, refused_tools, data_classes, refused_data_classes, decisions, permitted, denied,"
        f" escalated, unclassified, principal FROM boundaries WHERE session_id = '{story.session}' ORDER BY boundary",
    )
    outside, inside, unknown = found
    assert (outside["boundary"], outside["tools"], outside["refused_tools"]) == (
        "external",
        ["bank.pay"],
        ["bank.pay"],
    )
    assert (outside["decisions"], outside["permitted"], outside["denied"], outside["escalated"]) == (
        3,
        2,
        0,
        1,
    )
    assert (inside["boundary"], inside["tools"], inside["data_classes"]) == ("internal", ["bank.look"], [])
    assert (unknown["boundary"], unknown["refused_tools"], unknown["unclassified"]) == (
        None,
        ["shell.run"],
        1,
    )
    assert {row["principal"] for row in found} == {"user:owner"}


def test_outcomes_and_findings_belong_to_decisions(story: Story) -> None:
    found = rows(
        story,
        "SELECT decision_id, outcome, complete, witnessed, key_id FROM outcomes ORDER BY event_time, seq",
    )
    assert [tuple(row.values()) for row in found] == [
        (story.paid.id, "succeeded", True, True, "pep"),
        (story.permitted.id, "failed", True, True, "pep"),
    ]
    (finding,) = rows(story, "SELECT decision_id, reason_code FROM findings")
    assert tuple(finding.values()) == (story.permitted.id, "executed_digest_mismatch")


def test_changes_say_who_made_them(story: Story) -> None:
    found = rows(
        story, "SELECT event_type, changed_by, bundle_hash, agent_id FROM changes ORDER BY log_id, seq"
    )
    assert [tuple(row.values()) for row in found] == [
        ("bundle_stored", "ada", BUNDLE, None),
        ("agent_registered", "k", None, "bot"),
    ]


def test_a_change_is_a_change_and_nothing_else_is(tmp_path: Path) -> None:
    changes = ["hold_set", "key_revoked", "retention_set", "stop_expired", "subject_erased"]
    others = [
        "decision",
        "outcome",
        "finding",
        "session_ended",
        "approval_granted",
        "rate_limited",
        "arguments_revealed",
    ]
    kinds = enumerate([*changes, *others])
    records = [record(small_row(seq=seq, event_type=kind, details='{"by":"ada"}')) for seq, kind in kinds]
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(records) - 1, records=records)
    EvidenceTable.open_or_create(str(tmp_path / "t")).land([batch], ingest_time_us=NOON_US)
    found = query(str(tmp_path / "t"), "SELECT event_type, changed_by FROM changes ORDER BY seq").to_pylist()
    assert [tuple(row.values()) for row in found] == [(kind, "ada") for kind in changes]


@pytest.fixture(scope="module")
def both(story: Story) -> dict[str, duckdb.DuckDBPyConnection]:
    """The views of each dialect; Spark's in DuckDB, by way of a translator."""
    connections = {}
    for dialect in DIALECTS:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("evidence", open_dataset(story.table))
        for statement in sqlglot.transpile(script(dialect), read=dialect, write="duckdb"):
            connection.execute(statement)
        connections[dialect] = connection
    return connections


@pytest.mark.parametrize("view", VIEWS)
def test_both_dialects_answer_the_same(view: str, both: dict[str, duckdb.DuckDBPyConnection]) -> None:
    answers = {}
    for dialect, connection in both.items():
        table = connection.sql(f"SELECT * FROM {view}").to_arrow_table()
        # DuckDB makes null of a list of nothing, Spark an empty one.
        answers[dialect] = (
            table.column_names,
            sorted(
                repr([value or None if isinstance(value, list) else value for value in row.values()])
                for row in table.to_pylist()
            ),
        )
    assert answers["duckdb"] == answers["spark"]
    assert answers["duckdb"][1]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_one_select_with_a_comment_in_its_dialect(view: str, dialect: Any) -> None:
    text = select(view, dialect)
    assert text.startswith("-- ")
    (statement,) = sqlglot.parse(text, read=dialect)
    assert isinstance(statement, sqlglot.exp.Select)
    (made,) = sqlglot.parse(create(view, dialect), read=dialect)
    assert isinstance(made, sqlglot.exp.Create)
    assert not list(made.find_all(sqlglot.exp.Command))


def test_no_view_has_two_columns_of_one_name(both: dict[str, duckdb.DuckDBPyConnection]) -> None:
    for view in VIEWS:
        names = [row[0] for row in both["duckdb"].sql(f"DESCRIBE {view}").fetchall()]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("duckdb", "SELECT * FROM delta_scan('s3://it''s/t`b')"),
        ("spark", "SELECT * FROM delta.`s3://it's/t``b`"),
    ],
)
def test_a_script_names_the_table_that_it_reads(dialect: Any, line: str) -> None:
    text = script(dialect, table="s3://it's/t`b")
    assert line in text
    assert re.findall(r"VIEW (\w+)", text) == ["evidence", *VIEWS]


def test_a_view_brings_those_that_it_reads() -> None:
    assert re.findall(r"VIEW (\w+)", script("duckdb", views=["boundaries"])) == ["decisions", "boundaries"]
    assert re.findall(r"VIEW (\w+)", script("spark", views=["approvals"])) == ["approvals"]


def test_views_of_an_empty_table_are_empty(tmp_path: Path) -> None:
    EvidenceTable.open_or_create(str(tmp_path / "t"))
    for view in VIEWS:
        assert query(str(tmp_path / "t"), f"SELECT * FROM {view}").num_rows == 0


def test_views_hold_with_every_column_filled(tmp_path: Path) -> None:
    EvidenceTable.open_or_create(str(tmp_path / "t")).land([log(0, 2)], ingest_time_us=NOON_US)
    (row,) = query(str(tmp_path / "t"), "SELECT * FROM decisions WHERE seq = 1").to_pylist()
    assert row["rule"] == "treasury/large-transfer" and row["principal"] is None and row["permitted"] is False
