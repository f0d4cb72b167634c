"""From the arguments of an action to what is looked up about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from policies.action import Json
from policies.catalog import ArgumentType
from policies.origin.decoding import decoded
from policies.origin.hashing import TokenHasher, packed
from policies.origin.tokens import Tokens, host_of, is_one, number_token, tokens_of

MAX_UNITS: Final = 256
"""Values of one action that are looked up; with more, its origin is unknown to whoever asks."""
MAX_SPOKEN: Final = 512
"""Tokens of one action that are remembered as said by the agent."""
_CHECKED_CHARACTERS: Final = 4_096
_PARTS: Final = re.compile(r"[,;\n|]+")
_UNDECLARED: Final = "destination"
_SHOWN_ENDS: Final = 2
_LISTED_ROLES: Final = frozenset(("destination", "target"))


class Unit(NamedTuple):
    """One value of an argument, as digests; plain, as it travels.

    Attributes:
        pointer: JSON pointer to where it stands in the arguments.
        role: of its argument.
        shown: its beginning and its end, for people.
        either: tokens of which any tells where it comes from.
        host: of an address of the web, which tells it if nothing else does.
        words: all of which must come from one place, where no token of `either` is known.
        adjacent: pairs of them, likewise.
        aside: whether it counts only if it is known: another way to read a value that is there already.
    """

    pointer: str
    role: str
    shown: str
    either: tuple[int, ...]
    host: int | None = None
    words: tuple[int, ...] = ()
    adjacent: tuple[int, ...] = ()
    aside: bool = False


class Spoken(NamedTuple):
    """What an agent said in an action: a later result that says it again only echoes it.

    Attributes:
        digests: packed.
        more: whether it said more than is listed.
    """

    digests: bytes
    more: bool


def units_of(
    arguments: Mapping[str, Json],
    types: Mapping[str, ArgumentType] | None,
    hasher: TokenHasher,
    *,
    roles: frozenset[str],
    pointers: tuple[str, ...] = (),
) -> tuple[Unit, ...] | None:
    """The values of all arguments with one of these roles, or at or below one of these places.

    An argument that the catalog does not list is a destination. Lists, and texts that list values, are split.

    Returns: None: there are more than `MAX_UNITS`.
    Cost: about 5 µs for a short value; of a long text the first 4 096 characters are looked at, and the rest is as bad
        as the worst of them or unknown.
    """
    units: list[Unit] = []
    for name, value in arguments.items():
        known = types.get(name) if types is not None else None
        role = _UNDECLARED if known is None or known.role is None else known.role
        root = "/" + _escaped(name)
        if role not in roles and not any(_related(root, pointer) for pointer in pointers):
            continue
        leaves = list(_leaves(value, root))
        for pointer, leaf in leaves:
            units += _units(pointer, role, leaf, hasher)
            if len(units) > MAX_UNITS:
                return None
        units += _joined([(p, leaf) for p, leaf in leaves if isinstance(leaf, str)], role, hasher)
    by_role: dict[str, list[tuple[str, str]]] = {}
    for name, value in arguments.items():
        known = types.get(name) if types is not None else None
        role = _UNDECLARED if known is None or known.role is None else known.role
        if role in roles and isinstance(value, str):
            by_role.setdefault(role, []).append(("/" + _escaped(name), value))
    for role, parts in by_role.items():
        units += _joined(parts, role, hasher)
    return tuple(units)


def spoken(arguments: Mapping[str, Json], hasher: TokenHasher) -> Spoken:
    """Every token of an action's arguments. Cost: about 30 ns a character and ⅓ µs a token."""
    found: dict[str, None] = {}
    more = False
    for _, leaf in _leaves(dict(arguments), ""):
        if isinstance(leaf, str):
            for text in (leaf, decoded(leaf)):
                if text:
                    tokens = tokens_of(text, pairs=False)
                    found.update(
                        dict.fromkeys((*tokens.typed, *filter(None, (tokens.whole,)), *tokens.words))
                    )
        else:
            found[number_token(leaf)] = None
        if len(found) > MAX_SPOKEN:
            more = True
            break
    return Spoken(packed(hasher.all(list(found)[:MAX_SPOKEN])), more)


def _leaves(value: Json, pointer: str) -> Iterator[tuple[str, str | int | float]]:
    """Every text and number, with its place. Truth values and nulls come from nowhere."""
    match value:
        case bool() | None:
            return
        case str():
            if value.strip():
                yield pointer, value
        case int() | float():
            yield pointer, value
        case Mapping():
            for key, child in value.items():
                yield f"{pointer}/{_escaped(key)}", key
                yield from _leaves(child, f"{pointer}/{_escaped(key)}")
        case _:
            for index, child in enumerate(value):
                yield from _leaves(child, f"{pointer}/{index}")


def _units(pointer: str, role: str, leaf: str | float, hasher: TokenHasher) -> Iterator[Unit]:
    if not isinstance(leaf, str):
        token = number_token(leaf)
        yield Unit(pointer, role, _shown(token[2:]), (hasher(token),))
        return
    text = leaf[:_CHECKED_CHARACTERS]
    yield from _of_text(pointer, role, text, hasher, aside=False)
    hidden = decoded(text)
    if hidden:
        yield from _of_text(pointer, role, hidden, hasher, aside=True)


def _of_text(pointer: str, role: str, text: str, hasher: TokenHasher, *, aside: bool) -> Iterator[Unit]:
    tokens = tokens_of(text)
    one = is_one(tokens)
    addressed = [token for token in tokens.typed if token[0] in "eua"]
    if one or not addressed:
        parts = [part.strip() for part in _PARTS.split(text)] if role in _LISTED_ROLES and not one else []
        if len(parts) > 1:
            for part in filter(None, parts):
                yield _unit(pointer, role, part, tokens_of(part), hasher, aside=aside)
        else:
            yield _unit(pointer, role, text, tokens, hasher, aside=aside)
        return
    # A text with addresses in it: each of them is a value, and in a list of names so is what stands between.
    for token in addressed:
        host = host_of(token)
        digest = hasher(host) if host else None
        yield Unit(pointer, role, _shown(token[2:]), (hasher(token),), digest, aside=aside)


def _unit(pointer: str, role: str, text: str, tokens: Tokens, hasher: TokenHasher, *, aside: bool) -> Unit:
    one = is_one(tokens)
    either = dict.fromkeys((tokens.whole, one, *(t for t in tokens.typed if one and t[0] in "eau")))
    host = host_of(next((token for token in either if token.startswith("u:")), ""))
    return Unit(
        pointer,
        role,
        _shown(text.strip()),
        hasher.all(token for token in either if token),
        hasher(host) if host else None,
        hasher.all(tokens.words),
        hasher.all(tokens.pairs),
        aside,
    )


def _joined(parts: list[tuple[str, str]], role: str, hasher: TokenHasher) -> Iterator[Unit]:
    """Several texts as one: a value may have been cut in two."""
    if not 1 < len(parts) <= 16 or sum(len(text) for _, text in parts) > 512:
        return
    for text in ("".join(text for _, text in parts), "".join(text for _, text in reversed(parts))):
        tokens = tokens_of(text, pairs=False)
        for token in tokens.typed:
            if token[0] in "eau":
                yield Unit(parts[0][0], role, _shown(token[2:]), (hasher(token),), aside=True)


def _related(root: str, pointer: str) -> bool:
    """Whether something at or below `pointer` may stand at or below `root`, an argument."""
    return pointer == root or pointer.startswith(root + "/")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _shown(text: str) -> str:
    """At most two characters of each end: enough to tell values apart for whoever knows them."""
    if len(text) <= 2 * _SHOWN_ENDS + 2:
        return "…"
    return f"{text[:_SHOWN_ENDS]}…{text[-_SHOWN_ENDS:]}"
