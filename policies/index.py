"""Which atoms' `on` matches a fact: bit sets per key and value, so that the cost follows what matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from policies.bundle import Atom
from policies.globs import Glob, is_glob

_MEMO_LIMIT = 10_000  # values come from callers: an unbounded memo would be theirs to fill

SUBJECT_KEYS = ("tenant", "agent", "subject_type", "agent_label")
ACTION_KEYS = ("action",)
RESOURCE_KEYS = (
    "tool", "resource", "resource_type", "system", "effect", "data", "boundary", "jurisdiction", "trust",
)  # fmt: skip
KEYS = (*SUBJECT_KEYS, *ACTION_KEYS, *RESOURCE_KEYS)


class KeyIndex:
    """The atoms that one `on` key lets through.

    Attributes:
        open: bit set of the atoms that do not use this key; they match whatever its value is.
    """

    __slots__ = ("_globs", "_literals", "_memo", "open")

    def __init__(self, key: str, atoms: Sequence[Atom]) -> None:
        self.open = 0
        self._literals: dict[str, int] = {}
        globs: dict[str, int] = {}
        for number, atom in enumerate(atoms):
            patterns = dict(atom.on).get(key)
            if patterns is None:
                self.open |= 1 << number
                continue
            for pattern in patterns:
                table = globs if is_glob(pattern) else self._literals
                table[pattern] = table.get(pattern, 0) | 1 << number
        self._globs = [(Glob(pattern), bits) for pattern, bits in globs.items()]
        self._memo: dict[str, int] = {}

    def of(self, value: str) -> int:
        """Bit set of the atoms that match one value. Cost: a lookup; O(globs) for a value not seen before."""
        bits = self._memo.get(value)
        if bits is None:
            if len(self._memo) >= _MEMO_LIMIT:
                self._memo.clear()
            bits = self.open | self._literals.get(value, 0)
            for glob, globbed in self._globs:
                if globbed & ~bits and glob.matches(value):
                    bits |= globbed
            self._memo[value] = bits
        return bits

    def of_any(self, values: Iterable[str]) -> int:
        """Bit set of the atoms that match one of the values; of none: those that do not ask."""
        bits = self.open
        for value in values:
            bits |= self.of(value)
        return bits


class OnIndex:
    """One `KeyIndex` per key.

    Attributes:
        all: bit set of all atoms, which is what an unknown fact possibly matches.
    """

    __slots__ = ("all", "keys")

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self.all = (1 << len(atoms)) - 1
        self.keys = {key: KeyIndex(key, atoms) for key in KEYS}

    def masks(self, key: str, value: str | Iterable[str] | None) -> tuple[int, int]:
        """(possibly, certainly) for a fact: a name, several names (any-of), or None = unknown."""
        index = self.keys[key]
        if value is None:
            return self.all, index.open
        bits = index.of(value) if isinstance(value, str) else index.of_any(value)
        return bits, bits


def set_bits(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
