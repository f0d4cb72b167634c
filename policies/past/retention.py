"""How far back a past is kept."""

from __future__ import annotations

from typing import Final

HISTORY_DAYS: Final = 30
"""Permitted actions are kept that long for rules to come; no session lives longer."""

HISTORY_US: Final = HISTORY_DAYS * 86_400_000_000
