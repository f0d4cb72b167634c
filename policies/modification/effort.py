"""How much a finder may try in one text before it gives up: whoever gives up denies, so that nothing slips through."""

from __future__ import annotations

from typing import Final

MOST_TRIES: Final = 20_000
"""Of candidates that one operation looks at; some tens of milliseconds."""


class TooMuchError(Exception):
    """More candidates than are looked at."""


class Effort:
    """What is left of `MOST_TRIES`."""

    __slots__ = ("_left",)

    def __init__(self, most: int = MOST_TRIES) -> None:
        self._left = most

    def spend(self, tries: int = 1) -> None:
        """Raises: TooMuchError."""
        self._left -= tries
        if self._left < 0:
            raise TooMuchError
