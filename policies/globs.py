"""Names and globs: `*` stops at a dot, `**` does not; nothing else is special; case matters."""

from __future__ import annotations

import functools
import re

MAX_WILDCARDS = 4  # a backtracking match costs O(length ** wildcards) in the worst case

WILDCARD = re.compile(r"\*+")


def is_glob(text: str) -> bool:
    return "*" in text


class Glob:
    """One pattern, compiled once.

    Args:
        pattern: a name; `*` stands for any run of characters without a dot, `**` for any run at all.
    """

    __slots__ = ("_fullmatch", "literal_length", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.literal_length = len(WILDCARD.sub("", pattern))
        translated = []
        at = 0
        for wildcard in WILDCARD.finditer(pattern):
            translated.append(re.escape(pattern[at : wildcard.start()]))
            translated.append(r"[^.]*" if wildcard.group() == "*" else r".*")
            at = wildcard.end()
        translated.append(re.escape(pattern[at:]))
        self._fullmatch = re.compile("".join(translated), re.DOTALL).fullmatch

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` fits. Cost: O(length) for the usual one or two wildcards."""
        return self._fullmatch(name) is not None


def wildcards(pattern: str) -> int:
    """How many wildcards the pattern holds; a run of stars is one."""
    return len(WILDCARD.findall(pattern))


def may_overlap(one: str, other: str) -> bool:
    """Whether a name could match both; two globs overlap when the text before their first stars agrees."""
    if is_glob(one) and is_glob(other):
        left, right = one.partition("*")[0], other.partition("*")[0]
        return left.startswith(right) or right.startswith(left)
    if is_glob(one):
        return _glob(one).matches(other)
    return _glob(other).matches(one) if is_glob(other) else one == other


@functools.lru_cache(maxsize=10_000)
def _glob(pattern: str) -> Glob:
    return Glob(pattern)
