"""What was answered against the evidence table: whatever differs is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from integration.crashes.traffic import Told

from evidence.delta.reading import open_dataset
from evidence.record import canonical_from_arrow, leaf_hash


def check(table: Path, told: Mapping[str, Told], journalled: Mapping[str, list[tuple[int, int]]]) -> int:
    """Nothing lost, nothing twice, nothing otherwise.

    Args:
        told: by owner. Everything that was asked for must have been answered.
        journalled: by owner, (number, sequence number) of what its state says it has recorded.
    Returns: how many rows were compared.
    Raises: AssertionError: naming what is wrong.
    """
    rows = open_dataset(str(table)).to_table()
    logs = {name: {log_id for log_id, _ in each.rows} for name, each in told.items()}
    assert all(len(names) == 1 for names in logs.values()), f"an owner changed its log: {logs}"
    found = set(rows.column("log_id").unique().to_pylist())
    assert found == set().union(*logs.values()), f"the table has the logs {found}"
    for name, (log_id,) in logs.items():
        mine = rows.filter(pa.compute.equal(rows.column("log_id"), log_id)).sort_by("seq")
        _check_log(log_id, mine, told[name], {seq: number for number, seq in journalled[name]})
    return int(rows.num_rows)


def _check_log(log_id: str, rows: pa.Table, told: Told, journalled: dict[int, int]) -> None:
    seqs = rows.column("seq").to_pylist()
    assert seqs == list(range(len(seqs))), f"`{log_id}` has gaps or duplicates: {_first_odd(seqs)}"
    canonical = canonical_from_arrow(rows)
    leaves = rows.column("leaf_hash").to_pylist()
    numbers = [json.loads(details)["number"] for details in rows.column("details").to_pylist()]
    assert sorted(numbers) == list(range(told.asked)), f"`{log_id}` does not have each number once"
    missing = [seq for _, seq in told.rows if seq >= len(seqs)]
    assert not missing, f"`{log_id}`: {len(missing)} answered rows are not in the table, first {missing[:3]}"
    assert len(told.rows) == len(seqs), f"`{log_id}`: {len(seqs)} rows, {len(told.rows)} answered"
    for (_, seq), (number, acknowledged) in told.rows.items():
        assert numbers[seq] == number, f"`{log_id}` {seq}: answered for {number}, holds {numbers[seq]}"
        assert acknowledged in (b"", canonical[seq]), f"`{log_id}` {seq} is not as it was answered"
        assert leaf_hash(canonical[seq]) == leaves[seq], f"`{log_id}` {seq}: its leaf is another row's"
    assert journalled == dict(enumerate(numbers)), f"`{log_id}`: its owner's state says something else"


def _first_odd(seqs: list[int]) -> list[int]:
    at = next(index for index, seq in enumerate(seqs) if seq != index)
    return seqs[max(0, at - 2) : at + 3]
