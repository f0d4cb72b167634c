"""E-mail addresses inside a text."""

from __future__ import annotations

import re
from typing import Final

from policies.modification.effort import Effort

Stretch = tuple[int, int]

_MOST_LOCAL: Final = 64
_MOST_HOST: Final = 253
_LOCAL_END: Final = re.compile(r"[\w.+%#!$*~-]+\Z")
_HOST: Final = re.compile(r"(?:[\w-]+\.)+[\w-]*\w\w")


def find(text: str, effort: Effort) -> list[Stretch]:
    """Cost: 0.1 µs for a text without `@`, else 2 µs for each."""
    found: list[Stretch] = []
    past = 0
    at = text.find("@")
    while at >= 0:
        effort.spend()
        # From the sign outwards: a pattern that begins with the local part takes quadratic time.
        local = _LOCAL_END.search(text[max(past, at - _MOST_LOCAL) : at])
        host = _HOST.match(text, at + 1, at + 1 + _MOST_HOST)
        if local is not None and host is not None:
            past = host.end()
            found.append((at - len(local[0]), past))
        at = text.find("@", max(at + 1, past))
    return found
