"""Texts in a form in which what looks the same is the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters of other scripts that most fonts draw like a Latin one, each beside it (from Unicode TS 39, lower case).
_PAIRS: Final = (
    "аa вb еe сc ԁd ɡg һh іi ӏl јj кk мm нh оo рp ԛq гr ѕs тt уy хx ԝw ѵv зz ьb "  # Cyrillic
    "αa βb γy εe ηn ιi κk νv οo ρp τt υu χx ωw ϲc ϳj "  # Greek
    "օo ոn սu հh ցg զq յj "  # Armenian
    "ıi ȷj ɑa ⅼl ⅰi ⅽc ⅾd ⅿm ßss"  # Latin and others
)
_LOOK_ALIKES: Final = {ord(pair[0]): pair[1:] for pair in _PAIRS.split()}
# Not to be seen: zero-width characters, soft hyphens, marks of direction, variation selectors.
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
    "|[\U000e0000-\U000e0fff]"
)
_DASHES: Final = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")


_ALIKE: Final = re.compile("[" + "".join(map(chr, _LOOK_ALIKES)) + "]")
_MARKS: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)


def fold(text: str) -> str:
    """Lower case, of one width, without accents, marks and what cannot be seen; look-alikes are what they look like.

    Cost: nothing to speak of for ASCII, about 20 ns a character otherwise.
    """
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", unicodedata.normalize("NFKD", text)).casefold()
    text = _DASHES.sub("-", _MARKS.sub("", text))
    return text.translate(_LOOK_ALIKES) if _ALIKE.search(text) else text
