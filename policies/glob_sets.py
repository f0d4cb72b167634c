"""Many globs at once, in time that no name and no pattern can blow up: patterns and names may both come from agents.

One automaton for all patterns (Shift-And): a bit stands before each character and wildcard, and one at each end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from policies.globs import WILDCARD

_KEPT = 512
# What a wildcard of a contained glob is read as: no name has a symbol of two characters.
_STAR, _STARS = "*1", "*2"


class GlobSet:
    """Names that fit at least one of some patterns, see `policies.globs`.

    Args:
        patterns: none at all = no name fits.
    """

    __slots__ = ("_any", "_ends", "_literal", "_no_dot", "_starts", "_wild")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._literal: dict[str, int] = {}
        self._any = self._no_dot = self._starts = self._ends = 0
        bit = 1
        for pattern in patterns:
            self._starts |= bit
            for symbol in _symbols(pattern):
                if symbol == _STARS:
                    self._any |= bit
                elif symbol == _STAR:
                    self._no_dot |= bit
                else:
                    self._literal[symbol] = self._literal.get(symbol, 0) | bit
                bit <<= 1
            self._ends |= bit
            bit <<= 1
        self._wild = self._any | self._no_dot

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` fits a pattern; a `*` in it is a character like any other.

        Cost: O(length of the name) steps over as many bits as the patterns have characters.
        """
        return self._accepts(name)

    def contains(self, glob: str) -> bool:
        """Whether each name that fits `glob` certainly fits a pattern of this set.

        Conservative: False also where only several patterns together cover it, or where it takes more than putting
        the glob's wildcards in the place of the pattern's. A name contains itself alone. Cost: as `matches`.
        """
        # Sound: `**` takes any run of symbols, `*` one without dots and without `**`, a character only itself; so
        # whatever the glob's wildcards stand for, the pattern's stand for what they took.
        return self._accepts(_symbols(glob))

    def _accepts(self, symbols: Sequence[str]) -> bool:
        state = self._starts | (self._starts & self._wild) << 1
        for symbol in symbols:
            taken = state & self._any
            if symbol != "." and symbol != _STARS:
                taken |= state & self._no_dot
            # Runs of stars are one wildcard, so one step over it reaches whatever can be reached without a symbol.
            state = taken | (state & self._literal.get(symbol, 0)) << 1
            state |= (state & self._wild) << 1
            if not state:
                return False
        return bool(state & self._ends)


@lru_cache(maxsize=_KEPT)
def glob_set(patterns: tuple[str, ...]) -> GlobSet:
    """The set of these patterns, made once for those in use."""
    return GlobSet(patterns)


def _symbols(pattern: str) -> list[str]:
    symbols: list[str] = []
    at = 0
    for wildcard in WILDCARD.finditer(pattern):
        symbols += pattern[at : wildcard.start()]
        symbols.append(_STAR if wildcard.group() == "*" else _STARS)
        at = wildcard.end()
    symbols += pattern[at:]
    return symbols
