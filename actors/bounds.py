"""What an owner's journal may hold at most, unless an operator says otherwise."""

from __future__ import annotations

EVIDENCE_BACKLOG = 5_000_000
"""Rows that have not landed: a quarter of an hour at 5 000 decisions/s, and a few gigabytes."""

EVIDENCE_LAG_S = 60
"""How old evidence may become before it has landed, and that is an alarm: landing takes a second or two."""

DISK_LOW_BYTES = 5 * 2**30
"""What must be free where the table and the journals lie, or that is an alarm: a journal at its bound takes as much."""

OUTCOME_TIMEOUT_S = 3_600
"""After which a permitted action should have been reported on."""
