"""Formulas over the past, read and evaluated from the words of the design alone: slowly, over the whole trace.

Nothing here is shared with `policies.past`: where the two disagree, one of them misreads the definitions.
A formula is a nested tuple: its operator, then its parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

Tree: TypeAlias = tuple[Any, ...]
Holds: TypeAlias = Callable[[str, int, bool], bool]
"""(atom, position, whether possibility is enough) → whether it holds there."""
Succeeded: TypeAlias = Callable[[int, bool], bool]
"""(position, whether a doubt is enough) → whether its action was reported to have succeeded."""

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TOKEN = re.compile(r"\s*([a-z][a-z0-9_]*(?:\[\s*[0-9]+[smhd]\s*\])?|[()])")


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNIT_S[duration[-1]]


def parse(text: str) -> Tree:
    """Unary operators bind tightest, then `since`, `and`, `or`, `implies` (to the right)."""
    tokens = _TOKEN.findall(text)
    tree, rest = _implies(tokens)
    assert not rest, (text, rest)
    return tree


def _implies(tokens: list[str]) -> tuple[Tree, list[str]]:
    left, tokens = _or(tokens)
    if tokens[:1] == ["implies"]:
        right, tokens = _implies(tokens[1:])
        return ("implies", left, right), tokens
    return left, tokens


def _or(tokens: list[str]) -> tuple[Tree, list[str]]:
    left, tokens = _and(tokens)
    while tokens[:1] == ["or"]:
        right, tokens = _and(tokens[1:])
        left = ("or", left, right)
    return left, tokens


def _and(tokens: list[str]) -> tuple[Tree, list[str]]:
    left, tokens = _since(tokens)
    while tokens[:1] == ["and"]:
        right, tokens = _since(tokens[1:])
        left = ("and", left, right)
    return left, tokens


def _since(tokens: list[str]) -> tuple[Tree, list[str]]:
    left, tokens = _unary(tokens)
    for count in range(len(tokens)):
        if not tokens or tokens[0].split("[")[0] != "since":
            break
        window = _window(tokens[0])
        right, tokens = _unary(tokens[1:])
        # The grammar does not say which `since` of two comes first, and they differ.
        left = ("since", window, left, right) if count == 0 else ("ambiguous",)
    return left, tokens


def _unary(tokens: list[str]) -> tuple[Tree, list[str]]:
    word, rest = tokens[0], tokens[1:]
    name = word.split("[")[0]
    if name == "(":
        inner, rest = _implies(rest)
        assert rest[0] == ")"
        return inner, rest[1:]
    if name in ("not", "previous", "never"):
        inner, rest = _unary(rest)
        return (name, inner), rest
    if name in ("once", "historically"):
        inner, rest = _unary(rest)
        return (name, _window(word), inner), rest
    if name == "done":
        return ("done", rest[1]), rest[3:]
    return ("atom", word), rest


def _window(word: str) -> int | None:
    return seconds(word.split("[")[1].rstrip("] ").strip()) if "[" in word else None


def atoms_of(tree: Tree) -> set[str]:
    if tree[0] in ("atom", "done"):
        return {tree[1]}
    return set().union(*(atoms_of(part) for part in tree if isinstance(part, tuple)))


def holds_at(
    tree: Tree,
    at: int,
    times: list[int],
    possible: bool,
    holds: Holds,
    succeeded: Succeeded,
    nested: bool = False,
) -> bool:
    """Whether a formula holds at position `at`, by the definitions of section 5.

    Args:
        possible: whether a possibly true atom is enough here; flips under every negation.
        nested: whether this stands below a temporal operator. What nobody has reported yet is there taken for done
            where that restricts: a state of constant size cannot take an evaluation back (`Monitor.step`).
    """

    def sub(part: Tree, j: int, *, flip: bool = False, below: bool = True) -> bool:
        return holds_at(part, j, times, possible ^ flip, holds, succeeded, nested or below)

    def recent(window: int | None) -> list[int]:
        return [j for j in range(at + 1) if window is None or times[at] - times[j] <= window]

    match tree:
        case ("atom", name):
            return holds(name, at, possible)
        case ("done", name):
            return succeeded(at, nested and possible) and holds(name, at, possible)
        case ("not", f):
            return not sub(f, at, flip=True, below=False)
        case ("and", f, g):
            return sub(f, at, below=False) and sub(g, at, below=False)
        case ("or", f, g):
            return sub(f, at, below=False) or sub(g, at, below=False)
        case ("implies", f, g):
            return not sub(f, at, flip=True, below=False) or sub(g, at, below=False)
        case ("previous", f):
            return at > 0 and sub(f, at - 1)
        case ("never", ("done", _) as f):
            return not any(sub(f, j, flip=True, below=False) for j in range(at + 1))
        case ("never", f):
            return not any(sub(f, j, flip=True) for j in range(at + 1))
        case ("once", window, ("done", _) as f):
            return any(sub(f, j, below=False) for j in recent(window))
        case ("once", window, f):
            return any(sub(f, j) for j in recent(window))
        case ("historically", window, f):
            return all(sub(f, j) for j in recent(window))
        case ("since", window, ("not", ("done", _)) as f, g):
            return any(
                sub(g, j) and all(sub(f, k, below=False) for k in range(j + 1, at + 1))
                for j in recent(window)
            )
        case ("since", window, f, g):
            return any(sub(g, j) and all(sub(f, k) for k in range(j + 1, at + 1)) for j in recent(window))
    raise AssertionError(tree)


def refused(tree: Tree, *, allows: bool, permitted_is_done: bool) -> str | None:
    """Why the compile-time check of section 5 must refuse a formula; None = it must not."""
    return _refused(_rewritten(tree), loosening=allows, allows=allows, permitted_is_done=permitted_is_done)


def _rewritten(tree: Tree) -> Tree:
    """Without `historically`, `never`, `implies` and negations of negations."""
    match tree:
        case ("not", ("not", f)):
            return _rewritten(f)
        case ("historically", window, f):
            return _rewritten(("not", ("once", window, ("not", f))))
        case ("never", f):
            return _rewritten(("not", ("once", None, f)))
        case ("implies", f, g):
            return _rewritten(("or", ("not", f), g))
    return tuple(_rewritten(part) if isinstance(part, tuple) else part for part in tree)


def _refused(tree: Tree, *, loosening: bool, allows: bool, permitted_is_done: bool) -> str | None:
    """`loosening`: whether what becomes true here makes the rule weaker (negative in deny, positive in allow)."""

    def sub(part: Tree, *, flip: bool = False) -> str | None:
        return _refused(part, loosening=loosening ^ flip, allows=allows, permitted_is_done=permitted_is_done)

    match tree:
        case ("ambiguous",):
            return "two readings"
        case ("atom", _):
            return None
        case ("done", _):
            return "done outside once"
        case ("not", f):
            return sub(f, flip=True)
        case ("and" | "or", f, g):
            return sub(f) or sub(g)
        case ("once", _, ("done", _)):
            return None
        case ("once", _, f):
            return "once that loosens" if loosening else sub(f)
        case ("previous", f):
            return sub(f) if permitted_is_done else "previous"
        case ("since", _, ("not", ("done", _)), g):
            return "since that loosens" if loosening and not permitted_is_done else sub(g)
        case ("since", _, f, g):
            return sub(f) or sub(g) if permitted_is_done else "since"
    raise AssertionError(tree)
