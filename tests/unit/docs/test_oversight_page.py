"""docs/oversight.md is executed: its queries run over the rows that approvals leave, its rule compiles, its links lead
somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from unit.actors.approvals_bench import bench

from actors.approvals.events import let_time_pass
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.query import query
from policies.compile import compile_sources

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "oversight.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of one approval within a second, one denial within a minute, one that nobody looked at, and
    one that waits."""
    desk = bench(tmp_path_factory.mktemp("desk"))
    approved = desk.asked(5000)
    desk.pass_s(1)
    desk.approve(approved, "user:anna", "user:bert")
    desk.pay(5000, approval=approved)
    denied = desk.asked(6000)
    desk.asked(7000)
    desk.pass_s(60)
    desk.deny(denied, "user:anna")
    desk.pass_s(1800)
    let_time_pass(desk.owner)
    desk.asked(8000)
    journal = desk.owner.journal
    records = [(canonical, leaf) for _, canonical, leaf in journal.pending(after_seq=-1, limit=1_000)]
    folder = tmp_path_factory.mktemp("table")
    batch = LogBatch(log_id=journal.log_id, first_seq=0, last_seq=len(records) - 1, records=records)
    EvidenceTable.open_or_create(str(folder)).land([batch], ingest_time_us=desk.world.wall_us)
    return folder


def rows(table: Path, number: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = query(str(table), QUERIES[number]).to_pylist()
    return found


def test_the_first_query_says_who_waited_how_long(table: Path) -> None:
    waited = [(row["approver_id"], row["waited_s"]) for row in rows(table, 0)]
    assert waited == [("user:anna", 1), ("user:bert", 1), ("user:anna", 60)]


def test_the_second_query_says_who_approves_without_reading(table: Path) -> None:
    found = {row["approver_id"]: (row["decided"], row["approved"], row["at_once"]) for row in rows(table, 1)}
    assert found == {"user:anna": (2, 0.5, 1), "user:bert": (1, 1.0, 1)}


def test_the_third_query_says_who_is_waited_for(table: Path) -> None:
    assert len(rows(table, 2)) == 1


def test_the_fourth_query_says_what_came_of_requests(table: Path) -> None:
    found = {row["event_type"] for row in rows(table, 3)}
    assert found == {"approval_consumed", "approval_denied", "approval_expired"}
    assert len(QUERIES) == 4


def test_the_rule_of_the_page_compiles() -> None:
    (rule,) = re.findall(r"   ```yaml\n(.*?)   ```", PAGE, re.DOTALL)
    head = "kind: Catalog\ntools: {payments.transfer: {args: {amount: {type: decimal}}}}\n---\n"
    policy = "kind: Policy\nname: p\nrules:\n"
    assert compile_sources([("p.yaml", head + policy + rule)]).rules[0].approval is not None


def test_every_event_of_the_story_is_one_that_the_code_writes(table: Path) -> None:
    (story,) = re.findall(r"## From a question to an answer\n\n```\n(.*?)```", PAGE, re.DOTALL)
    written = {
        orjson.loads(name)
        for name in re.findall(r'= ("approval_\w+")', (ROOT / "actors" / "approvals" / "rows.py").read_text())
    }
    assert set(re.findall(r"approval_\w+", story)) <= written


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
