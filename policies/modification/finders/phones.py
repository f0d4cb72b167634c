"""Phone numbers: with `+` and a country's code anywhere; as they are dialled in one country, where that is named."""

from __future__ import annotations

import re
from typing import Final

from policies.modification.effort import Effort

Stretch = tuple[int, int]

_BETWEEN: Final = r"[\s\-.()/]"
_INTERNATIONAL: Final = re.compile(rf"\+{_BETWEEN}{{0,3}}[0-9](?:{_BETWEEN}{{0,3}}[0-9]){{6,14}}")
_TRIES: Final = 10
"""What one candidate costs of an operation's effort."""
_TRIES_OF_DIGIT: Final = 2
"""What each digit costs of it, where numbers are looked for as they are dialled in a region."""


def find(text: str, effort: Effort, region: str | None) -> list[Stretch]:
    """Args: region: two letters; None = numbers with a country's code alone.
    Cost: 10 µs for a kilobyte without candidates, 10 µs for each; 90 µs for each where there is a region.
    """
    found: list[Stretch] = []
    place = 0
    while (candidate := _INTERNATIONAL.search(text, place)) is not None:
        place = _end_of(text, candidate.start(), candidate.end(), effort)
        if place:
            found.append((candidate.start(), place))
        place = place or candidate.start() + 1
    digits = 0 if region is None else sum(map(text.count, "0123456789"))
    if digits:
        effort.spend(digits * _TRIES_OF_DIGIT)
        # Its tables are read when the first one is asked for: who redacts nothing does without them.
        from phonenumbers import PhoneNumberMatcher

        found += [(one.start, one.end) for one in PhoneNumberMatcher(text, region)]
    return found


def _end_of(text: str, start: int, end: int, effort: Effort) -> int:
    """Where the number ends that begins with a `+`; 0 = it is none. What follows may be digits of something else."""
    from phonenumbers import NumberParseException, is_possible_number, parse

    while True:
        effort.spend(_TRIES)
        try:
            if is_possible_number(parse(text[start:end])):
                return end
        except NumberParseException:
            pass
        shorter = end
        while text[shorter - 1].isdigit():
            shorter -= 1
        while shorter > start and not text[shorter - 1].isdigit():
            shorter -= 1
        if shorter <= start:
            return 0
        end = shorter


def is_region(region: str) -> bool:
    """Whether numbers as they are dialled there are known."""
    from phonenumbers import SUPPORTED_REGIONS

    return region in SUPPORTED_REGIONS
