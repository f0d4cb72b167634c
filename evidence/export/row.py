"""One row of evidence on its way out, and what every format says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

Row = Mapping[str, Any]
"""Columns by name; times in microseconds since the epoch, bytes as bytes, null as None."""

PRODUCT: Final = "controlplane"
PERMITTED: Final = frozenset({"allow", "modify"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def object_of(text: str | None) -> dict[str, Any]:
    """The JSON object of a `json` column; empty for null and for anything else."""
    try:
        value = orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def decision_of(row: Row, details: Mapping[str, Any]) -> str | None:
    """Id of the decision that the row is, or is about."""
    said = row["event_id"] if row["event_type"] == "decision" else details.get("decision")
    return said if isinstance(said, str) else None


def message(row: Row) -> str:
    """The event in one line for people: what, of whom, on what, and why."""
    words = [row["decision"] or row["outcome"] or row["approval_state"] or "", row["action"] or ""]
    if row["resource_id"]:
        words.append(f"{row['resource_type']} {row['resource_id']}")
    if row["agent_id"]:
        words.append(f"by agent {row['agent_id']}")
    said = " ".join(word for word in words if word)
    why = "; ".join(row["reasons"] or ()) or row["reason_code"] or ""
    return (
        f"{row['event_type']}: " + ": ".join(part for part in (said, why) if part)
        if said or why
        else row["event_type"]
    )


def rfc3339(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null or holds nothing."""
    return {name: value for name, value in values.items() if value is not None and value not in ("", [], {})}
