"""How long evidence takes to land, and what a row weighs: read from the Delta log and the files, as they are."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet


def delays_s(table: Path, *, since_us: int) -> dict[str, float]:
    """From the moment of a decision to the moment at which a reader of the table could see its row.

    Args:
        since_us: only commits whose rows are all younger than this (microseconds since the epoch) count.
    Returns: `p50`, `p99` and `max` over all decisions, in seconds. A commit counts as seen when its log entry was
        written.
    """
    delays: list[float] = []
    for entry in sorted((table / "_delta_log").glob("*.json")):
        seen_us = entry.stat().st_mtime_ns / 1000
        for added in _added(entry):
            path = table / added
            if not path.exists():
                continue  # compacted meanwhile
            rows = parquet.read_table(path, columns=["event_time", "event_type"])
            times = [
                value
                for value, kind in zip(
                    rows["event_time"].cast("int64").to_pylist(), rows["event_type"].to_pylist(), strict=True
                )
                if kind == "decision"
            ]
            if times and min(times) >= since_us:
                delays += [(seen_us - value) / 1e6 for value in times]
    delays.sort()
    return {
        "p50": round(statistics.median(delays), 3),
        "p99": round(delays[int(len(delays) * 0.99)], 3),
        "max": round(delays[-1], 3),
        "decisions": len(delays),
    }


def bytes_per_row(table: Path) -> float:
    """Size of the files that the newest version of the table consists of, over its rows."""
    from deltalake import DeltaTable

    actions = DeltaTable(str(table)).get_add_actions(flatten=True)
    sizes, rows = actions["size_bytes"].to_pylist(), actions["num_records"].to_pylist()
    ratio: float = sum(sizes) / sum(rows)
    return round(ratio, 1)


def _added(entry: Path) -> list[str]:
    """Files that a commit added with new rows; what compaction rewrote is not new."""
    actions: list[dict[str, Any]] = [json.loads(line) for line in entry.read_text().splitlines()]
    return [
        action["add"]["path"] for action in actions if "add" in action and action["add"].get("dataChange")
    ]
