"""What an owner's journal may hold at most, unless an operator says otherwise."""

from __future__ import annotations

EVIDENCE_BACKLOG = 5_000_000
"""Rows that have not landed: a quarter of an hour at 5 000 decisions/s, and a few gigabytes."""

OUTCOME_TIMEOUT_S = 3_600
"""After which a permitted action should have been reported on."""
