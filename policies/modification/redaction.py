"""Texts with what was found in them replaced by what it is: `[card number]`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from policies.modification.effort import Effort, TooMuchError
from policies.modification.finders import card_numbers, emails, ibans, phones, secrets
from policies.modification.looks import Looks

MOST_PASSES: Final = 5


def label(kind: str) -> str:
    """What stands in the place of what was found."""
    return f"[{kind.replace('-', ' ')}]"


def redacted(text: str, kinds: Sequence[str], region: str | None, effort: Effort) -> tuple[str, Counter[str]]:
    """A text without what the finders of `kinds` find, and how much of each there was.

    It is looked at until nothing is found any more, so that what is left would not be changed again.

    Raises: TooMuchError: it holds too many candidates, or does not come to an end.
    """
    counts: Counter[str] = Counter()
    for _ in range(MOST_PASSES):
        found = _found(text, kinds, region, effort)
        pieces: list[str] = []
        past = 0
        for start, end, kind in found:
            pieces += (text[past:start], label(kind))
            past = end
        replaced = "".join((*pieces, text[past:]))
        if replaced == text:
            return text, counts
        counts.update(kind for _, _, kind in found)
        text = replaced
    raise TooMuchError


def _found(text: str, kinds: Sequence[str], region: str | None, effort: Effort) -> list[tuple[int, int, str]]:
    """Stretches in their order, none over another: where two overlap, both are one of the longer one's kind."""
    looks = Looks(text)
    stretches = [
        (*looks.stretch(start, end), kind)
        for kind in kinds
        for start, end in _find(kind, looks.text, region, effort)
    ]
    stretches.sort(key=lambda one: (one[0], -one[1]))
    merged: list[tuple[int, int, str]] = []
    for start, end, kind in stretches:
        if merged and start < merged[-1][1]:
            before = merged[-1]
            longer = before[2] if before[1] - before[0] >= end - start else kind
            merged[-1] = (before[0], max(before[1], end), longer)
        else:
            merged.append((start, end, kind))
    return merged


def _find(kind: str, text: str, region: str | None, effort: Effort) -> list[tuple[int, int]]:
    match kind:
        case "card-number":
            return card_numbers.find(text, effort)
        case "iban":
            return ibans.find(text, effort)
        case "email":
            return emails.find(text, effort)
        case "phone":
            return phones.find(text, effort, region)
        case "secret":
            return secrets.find(text, effort)
        case _:
            raise ValueError(kind)
