"""Names, values and globs of a scope, compared as the catalog's types say. Compiled once and remembered, bounded."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from policies.action import Json
from policies.canonical_values import canonical
from policies.globs import Glob, is_glob
from policies.origin.spelling import FEWEST_DIGITS

_ADDRESS = re.compile(r"[^\s<>@/]+@[^\s<>@/]+")
_UNTYPED = frozenset(("any", "list", "object"))
_LISTED = re.compile(r"[,;\n]")
_ADDRESSES = re.compile(r"[,;<>\s]")


def any_tool_matches(patterns: frozenset[str], tool: str) -> bool:
    """Whether one of a scope's names or globs is the tool's. Cost: a set lookup, then O(globs)."""
    exact, globs = _tools(patterns)
    return tool in exact or any(glob.matches(tool) for glob in globs)


def tool_matches(pattern: str, tool: str) -> bool:
    return _glob(pattern).matches(tool) if is_glob(pattern) else pattern == tool


def any_object_matches(patterns: frozenset[str], leaf: Json, type_: str) -> bool:
    """Whether a value is one of a scope's objects, both in the canonical form of the argument's type.

    Args:
        leaf: no list and no object. Null is no value, and matches.
        type_: one of `catalog.ARGUMENT_TYPES`. In a list or an argument without a type, a bare e-mail address is one.
    A glob matches one value: of a text that lists several, each must match.
    Cost: that of one canonical form; O(globs) more where no object is the value itself.
    """
    if type_ in _UNTYPED:
        type_ = "email" if isinstance(leaf, str) and _ADDRESS.fullmatch(leaf) else "string"
    value = canonical(leaf, type_)
    if value is None:
        return True
    exact, globs = _objects(patterns, type_)
    if value in exact:
        return True
    if not globs or value[:1] != b"s":
        return False
    text = value[1:].decode("utf-8", "surrogatepass")
    return any(glob.matches(text) for glob in globs) and all(
        any_object_matches(patterns, item, type_) for item in _listed(leaf)
    )


def _listed(leaf: Json) -> list[str]:
    """The values that a text lists, as tools split them; none where it is one value."""
    if not isinstance(leaf, str):
        return []
    between = _ADDRESSES if leaf.count("@") > 1 else _LISTED
    items = [bare for item in between.split(leaf) if (bare := item.strip())]
    return items if len(items) > 1 else []


def leaves(value: Json) -> Iterator[Json]:
    """Every value in a value, addresses and accounts among the keys of objects, too; other keys are names.

    The door has bounded the depth.
    """
    if isinstance(value, dict):
        for key, one in value.items():
            if "@" in key or sum(map(str.isdigit, key)) >= FEWEST_DIGITS:
                yield key
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


# Scopes come from `workflows` keys and live as long as their sessions: what falls out is compiled once more.
@functools.lru_cache(maxsize=4_096)
def _tools(patterns: frozenset[str]) -> tuple[frozenset[str], tuple[Glob, ...]]:
    globs = tuple(Glob(pattern) for pattern in sorted(patterns) if is_glob(pattern))
    return frozenset(pattern for pattern in patterns if not is_glob(pattern)), globs


@functools.lru_cache(maxsize=4_096)
def _objects(patterns: frozenset[str], type_: str) -> tuple[frozenset[bytes], tuple[Glob, ...]]:
    forms = {pattern: canonical(pattern, type_) or b"" for pattern in sorted(patterns)}
    globs = [form[1:].decode("utf-8", "surrogatepass") for name, form in forms.items() if is_glob(name)]
    return frozenset(form for name, form in forms.items() if not is_glob(name)), tuple(map(Glob, globs))


@functools.lru_cache(maxsize=4_096)
def _glob(pattern: str) -> Glob:
    return Glob(pattern)
