"""Tables that nobody attacked verify, whatever was done to them in the ordinary way."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from unit.evidence.evidence_samples import NOON_US, full_row, log, record, small_row
from unit.evidence.verify.signed_table import KEY_A, KEY_B, NAME, SignedTable, found, landed

from evidence.checkpoint import DELTA_LOG, RETENTION, origin_of
from evidence.commit_metadata import KEY, CommitEvidence
from evidence.delta.shape import HOOKS
from evidence.landing import LogBatch
from evidence.merkle import CompactRange, segment_nodes
from evidence.note import COSIGNATURE, Note, PrivateKey, PublicKey, signed_note, written_notes
from evidence.retention import Retirement, Segment
from evidence.verify.faults import UnreadableError

STEP_US = 900_000_000


def test_a_table_as_it_landed_holds(tmp_path: Path) -> None:
    table = landed(tmp_path)
    report = table.verify()
    assert report.holds
    assert (report.rows, report.version, report.pinned) == (90, table.version, True)
    assert {each.log_id: (each.rows, each.signed) for each in report.logs} == {
        "log-a": (60, 60),
        "log-b": (30, 30),
    }
    assert report.delta_entries_signed == table.version


def test_maintenance_changes_no_row(tmp_path: Path) -> None:
    table = landed(tmp_path)
    table.compact()
    table.checkpoint()
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US))
    table.table.optimize.z_order(["agent_id", "seq"])
    table.vacuum()
    table.checkpoint()
    table.land(log(70, 79, log_id="log-a", step_us=STEP_US))
    report = table.verify(checkpoints=[str(table.files)])
    assert report.holds, report.faults
    assert (report.rows, report.delta_entries_signed) == (110, table.version)


def test_rows_of_every_form(tmp_path: Path) -> None:
    rows = [
        full_row(),
        small_row(),
        full_row(reasons=[], atoms=[""], details='{"a":"\\u0000\\""}'),
        small_row(),
    ]
    records = [
        record({**row, "seq": seq, "event_id": f"event-{seq}"})  # type: ignore[typeddict-item]
        for seq, row in enumerate(rows)
    ]
    table = SignedTable(tmp_path)
    table.land(LogBatch(log_id="host-000", first_seq=0, last_seq=3, records=records))
    assert table.verify().holds


def test_a_column_that_was_added_later(tmp_path: Path) -> None:
    from deltalake.schema import Field, PrimitiveType

    table = landed(tmp_path)
    table.table.alter.add_columns([Field("added_later", PrimitiveType("string"), nullable=True)])
    assert table.verify().holds


def test_a_table_without_rows_and_signatures_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no key can be held against it"):
        SignedTable(tmp_path).verify()


def test_rows_from_before_the_first_checkpoint_are_covered_by_it(tmp_path: Path) -> None:
    table = SignedTable(tmp_path)
    table.land(log(0, 9), signed=False)
    assert found(table.verify()) == {"checkpoint_missing"}
    table.land(log(10, 19))
    assert table.verify().holds


def test_a_landing_without_a_checkpoint_is_a_fault_from_then_on(tmp_path: Path) -> None:
    table = SignedTable(tmp_path)
    table.land(log(0, 9))
    table.land(log(10, 19), signed=False)
    table.land(log(20, 29))
    report = table.verify()
    assert found(report) == {"checkpoint_missing"}
    assert {fault.version for fault in report.faults} == {table.version - 1}


@pytest.mark.parametrize("pinned", [KEY_A, KEY_B])
def test_a_rotation_links_both_keys_whichever_is_pinned(tmp_path: Path, pinned: PrivateKey) -> None:
    table = landed(tmp_path)
    table.rotate(KEY_B)
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US))
    report = table.verify(keys=[pinned])
    assert report.holds, report.faults
    assert report.keys == (str(KEY_A.public), str(KEY_B.public))


def retire(
    table: SignedTable, date: str, segments: list[Segment], *, partitions: str = "", key: PrivateKey = KEY_A
) -> None:
    """What a retention run does: unlock, delete a date under a signed note, lock."""
    from datetime import date as day

    from deltalake import CommitProperties

    retirement = Retirement(
        origin=origin_of(NAME, RETENTION),
        time_us=NOON_US,
        partitions=(day.fromisoformat(partitions or date),),
        segments=tuple(segments),
    )
    note = signed_note(retirement.text, key.named(retirement.origin))
    delta = table.table
    delta.alter.set_table_properties({"delta.appendOnly": "false"})
    version = table.version + 1
    before = CompactRange().append(table.entry_leaves(version))
    head = table.note(DELTA_LOG, before)
    evidence = CommitEvidence(checkpoints=(head,), retention=note)
    delta.delete(
        f"event_date = '{date}'",
        commit_properties=CommitProperties(custom_metadata={KEY: evidence.to_json()}),
        post_commithook_properties=HOOKS,
    )
    delta.alter.set_table_properties({"delta.appendOnly": "true"})
    table._store(version, [(DELTA_LOG, before)], [head])


def leaves(log_id: str, first: int, count: int) -> list[bytes]:
    return [leaf for _, leaf in log(first, first + count - 1, log_id=log_id, step_us=STEP_US).records]


def segment(log_id: str, first: int, count: int) -> Segment:
    nodes = segment_nodes(leaves(log_id, first, count), first)
    return Segment(log_id=log_id, first=first, count=count, nodes=nodes)


FIRST_DATE = [
    segment("log-a", 0, 48),
    segment("log-b", 0, 30),
]  # 48 steps of 15 minutes from noon to midnight


def test_a_date_that_left_under_a_retention_note(tmp_path: Path) -> None:
    table = landed(tmp_path)
    retire(table, "2026-09-04", FIRST_DATE)
    report = table.verify(checkpoints=[str(table.files)])
    assert report.holds, report.faults
    assert (report.rows, report.retained_rows) == (12, 78)
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US), log(30, 39, log_id="log-b", step_us=STEP_US))
    assert table.verify().holds


def test_a_date_in_the_middle_may_leave_while_an_earlier_one_is_held(tmp_path: Path) -> None:
    table = landed(tmp_path)
    retire(table, "2026-09-05", [segment("log-a", 48, 12)])
    report = table.verify()
    assert report.holds, report.faults
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US))
    assert table.verify().holds


@pytest.mark.parametrize(
    ("case", "segments", "options", "codes"),
    [
        ("wrong nodes", [segment("log-a", 0, 48), segment("log-b", 0, 29)], {}, {"tail_missing"}),
        ("another key", FIRST_DATE, {"key": KEY_B}, {"key_unknown", "row_missing", "log_missing"}),
        (
            "another date",
            FIRST_DATE,
            {"partitions": "2026-09-03"},
            {"delta_operation", "row_missing", "log_missing"},
        ),
        ("a log left out", [segment("log-a", 0, 48)], {}, {"log_missing"}),
    ],
)
def test_a_retention_note_that_does_not_say_what_left(
    tmp_path: Path, case: str, segments: list[Segment], options: dict[str, str], codes: set[str]
) -> None:
    table = landed(tmp_path)
    retire(table, "2026-09-04", segments, **options)  # type: ignore[arg-type]
    assert found(table.verify()) == codes


def test_a_table_left_unlocked_is_told(tmp_path: Path) -> None:
    table = landed(tmp_path)
    table.table.alter.set_table_properties({"delta.appendOnly": "false"})
    assert found(table.verify()) == {"delta_operation"}


WITNESSES = [PrivateKey(f"witness-{seed}", bytes([seed]) * 32) for seed in (11, 12)]


def witness_keys(count: int = 2) -> list[str]:
    return [
        str(PublicKey(name=each.public.name, key=each.public.key, type=COSIGNATURE))
        for each in WITNESSES[:count]
    ]


def cosigned(table: SignedTable, path: Path, *, witnesses: list[PrivateKey]) -> None:
    """A file with the newest checkpoint of each log, cosigned."""
    notes = [table.note(log_id, range_) for log_id, range_ in table.ranges.items()]
    path.write_text(
        written_notes(
            Note(
                text=note.text,
                signatures=note.signatures + tuple(each.cosign(note.text, time_s=1) for each in witnesses),
            )
            for note in notes
        )
    )


def test_witnesses_cosign_and_the_report_says_how_far(tmp_path: Path) -> None:
    table, path = landed(tmp_path), tmp_path / "cosigned.notes"
    cosigned(table, path, witnesses=WITNESSES)
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US))
    report = table.verify(checkpoints=[str(path)], witness_keys=witness_keys())
    assert report.holds, report.faults
    assert {each.log_id: each.witnessed for each in report.logs} == {"log-a": 60, "log-b": 30}


def test_too_few_witnesses_are_a_fault(tmp_path: Path) -> None:
    table, path = landed(tmp_path), tmp_path / "cosigned.notes"
    cosigned(table, path, witnesses=WITNESSES[:1])
    report = table.verify(checkpoints=[str(path)], witness_keys=witness_keys())
    assert found(report) == {"checkpoint_missing"}
    assert {fault.log_id for fault in report.faults} == {"log-a", "log-b"}
    assert table.verify(checkpoints=[str(path)], witness_keys=witness_keys(), quorum=1).holds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoints": ["/no/such/place"]}, "neither a file of notes nor a folder"),
        ({"witness_keys": ["no key"]}, "is no key"),
        ({"quorum": 3}, "needs as many witness keys"),
    ],
)
def test_what_cannot_be_read_gives_no_verdict(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UnreadableError, match=message):
        SignedTable(tmp_path).verify(**options)


def test_without_a_key_there_is_no_verdict(tmp_path: Path) -> None:
    table = landed(tmp_path)
    (tmp_path / "keys.vkey").unlink()
    with pytest.raises(UnreadableError, match="no key to verify signatures with"):
        table.verify(keys=[])


def test_there_is_no_table(tmp_path: Path) -> None:
    from evidence.verify.verifier import Options, verify

    with pytest.raises(UnreadableError, match="no Delta table"):
        verify(str(tmp_path), Options(keys=[str(KEY_A.public)]))


def test_worker_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidence.verify import workers
    from evidence.verify.verifier import Options, verify

    monkeypatch.setattr(workers, "_FEW_BYTES", 0)
    table = landed(tmp_path)
    one = table.verify()
    two = verify(str(table.path), Options(keys=[str(KEY_A.public)], jobs=2))
    assert two == one


def test_a_schema_that_the_format_does_not_have_is_told(tmp_path: Path) -> None:
    from deltalake.schema import Field, PrimitiveType

    table = landed(tmp_path)
    table.table.alter.add_columns([Field("strange", PrimitiveType("double"), nullable=True)])
    assert found(table.verify()) == {"schema"}
    assert pa.schema(table.table.schema().to_arrow()).field("strange").type == pa.float64()
