"""What a task or a result says, as digests by what each of its fields is worth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from policies.action import Json
from policies.origin.decoding import decoded
from policies.origin.hashing import TokenHasher, packed
from policies.origin.structure import MAX_CHARACTERS, structure_of
from policies.origin.tokens import Tokens, is_one, number_token, tokens_of

MAX_TOLD: Final = 4_096
"""Tokens of one text and kind that are kept; with more, what is not among them may have been said as well."""
_MAX_NAME: Final = 64
_MAX_NAME_WORDS: Final = 6
_SENTENCE: Final = re.compile(r"[.!?:;]\s|\n")
_Path = tuple[str, ...]


class Told(NamedTuple):
    """Digests, packed, each once in its kind; plain, as it travels.

    Attributes:
        trusted: what may be relied on: of a task, all of it.
        strangers: what others wrote.
        typed: those of `strangers` that are addresses, numbers or names rather than words: they are kept longest.
        more: whether more was said than is listed.
        complete: whether this is all that the result says.
    """

    trusted: bytes = b""
    strangers: bytes = b""
    typed: bytes = b""
    more: bool = False
    complete: bool = True


def told_by_task(text: str, hasher: TokenHasher) -> Told:
    """What the user asked for. Cost: about 50 ns a character and ⅓ µs a token."""
    collected = _Collected()
    collected.trust(text)
    return collected.told(hasher, complete=True)


def told_by_result(
    result: Json, returns: Mapping[str, str], hasher: TokenHasher, *, default: str, complete: bool
) -> Told:
    """What a tool returned, each field for what the catalog says that it is worth.

    Args:
        returns: trust by JSON pointer; lists on the way count for nothing (`/sender` is that of each item), the longest
            pointer that leads to a value or to what it stands in decides; `default` may be among them.
        default: of what no pointer leads to.
    Cost: about 50 ns a character, and ⅓ µs for each different token.
    """
    fields = {_path(pointer): trust for pointer, trust in returns.items() if pointer != "default"}
    collected = _Collected()
    for value in _contents(result):
        if isinstance(value, str) and len(value) > MAX_CHARACTERS:
            value, complete = value[:MAX_CHARACTERS], False
        structured = structure_of(value, cut=not complete) if isinstance(value, str) else value
        whole = value if structured is None else structured
        _take(whole, (), fields, returns.get("default", default), collected)
    return collected.told(hasher, complete=complete)


def _contents(result: Json) -> Iterator[Json]:
    """A result as it is, or the blocks of one in the form of the Model Context Protocol."""
    if isinstance(result, Mapping) and isinstance(blocks := result.get("content"), list):
        kinds = [isinstance(block, Mapping) and isinstance(block.get("type"), str) for block in blocks]
        if blocks and all(kinds):
            for block in blocks:
                assert isinstance(block, Mapping)
                text = block.get("text")
                yield text if block["type"] == "text" and isinstance(text, str) else dict(block)
            if "structuredContent" in result:
                yield result["structuredContent"]
            return
    yield result


def _take(value: Json, path: _Path, fields: Mapping[_Path, str], trust: str, collected: _Collected) -> None:
    trust = fields.get(path, trust)
    match value:
        case bool() | None:
            return
        case str():
            collected.take(value, trust)
        case int() | float():
            collected.number(value, trust)
        case Mapping():
            for key, child in value.items():
                inner = (*path, key)
                if not key.isidentifier():
                    # Not the name of a field: data, as its value is.
                    collected.take(key, fields.get(inner, trust))
                _take(child, inner, fields, trust, collected)
        case _:
            for child in value:
                _take(child, path, fields, trust, collected)


def _path(pointer: str) -> _Path:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    return tuple(step for step in steps if step != "*" and not step.isdigit())


class _Collected:
    """Tokens of a text as it is read, each once."""

    def __init__(self) -> None:
        self._trusted: dict[str, None] = {}
        self._strangers: dict[str, None] = {}
        self._typed: dict[str, None] = {}

    def take(self, text: str, trust: str) -> None:
        if not text or text.isspace():
            return
        if trust == "trusted" or (trust == "identifiers" and _is_name(text)):
            self.trust(text)
        else:
            self.distrust(text)

    def number(self, value: float, trust: str) -> None:
        (self._typed if trust == "untrusted" else self._trusted)[number_token(value)] = None

    def trust(self, text: str) -> None:
        tokens = tokens_of(text)
        self._trusted.update(dict.fromkeys(tokens.typed))
        self._trusted.update(dict.fromkeys(tokens.words))
        self._trusted.update(dict.fromkeys(tokens.pairs))
        if tokens.whole:
            self._trusted[tokens.whole] = None

    def distrust(self, text: str) -> None:
        for one in (text, decoded(text)):
            if one:
                tokens = tokens_of(one, pairs=False)
                self._typed.update(dict.fromkeys(tokens.typed))
                self._strangers.update(dict.fromkeys(tokens.words))
                if tokens.whole:
                    self._typed[tokens.whole] = None

    def told(self, hasher: TokenHasher, *, complete: bool) -> Told:
        kinds = [list(kind) for kind in (self._trusted, self._strangers, self._typed)]
        trusted, strangers, typed = (packed(hasher.all(kind[:MAX_TOLD])) for kind in kinds)
        more = any(len(kind) > MAX_TOLD for kind in kinds)
        return Told(trusted, strangers, typed, more=more, complete=complete)


def _is_name(text: str) -> bool:
    """Whether a text is one short name or address and nothing besides: no sentence, no name with an address in it."""
    bare = text.strip()
    if len(bare) > _MAX_NAME:
        return bool(is_one(tokens_of(bare, pairs=False))) and len(bare) <= 4 * _MAX_NAME and " " not in bare
    tokens: Tokens = tokens_of(bare, pairs=False)
    if is_one(tokens):
        return True
    if any(token[0] in "eua" for token in tokens.typed):
        return False
    return len(bare.split()) <= _MAX_NAME_WORDS and _SENTENCE.search(bare) is None
