"""One spelling for what looks the same: case, width, combining and invisible characters, look-alikes, digits."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters that are drawn as Latin ones. By their looks, not their sound: capitals apart, as they often look differently.
_ALIKE: Final = str.maketrans(
    # Cyrillic, then Greek, then Armenian, Latin variants and punctuation
    "АВЕЅІЈКМНОРСТУХЬаеѕіјорсухԁһԛԝүӏвкмнтΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγηικνορυϲχτօսհոıɡɩɑⲟøłđ∕⁄‐‑‒–—−․‘’ʼ。",
    "abesijkmhopctyxbaesijopcyxdhqwylbkmhtabezhikmnoptyxaynikvopucxtouhniigaoold//------.'''.",
)
_MARKS_ALIKE: Final = {sign: other for sign, other in _ALIKE.items() if not chr(sign).isalpha()}
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_COMBINING: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_OTHER_DIGIT: Final = re.compile(r"(?![0-9])\d")  # Arabic ones, say


def fold(text: str) -> str:
    """The text as it is compared. Idempotent. Cost: 0.1 µs where it is ASCII, otherwise O(length)."""
    if text.isascii():
        return text.lower()
    bare = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    decomposed = unicodedata.normalize("NFKD", _COMBINING.sub("", unicodedata.normalize("NFKD", bare)))
    folded = decomposed.translate(_ALIKE).casefold().translate(_ALIKE)
    return _OTHER_DIGIT.sub(lambda found: str(int(found[0])), folded)


def unfolded(text: str) -> str:
    """As it is written, but for case, width, dashes and what cannot be seen; "" where all of that is ASCII."""
    if text.isascii():
        return ""
    bare = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_MARKS_ALIKE).casefold()
    return "" if bare.isascii() else bare
