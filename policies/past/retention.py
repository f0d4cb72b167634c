"""How long what was permitted is remembered for rules that do not exist yet."""

from __future__ import annotations

from typing import Final

HISTORY_DAYS: Final = 30
HISTORY_US: Final = HISTORY_DAYS * 86_400_000_000
