"""When a delivery that failed is tried again: exponential back-off with jitter over about a day. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_S: Final = 10
FACTOR: Final = 3
LONGEST_S: Final = 21_600
ATTEMPTS: Final = 11
"""The first one included: 10 s, 30 s, 90 s, 4.5 min, 13.5 min, 40 min, 2 h, then every 6 h; 21 hours in all."""
JITTER: Final = 0.2
LONGEST_ASKED_S: Final = 86_400


def delay_s(attempts: int, *, random: float, asked_s: int | None = None) -> float | None:
    """How long to wait after so many attempts; None = not again.

    Args:
        random: 0 ≤ random < 1; spreads the delay by a fifth to either side, so that what failed together does not
            come back together.
        asked_s: what the receiver's `Retry-After` said. It is waited for, a day at most, and never cut short.
    """
    if attempts >= ATTEMPTS:
        return None
    planned: float = min(FIRST_S * FACTOR ** (attempts - 1), LONGEST_S) * (1 - JITTER + 2 * JITTER * random)
    return max(planned, min(asked_s or 0, LONGEST_ASKED_S))


def read_retry_after(value: str | None, *, now_s: float) -> int | None:
    """Seconds from now; None when there is no such header, or nobody can tell what it says."""
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, round((moment - datetime.fromtimestamp(now_s, UTC)).total_seconds()))
