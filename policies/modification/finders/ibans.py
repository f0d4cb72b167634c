"""IBANs of any country, by their check digits and their country's form, with or without separators."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from policies.modification.effort import Effort

Stretch = tuple[int, int]

_BETWEEN: Final = r"[\s\-_./]{0,2}"
_CANDIDATE: Final = re.compile(
    rf"[A-Za-z]{_BETWEEN}[A-Za-z]{_BETWEEN}[0-9]{_BETWEEN}[0-9](?:{_BETWEEN}[A-Za-z0-9]){{11,30}}"
)
_BEFORE: Final = re.compile(rf"[A-Za-z]{_BETWEEN}[A-Za-z]{_BETWEEN}\Z")
_MOST_BEFORE: Final = 6
_DIGITS: Final = re.compile(r"[0-9]+")


def find(text: str, effort: Effort) -> list[Stretch]:
    """Cost: 1 µs for each run of digits, 5 to 20 µs for each candidate; the first one reads the countries' forms."""
    found: list[Stretch] = []
    past = 0
    # From the digits backwards: letters are everywhere.
    for digits in _DIGITS.finditer(text):
        before = _BEFORE.search(text, max(past, digits.start() - _MOST_BEFORE), digits.start())
        candidate = None if before is None else _CANDIDATE.match(text, before.start())
        if candidate is None:
            continue
        end = _end_of(text, candidate.start(), candidate.end(), effort)
        if end:
            found.append((candidate.start(), end))
            past = end
    return found


def _end_of(text: str, start: int, end: int, effort: Effort) -> int:
    """Where the IBAN ends that begins at `start`; 0 = none does. A country's are all of one length."""
    # Its tables are read when the first one is asked for: who redacts nothing does without them.
    from stdnum import iban

    effort.spend()
    places = [place for place in range(start, end) if text[place].isalnum()]
    length = _length(text[places[0]] + text[places[1]])
    if not length or length > len(places):
        return 0
    whole = "".join([text[place] for place in places[:length]])
    return places[length - 1] + 1 if iban.is_valid(whole, check_country=False) else 0


@lru_cache(maxsize=26 * 26 * 4)
def _length(country: str) -> int:
    """How many characters a country's IBANs have; 0 = it has none."""
    from stdnum import numdb

    ((_, known), *_) = numdb.get("iban").info(country.upper())
    return 4 + sum(map(int, re.findall(r"[0-9]+", known["bban"]))) if "bban" in known else 0
