"""IBANs of any country, by their check digits and their country's form, with or without separators."""

from __future__ import annotations

import re
from typing import Final

from policies.modification.effort import Effort
from policies.origin.spelling import is_iban

Stretch = tuple[int, int]

_BETWEEN: Final = r"[\s\-_./]{0,2}"
_CANDIDATE: Final = re.compile(
    rf"[A-Za-z]{_BETWEEN}[A-Za-z]{_BETWEEN}[0-9]{_BETWEEN}[0-9](?:{_BETWEEN}[A-Za-z0-9]){{11,30}}"
)
_FEWEST: Final = 15


def find(text: str, effort: Effort) -> list[Stretch]:
    """Cost: 10 µs for a kilobyte of prose, 20 µs for each candidate; the first one loads the countries' forms."""
    found: list[Stretch] = []
    place = 0
    while (candidate := _CANDIDATE.search(text, place)) is not None:
        end = _end_of(text, candidate.start(), candidate.end(), effort)
        if end:
            found.append((candidate.start(), end))
        place = end or candidate.start() + 1
    return found


def _end_of(text: str, start: int, end: int, effort: Effort) -> int:
    """Where the IBAN ends that begins at `start`; 0 = none does. A country's are all of one length."""
    places = [place for place in range(start, end) if text[place].isalnum()]
    whole = "".join([text[place] for place in places]).lower()
    for length in range(len(whole), _FEWEST - 1, -1):
        effort.spend()
        if is_iban(whole[:length]) and _fits_its_country(whole[:length]):
            return places[length - 1] + 1
    return 0


def _fits_its_country(text: str) -> bool:
    # Its tables are read when the first one is asked for: who redacts nothing does without them.
    from stdnum import iban

    return bool(iban.is_valid(text, check_country=False))
