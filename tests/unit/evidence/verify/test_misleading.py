"""What makes readers see something else than what the leaves are computed from: each is a fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.evidence.verify import attacks
from unit.evidence.verify.signed_table import EVIL, KEY_A, KEY_B, SignedTable, actions, found, landed, rewrite

from evidence.note import Note, NoteError
from evidence.proof import NoProofError, check
from evidence.prove import prove
from evidence.rotation import rotate
from evidence.verify.faults import UnreadableError


@pytest.fixture
def table(tmp_path: Path) -> SignedTable:
    return landed(tmp_path / "evidence")


def rearranged(table: SignedTable, edit: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    """As a compaction would, a file with just the leaves that were signed; what else it holds is `edit`'s."""
    path = table.data_files()[0]
    name = attacks.rearrange(table, path, lambda rows: rows, hashes=False)
    entry = table.entry(table.version)
    pq.write_table(edit(attacks.read(path)), table.path / name, **options)
    changed = actions(entry)
    for action in changed:
        if "add" in action:
            action["add"]["size"] = (table.path / name).stat().st_size
    rewrite(entry, changed)


def filled(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.append_column(name, pa.array(["mallory"] * len(rows)))


def as_type(name: str, type_: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def edit(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.schema.get_field_index(name), name, rows.column(name).cast(type_))

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        filled("Approver_ID"),  # for readers without regard to case: `approver_id`
        filled("event_date"),
        as_type("action", pa.binary()),
        as_type("seq", pa.string()),
        as_type("event_time", pa.timestamp("us")),
    ],
    ids=["case", "date", "bytes", "digits", "local_time"],
)
def test_a_file_that_others_read_otherwise_is_told(
    table: SignedTable, edit: Callable[[pa.Table], pa.Table]
) -> None:
    rearranged(table, edit)
    assert "schema" in found(table.verify())


def test_a_file_that_is_stored_otherwise_and_says_the_same_holds(table: SignedTable) -> None:
    rearranged(table, lambda rows: rows, use_deprecated_int96_timestamps=True)
    assert table.verify().holds


def test_a_column_that_passes_for_two_others_is_told(table: SignedTable) -> None:
    name = 'action":"forged","agent_id'
    schema(table, lambda fields: [*fields, {**fields[-1], "name": name, "type": "string", "nullable": True}])
    assert found(table.verify()) == {"schema"}


@pytest.mark.parametrize("name", ["Decision", "decision"])
def test_two_columns_of_one_name_are_told(table: SignedTable, name: str) -> None:
    schema(
        table, lambda fields: [*fields, {"name": name, "type": "string", "nullable": True, "metadata": {}}]
    )
    assert "schema" in found(table.verify())


def schema(table: SignedTable, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    later = [v for v in range(table.version + 1) if any("metaData" in a for a in actions(table.entry(v)))]
    metadata = next(a["metaData"] for a in actions(table.entry(later[-1])) if "metaData" in a)
    fields = json.loads(metadata["schemaString"])["fields"]
    metadata["schemaString"] = json.dumps({"type": "struct", "fields": edit(fields)})
    rewrite(table.entry(table.version + 1), [{"metaData": metadata}])


def moved(table: SignedTable) -> tuple[Path, list[dict[str, Any]]]:
    attacks.rearrange(table, table.data_files()[0], lambda rows: rows, hashes=False)
    entry = table.entry(table.version)
    assert table.verify().holds
    return entry, actions(entry)


@pytest.mark.parametrize(
    "edit",
    [
        lambda remove: {**remove, "path": remove["path"].replace("part-", "part%2D")},
        lambda remove: {**remove, "deletionVector": {"storageType": "u", "pathOrInlineDv": "x"}},
    ],
    ids=["percent", "vector"],
)
def test_a_removal_that_readers_do_not_follow_is_told(
    table: SignedTable, edit: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    entry, changed = moved(table)
    rewrite(
        entry, [{kind: edit(body) if kind == "remove" else body} for a in changed for kind, body in a.items()]
    )
    assert found(table.verify()) == {"delta_operation"}


def test_a_file_that_is_removed_and_added_in_one_version_is_told(table: SignedTable) -> None:
    entry, changed = moved(table)
    remove, add = changed[1]["remove"], changed[2]["add"]
    path = table.path / remove["path"]
    same = {**add, "path": remove["path"], "size": path.stat().st_size}
    rewrite(entry, [changed[0], {"remove": remove}, {"add": same}])
    assert found(table.verify()) == {"delta_operation"}


@pytest.mark.parametrize("what", ["twice", "both", "stats"])
def test_an_entry_that_can_be_read_in_two_ways_is_told(table: SignedTable, what: str) -> None:
    entry, changed = moved(table)
    add = changed[2]["add"]
    if what == "both":
        rewrite(entry, [changed[0], {**changed[1], **changed[2]}])
    elif what == "stats":
        rewrite(entry, [*changed[:2], {"add": {**add, "stats": '{"numRecords":0,' + add["stats"][1:]}}])
    else:
        written = entry.read_text()
        entry.write_text(written.replace('{"add": {', '{"add": {"path": "elsewhere", '))
    assert "delta_log_rewritten" in found(table.verify())


def test_a_partition_of_more_than_a_date_is_told(table: SignedTable) -> None:
    entry, changed = moved(table)
    changed[2]["add"]["partitionValues"]["decision"] = "allow"
    rewrite(entry, changed)
    assert "delta_operation" in found(table.verify())


@pytest.mark.parametrize("more", [{"parts": 2}, {"v2Checkpoint": {"path": "x.parquet"}}])
def test_a_last_checkpoint_that_leads_elsewhere_is_told(table: SignedTable, more: dict[str, Any]) -> None:
    table.checkpoint()
    last = table.path / "_delta_log" / "_last_checkpoint"
    last.write_text(json.dumps({**json.loads(last.read_text()), **more}))
    assert found(table.verify()) == {"delta_log_rewritten"}


def test_one_witness_does_not_count_twice(table: SignedTable) -> None:
    key = str(EVIL.named("witness").public)
    with pytest.raises(UnreadableError, match="twice"):
        table.verify(witness_keys=[key, str(EVIL.named("other").public)])


def test_a_note_that_is_no_utf8_is_none() -> None:
    with pytest.raises(NoteError):
        Note.parse("\ud800\n0\nAA==\n\n— a YWFhYWE=\n")


def test_a_replaced_key_hands_over_once(table: SignedTable) -> None:
    time = "2026-09-04T12:00:00Z"
    event = attacks.read(table.data_files()[0]).column("event_id")[0].as_py()
    proof = prove(str(table.path), event)
    forged = replace(proof, rotations=(rotate(KEY_A, KEY_B, time=time), rotate(KEY_A, EVIL, time=time)))
    with pytest.raises(NoProofError, match="two rotations"):
        check(forged, [KEY_B.public])


def test_nulls_that_hide_lists_are_told(table: SignedTable) -> None:
    entry, changed = moved(table)
    add = changed[2]["add"]
    add["stats"] = json.dumps({**json.loads(add["stats"]), "nullCount": {"rule_ids": 1_000_000}})
    rewrite(entry, changed)
    assert found(table.verify()) == {"file_changed"}
