"""Payment card numbers: 13 to 19 digits whose check digit (Luhn) is right, however they are split."""

from __future__ import annotations

import re
from typing import Final

from policies.modification.effort import Effort

Stretch = tuple[int, int]

FEWEST: Final = 13
MOST: Final = 19
_BETWEEN: Final = r"[\s\-_./]"
_RUN: Final = re.compile(rf"[0-9]+(?:{_BETWEEN}{{1,5}}[0-9]+)*")
_GROUP: Final = re.compile(r"[0-9]+")
# Letters that are drawn like digits, where most of a number is digits.
_ALIKE: Final = re.compile(
    rf"(?<![A-Za-z0-9])[0-9OoIl](?:{_BETWEEN}{{0,3}}[0-9OoIl]){{12,18}}(?![A-Za-z0-9])"
)
_DIGITS: Final = str.maketrans("OoIl", "0011")
_NO_DIGIT: Final = re.compile(r"[^0-9]+")
_FEWEST_REAL: Final = 10
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")
_WITHIN: Final = (14, 15, 16, 19)
"""Lengths of a number that stands among others: of any length it would be found in every table of digits."""
_FEWEST_IN_GROUP: Final = 3


def find(text: str, effort: Effort) -> list[Stretch]:
    """Cost: 1 µs for a kilobyte with hardly a digit, else 30 µs, and some for each run of 13 digits and more."""
    if sum(map(text.count, "0123456789")) < _FEWEST_REAL:
        return []
    found: list[Stretch] = []
    for run in _RUN.finditer(text):
        if run.end() - run.start() >= FEWEST:
            found += _in_run(text, run.start(), run.end(), effort)
    if "O" in text or "o" in text or "I" in text or "l" in text:
        for one in _ALIKE.finditer(text):
            effort.spend()
            digits = _NO_DIGIT.sub("", one[0].translate(_DIGITS))
            real = sum(map(str.isdigit, one[0]))
            if _FEWEST_REAL <= real < len(digits) and is_number(digits):
                found.append(one.span())
    return found


def _in_run(text: str, start: int, end: int, effort: Effort) -> list[Stretch]:
    groups = [one.span() for one in _GROUP.finditer(text, start, end)]
    sizes = [last - first for first, last in groups]
    if FEWEST <= sum(sizes) <= MOST:
        effort.spend()
        digits = "".join([text[first:last] for first, last in groups])
        # One point is that of a decimal number.
        if is_number(digits) and not (len(groups) == 2 and text[groups[0][1]] == "."):
            return [(start, end)]
    found: list[Stretch] = []
    number = 0
    while number < len(groups):
        past = _longest_from(text, groups, sizes, number, effort)
        if past:
            found.append((groups[number][0], groups[past - 1][1]))
        number = past or number + 1
    return found


def _longest_from(text: str, groups: list[Stretch], sizes: list[int], number: int, effort: Effort) -> int:
    """The group after the longest number that begins with a group of a run; 0 = none does."""
    if not "2" <= text[groups[number][0]] <= "6":
        return 0
    digits, past, first = "", 0, sizes[number]
    for place in range(number, len(groups)):
        # Groups as they are written, or one size throughout, but for the last.
        if place > number and sizes[place - 1] < _FEWEST_IN_GROUP and sizes[place - 1] != first:
            break
        digits += text[slice(*groups[place])] if sizes[place] <= MOST else "0" * (MOST + 1)
        if len(digits) > MOST:
            break
        if len(digits) in _WITHIN:
            effort.spend()
            if is_number(digits):
                past = place + 1
    return past


def is_number(digits: str) -> bool:
    """Whether 13 to 19 digits are a card's, by their check digit. Times in milliseconds (13 digits that begin with a 1)
    are not."""
    if not FEWEST <= len(digits) <= MOST or digits[0] == "0" or (digits[0] == "1" and len(digits) == FEWEST):
        return False
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0
