"""Reads the user's task and the results of tools: which tokens they hold, and how far each field is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from policies.origin.decoding import decoded
from policies.origin.field_trust import IDENTIFIERS, TRUSTED, UNTRUSTED, FieldTrust, field_trust, worse
from policies.origin.hashing import TokenHasher
from policies.origin.result_text import lines, unwrapped
from policies.origin.spelling import STRONG, WRITTEN, is_name
from policies.origin.structure import structure_of
from policies.origin.tokens import Spellings, as_one_name, only_name, read
from policies.origin.told import Digests, Told

MOST_CHARACTERS: Final = 1 << 20
MOST_LEAVES: Final = 1 << 17
LONGEST_VALUE: Final = 64  # characters; what is longer is no identifier
MOST_VALUE_WORDS: Final = 6
_SENTENCE: Final = re.compile(r"(?:[!?;:]|\w{4}[.])\s+\S|[!?]$|[\r\n]")
_ITEMS: Final = re.compile(r"[\r\n]+|[,;:]\s+")
_BULLET: Final = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s+")
_NAMED_MAIL: Final = re.compile(r"[^<>@]*<([^<>@\s]+@[^<>@\s]+)>")


def told_by_task(text: str, hasher: TokenHasher) -> Told:
    """What the user asked for. The caller vouches that the text is the user's own, and no agent's.

    Cost: about 0.07 µs a character. What lies past the first MiB says nothing.
    """
    digests = Digests()
    reading = read(text[:MOST_CHARACTERS])
    digests.add(reading)
    _add_whole(text, reading.words, digests)
    names, words, pairs, _ = digests.packed(hasher)
    return Told(True, names, words, pairs, b"", b"", b"", untrusted=False, complete=True, lost=0)


def told_by_result(
    result: Any,
    returns: Mapping[str, str],
    *,
    default: str,
    hasher: TokenHasher,
    complete: bool,
    escaped: bool = False,
) -> Told:
    """What a tool's result says.

    Args:
        result: JSON; or a text, which may be JSON, a Python literal or `key: value` lines; or MCP content blocks.
        returns: `ResourceFacts.returns`: trust by JSON pointer and by "default".
        default: trust where `returns` names none: "untrusted" for whatever may be a read.
        complete: whether this is the whole result.
        escaped: `key: value` lines come from a writer that quotes what it writes, so that no field's text can forge
            another field. Otherwise nothing in a text is more trusted than what stands before it.
    Cost: for 100 kB 5 ms of prose, 11 ms of a thousand fields, 70 ms where no word comes twice.
        Text past the first MiB, or 131 072 leaves, makes it incomplete.
    """
    hearing = _Hearing(escaped, incomplete=not complete)
    root = field_trust(returns, default)
    hearing.hear(result, root)
    trusted = hearing.trusted.packed(hasher)
    untrusted = hearing.untrusted.packed(hasher)
    may_be = bool(hearing.untrusted.readings) or _worst(root) != TRUSTED
    return Told(
        False, *trusted[:3], *untrusted[:3],
        untrusted=may_be, complete=complete and not hearing.cut, lost=untrusted[3],
    )  # fmt: skip


class _Hearing:
    """What has been read of one result."""

    def __init__(self, escaped: bool, *, incomplete: bool) -> None:
        self._incomplete = incomplete
        self.trusted = Digests()
        self.untrusted = Digests()
        self.cut = False
        self._spellings = Spellings()
        self._heard: set[tuple[str, str]] = set()  # short leaves, which often come again
        self._escaped = escaped
        self._left = MOST_CHARACTERS

    def hear(self, result: Any, root: FieldTrust) -> None:
        open_: list[tuple[Any, FieldTrust, bool]] = [(result, root, True)]
        seen = 0
        while open_:
            value, place, outermost = open_.pop()
            seen += 1
            if seen > MOST_LEAVES:
                self.cut = True
                return
            if outermost and (blocks := unwrapped(value)) is not None:
                open_ += [(block, root, True) for block in reversed(blocks)]
            elif isinstance(value, str):
                self._hear_text(value, place, outermost, open_)
            elif isinstance(value, dict):
                for name, inner in value.items():
                    if name not in place.below:  # the catalog's own names are no data
                        self._leaf(str(name), place.trust)
                    open_.append((inner, place.field(str(name)), False))
            elif isinstance(value, list | tuple | set):
                open_ += [(inner, place.element(index), False) for index, inner in enumerate(value)]
            elif value is not None and not isinstance(value, bool):
                self._leaf(_text_of(value), place.trust)

    def _hear_text(
        self, text: str, place: FieldTrust, outermost: bool, open_: list[tuple[Any, FieldTrust, bool]]
    ) -> None:
        if place.uniform and not (outermost and place.trust == IDENTIFIERS):
            self._leaf(text, place.trust)
        elif (found := structure_of(text, cut=self._incomplete)) is not None:
            open_.append((found, place, False))
        elif not place.uniform and (fields := lines(text, place)) is not None:
            trust = TRUSTED
            for field, value in fields:
                own = _worst(field)
                trust = own if self._escaped else worse(trust, own)
                self._leaf(value, trust)
        elif place.uniform:
            self._list(text)
        else:
            self._leaf(text, _worst(place))

    def _list(self, text: str) -> None:
        """Names in a text: where any of them is prose, all are."""
        items = [_without_bullet(item) for item in _ITEMS.split(text) if item.strip()]
        if all(map(_is_value, items)):
            for item in items:
                self._leaf(item, IDENTIFIERS)
        else:
            self._leaf(text, UNTRUSTED)

    def _leaf(self, text: str, trust: str) -> None:
        if len(text) <= LONGEST_VALUE:
            if (trust, text) in self._heard:
                return
            self._heard.add((trust, text))
        self._left -= len(text)
        if self._left < 0:
            self.cut = True
            text = text[: max(0, len(text) + self._left)]
        if trust == IDENTIFIERS:
            if _is_value(text):
                self._identifier(text)
                return
            trust = UNTRUSTED
        digests = self.trusted if trust == TRUSTED else self.untrusted
        reading = read(text, self._spellings)
        digests.add(reading)
        _add_whole(text, reading.words, digests)
        if trust != TRUSTED:
            more = decoded(text, reading.chunks)
            self.cut = self.cut or more.cut
            for inner in more.texts:
                digests.add(read(inner, self._spellings))

    def _identifier(self, text: str) -> None:
        """A name that others chose: known as a whole; an address, account or URL that stands in it is untrusted."""
        words, names, _ = read(text, self._spellings)
        whole = set(filter(None, (only_name(words), as_one_name(text))))
        if all(map(is_name, words)) and not any(word[:2] in STRONG for word in words):
            whole.update(words)  # a date with its time
        mail = _NAMED_MAIL.fullmatch(text.strip())
        if mail is not None:
            whole.update(read(mail[1]).names)
        if whole:
            whole.update(name for name in names if name[:2] == WRITTEN)
        self.trusted.names |= whole
        self.trusted.readings.append(words)
        self.untrusted.names.update(name for name in names - whole if name[:2] in STRONG)


def _add_whole(text: str, words: list[str], digests: Digests) -> None:
    digests.names.update(filter(None, (only_name(words), as_one_name(text))))


def _without_bullet(item: str) -> str:
    bare = item.strip()
    found = _BULLET.match(bare)
    return bare if found is None else bare[found.end() :]


def _is_value(text: str) -> bool:
    bare = text.strip()
    return len(bare) <= LONGEST_VALUE and len(bare.split()) <= MOST_VALUE_WORDS and not _SENTENCE.search(bare)


def _worst(place: FieldTrust) -> str:
    trust = place.trust
    for inner in place.below.values():
        trust = worse(trust, _worst(inner))
    return trust


def _text_of(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
