"""Durations as policies write them: `10s`, `30m`, `24h`, `7d`."""

from __future__ import annotations

_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def duration_us(text: str) -> int:
    """Microseconds of a duration that has passed validation."""
    return int(text[:-1]) * _UNIT_US[text[-1]]
