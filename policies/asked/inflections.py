"""Regular English word forms, made from the word instead of guessed back from its ending."""

from __future__ import annotations

import re

_VOWELS = "aeiou"
_SHORT = re.compile(
    r"[^aeiou]*[aeiou][^aeiouwxy]"
)  # one syllable that doubles its last letter: stop, send not
_SIBILANT = ("s", "x", "z", "ch", "sh", "o")


def plural(word: str) -> str:
    """`bills`, `copies`, `boxes`; the same ending makes the third person of a verb."""
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(_SIBILANT) else "s")


def gerund(verb: str) -> str:
    """`sending`, `deleting`, `stopping`."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return _doubled(verb) + "ing"


def participle(verb: str) -> str:
    """`mailed`, `deleted`, `copied`, `stopped`; irregular ones are data."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def _doubled(verb: str) -> str:
    return verb + verb[-1] if _SHORT.fullmatch(verb) else verb
