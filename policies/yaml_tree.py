"""YAML 1.2 (core schema) read into a tree that remembers where everything stands.

Read from the parser's events instead of its constructors, because policy files come from outside: no tags, no
anchors or aliases (nothing can be expanded), no duplicate keys, bounded size and depth, and `on` and `no` are
strings. Whatever text comes in, only `PolicyError`s come out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from policies.action import Json
from policies.error import PolicyError, PolicyErrors, Source

MAX_SOURCE_BYTES = 1 << 20
MAX_DEPTH = 32
_EXACT_INTEGER = 2**53  # beyond it, JSON readers disagree about the value

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SYNTAX_HINTS = (
    ("<stream end>", "a bracket or a quote is not closed"),
    (
        "mapping values are not allowed here",
        "put text with a colon in it in quotes; is the line indented as its neighbours are?",
    ),
    ("expected <block end>", "keys of one mapping, and items of one list, begin in the same column"),
    (
        "could not find expected ':'",
        "a key is followed by a colon and a space; is the line indented as its neighbours are?",
    ),
    (
        "expected ',' or",
        "inside `{…}` and `[…]`, text with a bracket, a comma or a colon in it stands in quotes",
    ),
    ("'\\t' that cannot start any token", "indent with spaces, not with tabs"),
    ("expected alphabetic or numeric character", "put text that begins with `*` or `&` in quotes"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """One value; `line` and `column` count from 1.

    Args:
        value: a scalar, a list of nodes, or a dictionary of nodes.
        key: where the node's key stands, in a mapping; else where the node itself stands.
        style: "" for plain scalars, else one of `'`, `"`, `|`, `>`.
        put_from: the source it was taken from, where another document's value was put in; `line` and `column` are
            its places there.
    """

    value: bool | int | float | str | list[Node] | dict[str, Node] | None
    line: int
    column: int
    key: tuple[int, int]
    style: str = ""
    put_from: Source | None = None

    def plain(self) -> Json:
        """The value without positions. Cost: one pass."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Sequence[str | int]) -> Node:
        """The node at `path`, or the deepest one on the way to it."""
        node = self
        for step in path:
            match node.value, step:
                case dict() as children, str() if step in children:
                    node = children[step]
                case list() as items, int() if step < len(items):
                    node = items[step]
                case _:
                    return node
        return node


def read_yaml(source: Source) -> list[Node]:
    """Every document of one source; empty ones are left out.

    Raises: PolicyErrors: not YAML, or YAML that policies do not use; it names the first such place.
    Cost: the parser is pure Python, 1 to 13 seconds for 1 MiB; keep it off event loops.
    """
    size_bytes = len(source.text.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_SOURCE_BYTES:
        raise _refusal(
            source, None, "too_large", f"the file has {size_bytes} bytes; at most {MAX_SOURCE_BYTES}"
        )
    at = source.text.find("\0")
    if at >= 0:
        line = source.text.count("\n", 0, at) + 1
        raise PolicyErrors(
            [
                PolicyError(
                    file=source.name, line=line, column=1, code="nul", message="NUL character in the file"
                )
            ]
        )
    try:
        return list(_documents(source))
    except MarkedYAMLError as error:
        reason = str(error.problem or error.context or "not YAML").strip().lower()
        hint = _syntax_hint(reason)
        raise _refusal(
            source, error.problem_mark, "invalid_yaml", f"not valid YAML: {reason}", hint
        ) from error
    except PolicyErrors:
        raise
    except Exception as error:  # the parser raises ValueError, IndexError, … on some malformed texts
        raise _refusal(source, None, "invalid_yaml", f"not valid YAML: {type(error).__name__}") from error


def _documents(source: Source) -> Iterator[Node]:
    yaml = YAML(typ="safe", pure=True)
    events = yaml.parse(source.text)
    for event in events:
        if isinstance(event, DocumentStartEvent):
            node = _read(source, events, next(events), None, 1)
            if node.value is not None:
                yield node
        elif isinstance(event, DocumentEndEvent):
            continue


Events: TypeAlias = Iterator[Any]


def _read(source: Source, events: Events, event: Any, key: tuple[int, int] | None, depth: int) -> Node:
    mark = event.start_mark
    line, column = mark.line + 1, mark.column + 1
    key = key or (line, column)
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
        raise _refusal(source, mark, "alias", "anchors and aliases are not read; write the value out")
    if getattr(event, "ctag", None) is not None:
        raise _refusal(source, mark, "tag", f"tags are not read (`{event.ctag}`)")
    if depth > MAX_DEPTH:
        raise _refusal(source, mark, "too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(event, ScalarEvent):
        style = event.style or ""
        value = _scalar(source, event) if not style else event.value
        if isinstance(value, str):
            value = _paired(value)
            _check_text(source, mark, value)
        return Node(value, line, column, key, style)
    if isinstance(event, SequenceStartEvent):
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(_read(source, events, event, None, depth + 1))
        return Node(items, line, column, key)
    assert isinstance(event, MappingStartEvent)
    children: dict[str, Node] = {}
    while not isinstance(event := next(events), MappingEndEvent):
        if not isinstance(event, ScalarEvent):
            raise _refusal(source, event.start_mark, "invalid_key", "a key must be plain text")
        if event.anchor is not None or event.ctag is not None:
            raise _refusal(source, event.start_mark, "invalid_key", "a key takes no anchor and no tag")
        name = _paired(event.value)
        _check_text(source, event.start_mark, name)
        if name in children:
            hint = "a line `---` stands between two documents" if (name, depth) == ("kind", 1) else ""
            raise _refusal(source, event.start_mark, "duplicate_key", f"duplicate key `{_shown(name)}`", hint)
        where = (event.start_mark.line + 1, event.start_mark.column + 1)
        children[name] = _read(source, events, next(events), where, depth + 1)
    return Node(children, line, column, key)


def _scalar(source: Source, event: Any) -> bool | int | float | str | None:
    """Resolve a plain scalar by the core schema."""
    text: str = event.value
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) <= 20 else _EXACT_INTEGER + 1
        if abs(number) > _EXACT_INTEGER:
            raise _refusal(source, event.start_mark, "number", "integer outside ±2^53; write it as a string")
        return number
    if _FLOAT.fullmatch(text):
        real = float(text) if len(text) <= 400 else math.inf
        if math.isinf(real):
            raise _refusal(source, event.start_mark, "number", "number out of range; write it as a string")
        return real
    if _NOT_A_NUMBER.fullmatch(text):
        raise _refusal(source, event.start_mark, "number", f"`{text}` is not a JSON number; quote it")
    return text


def _paired(text: str) -> str:
    r"""JSON writes what lies beyond U+FFFF as two surrogates, `"\ud83d\ude00"`; and JSON is YAML."""
    if text.isascii() or not _PAIR.search(text):
        return text
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _check_text(source: Source, mark: Any, text: str) -> None:
    if "\0" in text:
        raise _refusal(source, mark, "nul", "NUL character in a string")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refusal(source, mark, "surrogate", "lone surrogate in a string") from None


def _syntax_hint(reason: str) -> str:
    """What usually lies behind the parser's words, which speak of its own state."""
    return next((hint for part, hint in _SYNTAX_HINTS if part in reason), "")


def _refusal(source: Source, mark: Any, code: str, message: str, hint: str = "") -> PolicyErrors:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return PolicyErrors(
        [PolicyError(file=source.name, line=line, column=column, code=code, message=message, hint=hint)]
    )


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
