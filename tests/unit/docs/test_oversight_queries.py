"""docs/oversight-queries.md is executed: each query gives what `controlplane approvals load` computes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from unit.evidence.evidence_samples import small_row

from controlplane.cli.approval_load import rows_since
from controlplane.oversight.load import Load, load_of
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query
from evidence.record import canonical_bytes, leaf_hash

PAGE = (Path(__file__).parents[3] / "docs" / "oversight-queries.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"```sql\n-- (\w+)\n(.*?)```", PAGE, re.DOTALL))
DAY_S = 86_400
BOTH = ["bank/large", "bank/payee"]
# (seconds before now, type, approval, state, approver, rules)
EVENTS: list[tuple[float, str, str, str, str | None, list[str]]] = [
    (20 * DAY_S, "requested", "old", "pending", None, BOTH),
    (8 * DAY_S, "requested", "a", "pending", None, BOTH),
    (7 * DAY_S + 1, "granted", "a", "approved", "user:anna", BOTH),
    (7 * DAY_S - 10_000, "requested", "b", "pending", None, BOTH[:1]),
    (7 * DAY_S - 10_001, "denied", "b", "denied", "user:anna", BOTH[:1]),
    (9_000, "requested", "c", "pending", None, BOTH),
    (8_000, "requested", "d", "pending", None, BOTH[1:]),
    (7_000, "granted", "c", "partial", "user:anna", BOTH),
    (6_999, "granted", "d", "approved", "user:anna", BOTH[1:]),
    (6_998, "commented", "c", "partial", "user:bob", BOTH),
    (3_999, "delegated", "e", "pending", "user:anna", BOTH),
    (6_000, "granted", "c", "approved", "user:bob", BOTH),
    (5_000, "expired", "d", "expired", None, BOTH[1:]),
    (4_000, "requested", "e", "pending", None, BOTH),
    (3_000, "requested", "f", "pending", None, BOTH[1:]),
    (2_000, "expired", "f", "expired", None, BOTH[1:]),
    (1_000, "requested", "g", "pending", None, BOTH[1:]),
    (500, "cancelled", "g", "cancelled", None, BOTH[1:]),
    (400, "requested", "h", "pending", None, BOTH[:1]),
    (300, "granted", "h", "approved", "user:bob", BOTH[:1]),
    (200, "denied", "h", "denied", "user:anna", BOTH[:1]),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("evidence") / "decisions")
    now_us = time.time_ns() // 1000
    records = []
    for seq, (ago_s, kind, approval, state, approver, rules) in enumerate(EVENTS):
        row = small_row(
            seq=seq,
            event_id=f"e-{seq}",
            event_type=f"approval_{kind}",
            event_time=now_us - int(ago_s * 1e6),
            agent_id=f"bot-{approval}",
            approval_id=approval,
            approval_state=state,
            rule_ids=rules,
            # Whom somebody delegates to is a name, and who may act is a list.
            details='{"actor":"somebody","to":"user:eve"}'
            if kind == "delegated"
            else '{"actor":"somebody","may_act":["role:treasury","user:cfo"]}',
        )
        if approver is not None:
            row["approver_id"] = approver
        canonical = canonical_bytes(row)
        records.append((canonical, leaf_hash(canonical)))
    revoked = small_row(
        seq=len(records),
        event_id="e-revoked",
        event_type="approval_value_revoked",
        event_time=now_us,
        approval_id="a",
    )
    records.append((canonical_bytes(revoked), leaf_hash(canonical_bytes(revoked))))
    untold = small_row(
        seq=len(records),
        event_id="e-untold",
        event_type="notification_failed",
        event_time=now_us - 1_500_000_000,
        agent_id="bot-f",
        approval_id="f",
        details='{"channel":"desk","event":"approval_requested","error":"answered 500"}',
    )
    records.append((canonical_bytes(untold), leaf_hash(canonical_bytes(untold))))
    batch = LogBatch(log_id="host-000", first_seq=0, last_seq=len(records) - 1, records=records)
    EvidenceTable.open_or_create(path).land([batch], ingest_time_us=now_us)
    return path


@pytest.fixture(scope="module")
def load(table: str) -> Load:
    now_us = time.time_ns() // 1000
    since_us = now_us - 7 * DAY_S * 1_000_000
    return load_of(rows_since(table, since_us), since_us=since_us, now_us=now_us)


def asked(table: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = query(table, QUERIES[name]).to_pylist()
    return rows


def test_the_page_has_a_query_for_each_part_of_the_load() -> None:
    assert set(QUERIES) == {*Load.__slots__, "untold"}


def test_who_waits(table: str, load: Load) -> None:
    rows = asked(table, "waiting")
    assert [
        (row["approval_id"], row["agent"], tuple(row["rules"]), tuple(row["may_act"])) for row in rows
    ] == [(one.approval, one.agent, one.rules, one.may_act) for one in load.waiting]
    assert [one.approval for one in load.waiting] == ["old", "e"]
    for row, one in zip(rows, load.waiting, strict=True):
        assert row["age_s"] == pytest.approx(one.age_s, abs=60)


def test_by_approver(table: str, load: Load) -> None:
    rows = asked(table, "approvers")
    assert [(row["approver_id"], row["approved"], row["denied"], row["hasty"]) for row in rows] == [
        (one.approver, one.approved, one.denied, one.hasty) for one in load.approvers
    ]
    assert [(one.approver, one.approved, one.denied, one.hasty) for one in load.approvers] == [
        ("user:anna", 2, 2, 2),
        ("user:bob", 2, 0, 0),
    ]
    for row, one in zip(rows, load.approvers, strict=True):
        assert (row["rate"], row["median_s"]) == (pytest.approx(one.rate), pytest.approx(one.median_s))


def test_by_rule(table: str, load: Load) -> None:
    rows = asked(table, "rules")
    names = ("rule", "requested", "approved", "denied", "expired", "cancelled", "rate", "median_s")
    assert [tuple(row[name] for name in names) for row in rows] == [
        tuple(getattr(one, name) for name in names) for one in load.rules
    ]
    assert {one.rule: (one.requested, one.approved, one.expired) for one in load.rules} == {
        "bank/payee": (5, 2, 1),
        "bank/large": (4, 1, 0),
    }
    assert {one.rule: one.denied for one in load.rules} == {"bank/payee": 0, "bank/large": 2}


def test_of_what_nobody_was_told(table: str) -> None:
    (row,) = asked(table, "untold")
    assert (row["approval_id"], row["channel"], row["event"], row["error"], row["came_to"]) == (
        "f",
        "desk",
        "approval_requested",
        "answered 500",
        "expired",
    )
