"""A task's text as clauses of plain words; what is quoted, and what is no word, says nothing of what is asked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

OPAQUE = "…"  # stands for a quotation, an address, a file, a number: a thing, never a verb

# What a quotation says is content: `send "please pay me" to Ann` asks for no payment. None may span another
# opening mark, so that many of them cost no more than their length.
_QUOTED = re.compile(
    r"\"[^\"\n]{1,4000}\"|“[^“”\n]{1,4000}”|`[^`\n]{1,4000}`|(?<![\w'])'[^'\n]{1,4000}'(?!\w)"
)
_PIECE = re.compile(r"[^\s,;:!?()]+|[,;:!?()]")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_THING = re.compile(r"[@_\\/=#$€£%0-9…]|\w\.\w")
_MARKS = frozenset(",;:!?()")
_ENDS = frozenset("!?;")


@dataclass(frozen=True, slots=True)
class Clause:
    """The words between two marks. Args: starts: whether a sentence starts here, not merely a part of one."""

    words: tuple[str, ...]
    starts: bool


def clauses(text: str) -> list[Clause]:
    """The clauses of a text, in order; a line's end ends its sentence.

    Cost: linear in the text, 0.2 ms for 2 kB.
    """
    folded = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    found: list[Clause] = []
    for line in folded.splitlines():
        words: list[str] = []
        starts = True
        for match in _PIECE.finditer(_QUOTED.sub(f" {OPAQUE} ", line)):
            piece = match.group()
            if piece.isalpha() and piece.isascii():  # most words, quickly
                words.append(piece)
                continue
            bare = piece if piece in _MARKS else piece.rstrip(".")
            if piece not in _MARKS:
                words.extend(_words(bare))
            ends = piece in _ENDS or bare != piece
            if piece in _MARKS or ends:
                if words:
                    found.append(Clause(tuple(words), starts))
                    starts, words = False, []
                starts = starts or ends
        if words:
            found.append(Clause(tuple(words), starts))
    return found


def _words(piece: str) -> list[str]:
    """`follow-up` is two words, `and/or` as well; `bill-2023.txt`, `#general` and `ann@bank.example` are one thing."""
    if all(part.isalpha() for part in piece.split("/")):
        return piece.split("/")
    return [OPAQUE] if _THING.search(piece) else _WORD.findall(piece)
