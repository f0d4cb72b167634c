"""What is checked of a call's arguments: each leaf, by its argument's role in the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from policies.catalog import ArgumentType
from policies.origin.decoding import decoded
from policies.origin.hashing import WORD_MASK, TokenHasher
from policies.origin.spelling import STRONG, WRITTEN, is_iban, is_name, is_small, spell
from policies.origin.tokens import as_one_name, only_name, read

UNDECLARED_ROLE: Final = "destination"
MOST_UNITS: Final = 512
MOST_CHARACTERS: Final = 1 << 16
LONGEST_PATH: Final = 1_024  # longer than any pointer of a rule (`rule_documents.Pointer`)
_MOST_JOINED: Final = 16
_LONGEST_JOINED: Final = 256
_SMALL: Final = 10_000
_MOST_REMEMBERED: Final = 4_096  # values; some 4 MB
_LONGEST_REMEMBERED: Final = 64
_NAMING: Final = re.compile(r"[@.\d]")  # no address, account or URL is without
_MAY_BE_ENCODED: Final = re.compile(r"[%&\\\n]|[\w+/-]{8}")
_ITEMS: Final = re.compile(r"[,;\n]")


class Unit(NamedTuple):
    """One thing to look up; plain, `tuple(unit)` can be marshalled.

    Args:
        path: JSON pointer into the arguments, cut to 1 024 characters.
        whole: digest of the name that it is (64 bits); 0 where it is none.
        names: digests of the names in it, where it is none itself.
        beside: digests of what its names say beside themselves (the host of a URL, an account among groups): checked
            where nothing is known of the name itself.
        words: digests of all its words in order (32 bits).
        runs: (first, after the last) word of what stands between names.
        strong: whether a name in it says where it goes, whatever words stand around it.
        indirect: it was decoded, or joined out of several: it counts only where it is untrusted.
        trivial: there is nothing to check: null, a boolean, an empty text, a small number.
        cut: more than is checked; the rest, at or below `path`, is unknown.
        masked: for explanations, at most two characters from either end.
        exact: digest of the text as it stands, of an IBAN of its one spelling: what is the same by all of the above may
            still be another value to the tool (`../a` and `a`, `-5000` and `5000`, look-alikes).
        written: digests of its addresses, accounts and identifiers as they are written, where that is not ASCII: what
            only looks like something known is not known.
    """

    path: str
    role: str
    whole: int
    names: tuple[int, ...]
    beside: tuple[int, ...]
    words: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]
    strong: bool
    indirect: bool
    trivial: bool
    cut: bool
    masked: str
    exact: int = 0
    written: tuple[int, ...] = ()


def units_of(
    arguments: Mapping[str, Any],
    types: Mapping[str, ArgumentType] | None,
    hasher: TokenHasher,
    roles: frozenset[str] | None = None,
    paths: Iterable[str] | None = None,
) -> tuple[Unit, ...]:
    """The units of a call's arguments.

    Args:
        types: the catalog's arguments of the tool; None, or an argument without a role: it is a destination.
        roles: only these; None = all.
        paths: only what stands at or below these JSON pointers; None = all.
    Cost: 4 to 11 µs for an argument that is a name or a word, up to 22 µs for several, 0.6 µs a word of a long one;
        3 to 7 µs for a short one that was read lately.
        Past 512 units or 65 536 characters of one value a unit says that something was cut.
    """
    wanted = None if paths is None else tuple(paths)
    found: list[Unit] = []
    texts: list[tuple[str, str, str]] = []
    for name, value in arguments.items():
        declared = types.get(name) if types is not None else None
        role = (declared.role if declared is not None else None) or UNDECLARED_ROLE
        if roles is not None and role not in roles:
            continue
        checked = declared is not None and declared.role in ("destination", "target", "secret")
        path = _below("", name)
        if declared is None and not name.isalpha() and (wanted is None or _meets_any(path, wanted)):
            # The caller's choice, but usually the tool's own word: it counts where a stranger said it.
            found.append(_unit(path, role, name[:MOST_CHARACTERS], hasher, indirect=True))
        if isinstance(value, str) and wanted is None and len(found) < MOST_UNITS:
            found += _units(path, role, value, hasher)
            texts.append((path, role, value))
        else:
            _walk(path, value, role, checked, wanted, found, texts, hasher)
    if len(texts) > 1:
        _join(texts, found, hasher)
    return tuple(found)


def masked(text: str, role: str = "") -> str:
    """At most two characters from either end, and no more than a third of it; nothing of a secret."""
    shown = 0 if role == "secret" else min(2, len(text) // 6)
    return f"{text[:shown]}…{text[len(text) - shown :]}"


def _walk(
    path: str,
    value: Any,
    role: str,
    checked: bool,
    wanted: tuple[str, ...] | None,
    found: list[Unit],
    texts: list[tuple[str, str, str]],
    hasher: TokenHasher,
) -> None:
    root = path
    open_: list[Iterator[tuple[str, str | None, Any]]] = [iter([(path, None, value)])]
    while open_:
        step = next(open_[-1], None)
        if step is None:
            open_.pop()
            continue
        path, key, value = step
        if wanted is not None and not _meets_any(path, wanted):
            continue
        if len(found) >= MOST_UNITS:
            # What is not looked at may stand anywhere in the argument.
            found.append(_nothing(root, role, cut=True))
            return
        if key is not None:
            found += _named(path, role, key, hasher)
        if isinstance(value, dict):
            open_.append(iter(_fields(path, value)))
        elif isinstance(value, list | tuple):
            open_.append(iter(_items(path, value)))
        elif wanted is not None and not any(path == one or path.startswith(one + "/") for one in wanted):
            continue
        elif value is None or isinstance(value, bool):
            found.append(_nothing(path, role))
        elif isinstance(value, int | float):
            if abs(value) < _SMALL and not checked:
                found.append(_nothing(path, role))
            else:
                whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
                found += _units(path, role, str(int(value) if whole else value), hasher)
        elif isinstance(value, str):
            found += _units(path, role, value, hasher)
            texts.append((path, role, value))
        else:
            found += _units(path, role, str(value), hasher)


def _fields(path: str, value: dict[Any, Any]) -> Iterator[tuple[str, str | None, Any]]:
    for key, inner in value.items():
        yield _below(path, str(key)), str(key), inner


def _items(path: str, value: Sequence[Any]) -> Iterator[tuple[str, str | None, Any]]:
    for place, inner in enumerate(value):
        yield _below(path, str(place)), None, inner


def _below(path: str, name: str) -> str:
    # A caller's names are as long as a caller likes, and each unit has a path.
    return f"{path}/{_escaped(name[:LONGEST_PATH])}"[:LONGEST_PATH]


def _named(path: str, role: str, name: str, hasher: TokenHasher) -> list[Unit]:
    """A field's name, which is a value as well where it is no plain word: a phrase counts where it is untrusted."""
    if name.isalpha() and name.isascii():
        return []
    words = read(name).words
    if any(map(is_name, words)):
        return _units(path, role, name, hasher)
    return [_unit(path, role, name[:MOST_CHARACTERS], hasher, indirect=True)] if len(words) > 1 else []


def _meets_any(path: str, wanted: Iterable[str]) -> bool:
    return any(path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in wanted)


def _units(path: str, role: str, text: str, hasher: TokenHasher) -> list[Unit]:
    """A text as one unit, or as one each of the names that it lists; and what it decodes to."""
    last = max(text.rfind(","), text.rfind(";"), text.rfind("\n"))
    if last > 0 and _NAMING.search(text, 0, last):
        items = [bare for item in _ITEMS.split(text) if (bare := item.strip())]
        if 1 < len(items) <= MOST_UNITS and all(map(_is_one_strong_name, items)):
            return [_unit(path, role, item, hasher) for item in items]
    found = [_unit(path, role, text[:MOST_CHARACTERS], hasher, cut=len(text) > MOST_CHARACTERS)]
    if _MAY_BE_ENCODED.search(text):
        more = decoded(text[:MOST_CHARACTERS])
        found += [_unit(path, role, inner, hasher, indirect=True) for inner in more.texts]
        if more.cut:
            found.append(_nothing(path, role, cut=True))
    return found


def _is_one_strong_name(item: str) -> bool:
    if len(item.split(None, 1)) > 1:
        return False
    words = spell(item).words
    return len(words) == 1 and words[0][:2] in STRONG


def _unit(
    path: str, role: str, text: str, hasher: TokenHasher, *, indirect: bool = False, cut: bool = False
) -> Unit:
    words, names, beside, runs, strong, exact, written = (
        _said_lately(text) if len(text) <= _LONGEST_REMEMBERED else _said(text)
    )
    bare = text.strip()
    shown = masked(bare, role)
    if not words:
        # Nothing but punctuation: as it stands.
        if not bare:
            return _nothing(path, role, indirect=indirect, cut=cut)
        return _symbols(path, role, bare, hasher, shown)._replace(exact=hasher.name(f"={text}"))
    if len(words) == 1:
        name = only_name(words)
        whole = hasher.name(name) if name is not None else 0
        word = whole if name == words[0] else hasher.name(words[0])
        return Unit(
            path, role, whole, (), tuple(map(hasher.name, beside)), (word & WORD_MASK,), (), strong, indirect,
            False, cut, shown, hasher.name(exact) if exact else word, tuple(map(hasher.name, written)),
        )  # fmt: skip
    digest_of = hasher.words(words)
    return Unit(
        path, role, 0, tuple(map(hasher.name, names)), tuple(map(hasher.name, beside)),
        tuple([digest_of[word] for word in words]), runs, strong, indirect, False, cut, shown, hasher.name(exact),
        tuple(map(hasher.name, written)),
    )  # fmt: skip


class _Said(NamedTuple):
    """What a text says, whoever hashes it; see `Unit`, whose digests are of these.

    Attributes: exact: "" = its only word tells as much: a name as it is written, an IBAN.
    """

    words: tuple[str, ...]
    names: tuple[str, ...]
    beside: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    strong: bool
    exact: str = ""
    written: tuple[str, ...] = ()


def _said(text: str) -> _Said:
    words: Sequence[str]
    if text.isascii() and text.replace(" ", "").isalpha():
        words = text.lower().split()
        several = len(words) > 1
        exact = f"={text}" if several or words[0] != text else ""
        return _Said(tuple(words), (), (), ((0, len(words)),) if several else (), False, exact)
    one = as_one_name(text)
    if one is not None:
        # Two accounts look like one in groups: what is in it counts where nothing is known of the whole.
        words, names = (one,), set[str]()
        beside = set[str]() if is_iban(one[2:]) else read(text).names - {one}
    elif len(chunks := text.split()) == 1:
        words, said, *_ = spell(chunks[0])
        names, beside = {word for word in words if is_name(word)}, set(said)
        beside -= names
    else:
        words, all_names, _ = read(text)
        names = {word for word in words if word[1:2] == ":"}
        beside = all_names - names
    written = () if text.isascii() else tuple(name for name in beside if name[:2] == WRITTEN)
    beside.difference_update(written)
    if len(words) < 2:
        named = bool(words) and is_name(words[0])
        same = named and (words[0][2:] == text or (words[0][:2] == "a:" and is_iban(words[0][2:])))
        return _Said(tuple(words), (), tuple(beside), (), named, "" if same else f"={text}", written)
    joined = {name for name in beside if name[:2] == "a:" or (name[:2] == "n:" and not is_small(name[2:]))}
    checked = names | joined if joined else names
    strong = any(name[:2] in STRONG for name in checked)
    return _Said(
        tuple(words),
        tuple(sorted(checked)),
        tuple(beside - checked),
        _runs(words),
        strong,
        f"={text}",
        written,
    )


_said_lately = lru_cache(maxsize=_MOST_REMEMBERED)(_said)


def _symbols(path: str, role: str, text: str, hasher: TokenHasher, shown: str) -> Unit:
    whole = hasher.name(f"p:{text}")
    return Unit(path, role, whole, (), (), (whole & WORD_MASK,), (), False, False, False, False, shown)


def _nothing(path: str, role: str, *, indirect: bool = False, cut: bool = False) -> Unit:
    return Unit(path, role, 0, (), (), (), (), False, indirect, not cut, cut, "")


def _runs(words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    start = 0
    for place, word in enumerate(words):
        if word[1:2] == ":":  # as `is_name`, for each word of long texts
            found.append((start, place))
            start = place + 1
    found.append((start, len(words)))
    # A small number alone, beside a name, is nothing that could be looked up.
    return tuple((a, b) for a, b in found if b - a > 1 or (b - a == 1 and not is_small(words[a])))


def _join(texts: list[tuple[str, str, str]], found: list[Unit], hasher: TokenHasher) -> None:
    """What neighbours of one role say together: a value may have been split over list items, or over arguments.

    Only where it is one name: words that meet by chance say nothing.
    """
    short = [one for one in texts if len(one[2]) <= _LONGEST_JOINED][:_MOST_JOINED]
    together: list[list[tuple[str, str, str]]] = [list(two) for two in pairwise(short)]
    if len(short) > 2:
        together.append(short)
    for several in together:
        path, role, _ = several[0]
        if any(one[1] != role for one in several):
            continue
        unit = _unit(path, role, "".join(text.strip() for _, _, text in several), hasher, indirect=True)
        if len(unit.words) == 1:
            found.append(unit)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
