"""A text as it looks, with the places its characters come from: what hides a number from a finder hides it no more.

Invisible and combining characters are gone, digits of other scripts are ASCII ones, look-alikes Latin letters, as where
origins are told (`policies.origin.folding`); case is kept.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from policies.origin.folding import fold

_OTHER: Final = re.compile(r"[^\x00-\x7f]+")


class Looks(NamedTuple):
    """Args: places: where each character of `text` begins in the original, and its end; None = in the same place."""

    text: str
    places: list[int] | None = None

    def stretch(self, start: int, end: int) -> tuple[int, int]:
        """A stretch of `text` in the original, with what is invisible at its end; at least one character long."""
        if self.places is None:
            return start, end
        return self.places[start], max(self.places[end], self.places[end - 1] + 1)


def looks_of(text: str) -> Looks:
    """Cost: nothing where it is ASCII; about 0.2 µs for each character that is not."""
    if text.isascii():
        return Looks(text)
    parts: list[str] = []
    places: list[int] = []
    done = 0
    for run in _OTHER.finditer(text):
        parts.append(text[done : run.start()])
        places += range(done, run.start())
        for place, character in enumerate(run[0], run.start()):
            shown = _of_character(character)
            parts.append(shown)
            places += [place] * len(shown)
        done = run.end()
    parts.append(text[done:])
    places += range(done, len(text) + 1)
    return Looks("".join(parts), places)


@lru_cache(maxsize=4096)
def _of_character(character: str) -> str:
    folded = fold(character)
    return folded.upper() if unicodedata.normalize("NFKC", character).isupper() else folded
