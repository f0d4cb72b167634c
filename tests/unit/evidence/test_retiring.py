"""Dates leave a real table: whole, checked, under a signed note, and over every crash in between."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable
from unit.evidence.retired_tables import RetiredTable, changed, day, forge
from unit.evidence.signed_tables import NAME

from evidence import durability
from evidence.delta import retiring
from evidence.delta.departing import depart
from evidence.delta.maintenance import Cadence
from evidence.delta.reading import open_dataset
from evidence.delta.retiring import retirements
from evidence.delta.signed_sizes import SignedSizes
from evidence.errors import (
    EvidenceDamagedError,
    EvidenceUnavailableError,
    RetentionOvertakenError,
    SchemaMismatchError,
)
from evidence.note import PrivateKey
from evidence.retention import Hold, Retirement
from evidence.signing_keys import Signer
from evidence.storage import storage_at
from evidence.verify.verifier import Options, verify


@pytest.fixture
def table(tmp_path: Path) -> RetiredTable:
    return RetiredTable(tmp_path)


def dates(table: RetiredTable) -> list[date]:
    return sorted(set(open_dataset(str(table.path)).to_table(columns=["event_date"]).column(0).to_pylist()))


def operations(table: RetiredTable) -> list[str]:
    """Of all versions; a change of properties with what it sets `appendOnly` to."""
    found = []
    for version in range(DeltaTable(table.path).version() + 1):
        info = json.loads(durability.log_file(table.path, version).read_text().splitlines()[0])["commitInfo"]
        properties = json.loads(info["operationParameters"].get("properties", "{}"))
        found.append(" ".join([info["operation"], *(properties.values())]))
    return found[3:]  # after its creation


def holds(table: RetiredTable) -> bool:
    """Whether the verifier accounts for every row that there ever was, by its leaf or by a retention note."""
    report = verify(str(table.path), Options(keys=[str(table.key())], jobs=1))
    assert report.holds, list(report.lines())
    return {each.log_id: each.size for each in report.logs} == {
        log_id: len(leaves) for log_id, leaves in table.leaves.items()
    }


def test_dates_that_are_old_leave_whole_and_the_logs_root_still_follows(table: RetiredTable) -> None:
    table.land(0, 4)
    table.land(5, 9)
    departure = table.retire(today=13)  # days 0, 1 and 2 ended ten days ago or earlier
    assert departure.dates == (day(0), day(1), day(2))
    assert dates(table) == [day(number) for number in range(3, 10)]
    assert [(each.first, each.count) for each in departure.segments] == [(0, 12)]
    assert holds(table)
    assert operations(table)[-3:] == ["SET TBLPROPERTIES false", "DELETE", "SET TBLPROPERTIES true"]


def test_a_date_leaves_after_another_that_ended_in_the_middle_of_a_landing(table: RetiredTable) -> None:
    table.land(0, 3, rows=5)  # one checkpoint, at 20: the trees at 5, 10 and 15 were never signed
    table.land(4, 9)
    for today, left in ((11, (0, 5)), (12, (5, 5)), (14, (10, 10))):
        (segment,) = table.retire(today=today).segments
        assert (segment.first, segment.count) == left
        assert holds(table)


def test_what_a_hold_kept_leaves_later_between_two_that_have_left(table: RetiredTable) -> None:
    table.land(0, 0)
    table.land(1, 1, agent_id="suspect")
    table.land(2, 9)
    hold = Hold(id="hld_1", tenant="default", agent="suspect")
    survey = table.survey(today=14, holds=(hold,))
    assert survey.choice.held == {day(1): ("hld_1",)}
    departure = table.retire(today=14, holds=(hold,))
    assert departure.dates == (day(0), day(2), day(3))
    assert dates(table)[0] == day(1)
    assert holds(table)
    assert table.retire(today=14).dates == (day(1),)
    assert holds(table)


@pytest.mark.parametrize(
    ("given", "columns", "holds"),
    [
        ({"agent": "bot"}, {"agent_id": "bot"}, True),
        ({"agent": "bot"}, {"parent_agent_id": "bot"}, True),
        ({"agent": "bot"}, {"agent_id": "robot"}, False),
        ({"agent": "bot"}, {"agent_id": "bot", "tenant_id": "other"}, False),
        ({"session": "ses_9"}, {"session_id": "ses_9"}, True),
        ({"workflow": "wf_9"}, {"workflow_id": "wf_9"}, True),
        ({"workflow": "wf_9", "agent": "bot"}, {"workflow_id": "wf_9"}, False),
        ({}, {}, True),
        ({}, {"tenant_id": "other"}, False),
        ({"first": day(0), "last": day(0)}, {}, True),
        ({"first": day(1)}, {}, False),
        ({"last": day(-1)}, {}, False),
    ],
    ids=str,
)
def test_a_hold_keeps_the_dates_of_rows_that_it_matches(
    table: RetiredTable, given: dict[str, Any], columns: dict[str, Any], holds: bool
) -> None:
    table.land(0, 0, **columns)
    choice = table.survey(today=11, holds=(Hold(id="hld_1", tenant="default", **given),)).choice
    assert choice.held == ({day(0): ("hld_1",)} if holds else {})
    assert [each.date for each in choice.leaving] == ([] if holds else [day(0)])


def test_rows_that_come_late_stay_as_long_after_they_landed_and_then_leave_as_a_segment(
    table: RetiredTable,
) -> None:
    table.land(0, 3)
    table.land(0, 0, log_id="host-001", landed=20)
    assert table.survey(today=25).choice.late == (day(0),)
    assert table.retire(today=25).dates == (day(1), day(2), day(3))
    assert table.retire(today=31).dates == (day(0),)
    table.land(0, 0, log_id="host-002", landed=40)  # of a date that has left
    assert table.survey(today=45).choice.late == (day(0),)
    assert [each.log_id for each in table.retire(today=51).segments] == ["host-002"]
    assert holds(table)


def test_a_log_of_which_everything_left_goes_on(table: RetiredTable) -> None:
    table.land(0, 3)
    table.retire(today=20)
    assert dates(table) == []
    table.open()
    table.land(21, 21)
    assert holds(table)


def test_after_the_files_of_what_left_are_gone_nothing_is_missing(table: RetiredTable) -> None:
    table.land(0, 3)
    files = set(table.path.glob("*/*.parquet"))
    table.retire(today=12)
    table.table._cadence = Cadence(replaced_files_hours=0)
    table.table.remove_replaced_files()
    assert len(files - set(table.path.glob("*/*.parquet"))) == 2
    table.open()
    table.land(4, 4)
    assert holds(table)


def test_the_checkpoints_table_can_be_made_again_after_rows_have_left(table: RetiredTable) -> None:
    table.land(0, 0, rows=3)
    table.land(1, 1, rows=3)  # the root at its beginning lies at the end of what leaves first
    table.land(2, 6, rows=3)
    table.land(2, 6, log_id="host-001")
    table.retire(today=11)
    table.retire(today=13)
    table.land(7, 7)
    table.retire(today=14)
    shutil.rmtree(table.checkpoints)
    table.open()
    table.land(8, 8)
    table.land(8, 8, log_id="host-001")
    assert holds(table)
    table.retire(today=17)
    assert dates(table) == [day(7), day(8)]
    assert holds(table)


# -- what must not leave ------------------------------------------------------------------------------------------


def _swap(rows: pa.Table) -> pa.Table:
    at = rows.schema.get_field_index("seq")
    values = rows.column("seq").to_pylist()
    return rows.set_column(at, rows.schema.field(at), pa.array([values[1], values[0], *values[2:]]))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(changed, id="changed"),
        pytest.param(_swap, id="swapped"),
        pytest.param(lambda rows: rows.slice(1), id="the first missing"),
        pytest.param(lambda rows: rows.slice(0, 3), id="the last missing"),
        pytest.param(lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), id="one twice"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_rows_that_are_not_those_that_were_signed_do_not_leave(
    table: RetiredTable, change: Callable[[pa.Table], pa.Table], number: int
) -> None:
    table.land(0, 3)
    forge(table, change, number)
    with pytest.raises(EvidenceDamagedError):
        table.check(today=12)


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_cannot_be_read_keeps_everything(table: RetiredTable, number: int) -> None:
    table.land(0, 3)
    (file,) = (table.path / f"event_date={day(number).isoformat()}").glob("*.parquet")
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(EvidenceDamagedError, match="cannot be read"):
        table.check(today=12)


def test_rows_that_no_checkpoint_covers_do_not_leave_until_one_does(table: RetiredTable) -> None:
    table.land(0, 1)
    table.land(2, 3, recorded=False)
    with pytest.raises(EvidenceDamagedError, match="no signed checkpoint"):
        table.check(today=14)
    table.record()
    table.retire(today=14)
    assert holds(table)


def test_a_checkpoint_that_somebody_else_signed_covers_nothing(table: RetiredTable) -> None:
    table.land(0, 3)
    stranger = PrivateKey(NAME, b"\1" * 32).public
    assert table.signed.after("host-000", 16) is not None
    with pytest.raises(EvidenceDamagedError, match="not ours"):
        SignedSizes(str(table.checkpoints), [stranger]).after("host-000", 16)


def test_a_checkpoint_of_before_the_key_changed_covers_what_it_covered(table: RetiredTable) -> None:
    table.land(0, 3)
    table.keys.rotate(time="2026-09-04T12:00:00Z", random_bytes=table.seed)
    departure = depart(
        table.survey(today=14), SignedSizes(str(table.checkpoints), Signer(files=table.keys).known())
    )
    table.leave(departure)  # the first commit under the new key
    table.open()
    table.land(4, 4)
    assert holds(table)


def test_files_that_came_after_the_check_are_no_part_of_it(table: RetiredTable) -> None:
    table.land(0, 3)
    departure = table.check(today=12)
    table.land(0, 0, log_id="host-001", landed=12)
    with pytest.raises(RetentionOvertakenError):
        table.leave(departure)
    assert operations(table) == ["WRITE", "WRITE"]
    table.land(4, 4)


# -- crashes ------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here: nothing after it happens, nothing is caught."""


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    def at(commit: int) -> None:
        """End right after this commit of a retirement; 0 = before the first."""
        done = 0
        real = retiring.CommitProperties

        def counted(*given: Any, **named: Any) -> Any:
            nonlocal done
            if done == commit:
                raise Crash
            done += 1
            return real(*given, **named)

        monkeypatch.setattr(retiring, "CommitProperties", counted)

    yield at


@pytest.mark.parametrize(("commit", "left"), [(0, False), (1, False), (2, True)])
def test_a_crash_between_any_two_commits_is_completed_or_undone_at_the_next_opening(
    table: RetiredTable,
    crash: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    commit: int,
    left: bool,
) -> None:
    table.land(0, 9)
    departure = table.check(today=12)
    crash(commit)
    with pytest.raises(Crash):
        table.leave(departure)
    monkeypatch.undo()
    table.open()
    assert (dates(table)[0] == day(2)) is left
    assert (
        operations(table)[1:]
        == [
            [],
            ["SET TBLPROPERTIES false", "SET TBLPROPERTIES true"],
            ["SET TBLPROPERTIES false", "DELETE", "SET TBLPROPERTIES true"],
        ][commit]
    )
    table.land(10, 10)
    table.retire(today=13)
    assert dates(table)[0] == day(3)
    assert holds(table)


def test_somebody_who_comes_in_between_makes_it_fail_and_the_table_is_locked_again(
    table: RetiredTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.land(0, 9)
    departure = table.check(today=12)
    real = retiring.CommitProperties
    seen: list[int] = []

    def interfering(*given: Any, **named: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:  # the DELETE
            DeltaTable(table.path).alter.set_table_description("mine")
        return real(*given, **named)

    monkeypatch.setattr(retiring, "CommitProperties", interfering)
    with pytest.raises(RetentionOvertakenError):
        table.leave(departure)
    assert dates(table)[0] == day(0)
    assert DeltaTable(table.path).metadata().configuration["delta.appendOnly"] == "true"
    table.land(10, 10)


def _unlock(table: RetiredTable, **metadata: str) -> None:
    DeltaTable(table.path).alter.set_table_properties(
        {"delta.appendOnly": "false"}, commit_properties=CommitProperties(custom_metadata=metadata or None)
    )


@pytest.mark.parametrize("how", ["without a note", "with a note of another key", "with a text that is none"])
def test_a_table_that_somebody_else_unlocked_is_not_opened(table: RetiredTable, how: str) -> None:
    table.land(0, 9)
    retirement = Retirement.of(table.check(today=12), name=NAME, time_us=0)
    note = retirement.signed(PrivateKey(NAME, b"\1" * 32))
    match how:
        case "without a note":
            _unlock(table)
        case "with a note of another key":
            _unlock(table, **{retiring.UNLOCK: str(note)})
        case _:
            _unlock(table, **{retiring.UNLOCK: "note"})
    with pytest.raises(SchemaMismatchError, match="appendOnly"):
        table.open()


def test_nothing_lands_in_a_table_that_somebody_else_unlocks_under_our_hands(table: RetiredTable) -> None:
    table.land(0, 9)
    _unlock(table)
    with pytest.raises((SchemaMismatchError, EvidenceUnavailableError)):
        table.land(10, 10)
    assert dates(table)[-1] == day(9)


def test_a_delete_of_somebody_else_after_our_unlocking_is_not_made_good(
    table: RetiredTable, crash: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table.land(0, 9)
    departure = table.check(today=12)
    crash(1)
    with pytest.raises(Crash):
        table.leave(departure)
    monkeypatch.undo()
    DeltaTable(table.path).delete(f"event_date = '{day(5).isoformat()}'")
    with pytest.raises(SchemaMismatchError, match="appendOnly"):
        table.open()


def test_the_note_in_the_commit_is_signed_and_says_what_left(table: RetiredTable) -> None:
    table.land(0, 9)
    departure = table.check(today=12)
    retirement = table.leave(departure)
    (left,) = retirements(storage_at(table.path), DeltaTable(table.path).version())
    assert left.note.signed_by(table.key().named(f"{NAME}/_retention"))
    assert (left.retirement, left.ranges) == (retirement, departure.ranges)
    assert (retirement.partitions, retirement.segments) == (departure.dates, departure.segments)
    assert str(left.note) in table.notes_in_files()[left.version]
