"""A text as its words in order and the names in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, compress
from typing import ClassVar, Final, NamedTuple

from policies.origin.folding import fold
from policies.origin.spelling import AROUND, bare_group, group_of, is_iban, is_name, is_small, joined, spell

CUES: Final = frozenset(("id", "ids", "no", "nr", "number", "code"))
_MONTH_NAMES: Final = (
    ("january", "jan"), ("february", "feb"), ("march", "mar"), ("april", "apr"), ("may",), ("june", "jun"),
    ("july", "jul"), ("august", "aug"), ("september", "sep", "sept"), ("october", "oct"), ("november", "nov"),
    ("december", "dec"),
)  # fmt: skip
_MONTHS: Final = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names}
_MOST_PLAIN: Final = 50_000  # some 8 MB
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_STARTS_IBAN: Final = re.compile(r"\(*[a-z]{2}\d{2}")
_IBAN: Final = re.compile(r"[a-z]{2}\d{2}[a-z0-9]*")
_MOST_GROUPS: Final = 12
_LONGEST_NAME: Final = 34
_FEWEST_CHARACTERS: Final = 10
_GROUP_ENDS: Final = re.compile(r"[-()+]+")
_DIGIT: Final = re.compile(r"\d")
_SPACED_GROUPS: Final = re.compile(r"[^\W_][^\W_\s]*(?:\s[^\W_]+)+|[+(][\d()+\s-]+")


class Reading(NamedTuple):
    """The words of a text (names among them, in their forms), all names in it (joined ones as well), and its chunks."""

    words: list[str]
    names: set[str]
    chunks: set[str]


class Spellings:
    """How the chunks of some texts are spelled: one for all leaves of a result, so that each is spelled once."""

    __slots__ = ("grouped", "names", "plain", "small", "words")
    _all_plain: ClassVar[dict[str, tuple[str]]] = {}

    def __init__(self) -> None:
        if len(Spellings._all_plain) > _MOST_PLAIN:
            Spellings._all_plain = {}  # never cleared: another thread may be reading it
        self.plain = Spellings._all_plain  # chunks that are one word of letters, of all texts
        self.words: dict[str, tuple[str, ...]] = {}  # of each chunk
        self.names: dict[str, tuple[str, ...]] = {}  # of the chunks that say any
        self.grouped: dict[str, str] = {}  # chunks that could be a group of an account
        self.small: set[str] = set()  # words that are small numbers

    def add(self, chunk: str) -> None:
        words, _, names, small = spell(chunk)
        self.words[chunk] = words
        if names:
            self.names[chunk] = names
        if small:
            self.small.update(small)
        if group := group_of(chunk):
            self.grouped[chunk] = group


def read(text: str, spellings: Spellings | None = None) -> Reading:
    """Cost: 0.1 µs a word that was spelled before, 0.4 µs a new one, 2 to 8 µs a new name."""
    known = Spellings() if spellings is None else spellings
    chunks = text.split()
    unique = set(chunks)
    spelled, plain = known.words, known.plain
    new = unique.difference(spelled)  # of a dictionary: it costs the smaller side
    fresh = new.difference(plain)
    if len(fresh) < len(new):
        new -= fresh
        spelled.update(zip(new, map(plain.__getitem__, new), strict=True))
    for chunk in fresh:
        bare = chunk.strip(AROUND)
        if bare.isascii() and bare.isalpha():
            spelled[chunk] = plain[chunk] = (bare.lower(),)
        else:
            known.add(chunk)
    words = list(chain.from_iterable(map(spelled.__getitem__, chunks)))
    names: set[str] = set()
    if known.names:
        for chunk in unique & known.names.keys():
            names.update(known.names[chunk])
    if known.grouped and len(chunks) > 1:
        names.update(_spaced(chunks, known.grouped))
    if (small := known.small) and len(words) > 1:
        at = list(compress(range(len(words)), map(small.__contains__, words)))
        names.update([f"n:{words[place]}" for place in at if place and _is_cue(words[place - 1])])
        if any(
            words[place - 1] in _MONTHS or words[min(place + 1, len(words) - 1)] in _MONTHS for place in at
        ):
            words = _dated(words, at, names)
    return Reading(words, names, unique)


def only_name(words: Sequence[str]) -> str | None:
    """The name that a value of these words is: a name, or a number however small; None: a word, or several."""
    if len(words) != 1:
        return None
    return words[0] if is_name(words[0]) else f"n:{words[0]}" if is_small(words[0]) else None


def as_one_name(text: str) -> str | None:
    """The account or number that a whole text is, written in groups; None: it is none."""
    bare = text.strip()
    if " " not in bare or len(bare) > 2 * _LONGEST_NAME or (bare.isascii() and not _DIGIT.search(bare)):
        return None
    if not _SPACED_GROUPS.fullmatch(bare):
        return None
    groups = re.findall(r"[^\W_]+", fold(bare))
    if all(any(map(str.isdigit, group)) for group in groups):
        return joined(groups)
    together = "".join(groups)
    return f"a:{together}" if is_iban(together) else None


def _is_cue(word: str) -> bool:
    return word in CUES or word.endswith(("_id", "_no"))


def _dated(words: list[str], numbers: Iterable[int], names: set[str]) -> list[str]:
    """The words, with days that are written with the name of their month as dates.

    Args:
        numbers: the places of small ones.
    """
    found: list[str] = []
    done, last = 0, len(words)
    for place in sorted({start for number in numbers for start in (number - 1, number)}):
        if place < done or place + 1 >= last:
            continue
        month, day = _MONTHS.get(words[place]), words[place + 1]
        if month is None:
            month, day = _MONTHS.get(day), words[place]
        if month is None or not (day.isdigit() and len(day) <= 2 and 1 <= int(day) <= 31):
            continue
        found += words[done:place]
        done = place + 2
        year = words[done] if done < last and _YEAR.fullmatch(words[done]) else ""
        done += bool(year)
        date = f"d:{year or '-'}-{month:02}-{int(day):02}"
        names.add(date)
        found.append(date)
    return found + words[done:]


def _spaced(chunks: list[str], grouped: dict[str, str]) -> set[str]:
    """Accounts and numbers that are written in groups: the groups of a run; from where an IBAN or a `+` starts."""
    found: set[str] = set()
    run: list[str] = []
    last = -2
    for place in compress(range(len(chunks)), map(grouped.__contains__, chunks)):
        # A group without a digit belongs to an account only where that is an IBAN, which has check digits.
        between = chunks[last + 1 : place] if run else []
        if between and (
            len(between) > 2 or not all(map(_is_bank, between)) or not any(map(_STARTS_IBAN.match, run))
        ):
            _join(run, found)
            run, between = [], []
        run += [*map(bare_group, between), grouped[chunks[place]]]
        last = place
        if chunks[place][-1] in ".,;:":
            _join(run, found)
            run = []
    _join(run, found)
    return found


def _is_bank(chunk: str) -> bool:
    bare = bare_group(chunk)
    return len(bare) == 4 and bare.isalpha()


def _join(run: list[str], found: set[str]) -> None:
    if len(run) < 2:
        return
    groups = [[group for group in _GROUP_ENDS.split(chunk) if group] for chunk in run]
    whole = [all(any(map(str.isdigit, group)) for group in chunk) for chunk in groups]
    if len(run) <= _MOST_GROUPS and all(whole) and (name := joined(list(chain.from_iterable(groups)))):
        found.add(name)
    for start, chunk in enumerate(run):
        iban = bool(_IBAN.fullmatch(chunk.lstrip("(")))
        if not iban and not chunk.startswith(("+", "(+")):
            continue
        together = ""
        for after in range(start, min(len(run), start + _MOST_GROUPS)):
            together += "".join(groups[after])
            if len(together) > _LONGEST_NAME:
                break
            if iban and is_iban(together):
                found.add(f"a:{together}")
            elif after > start and len(together) >= _FEWEST_CHARACTERS and all(whole[start : after + 1]):
                found.update(filter(None, (joined([together]),)))
