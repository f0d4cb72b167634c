"""Results that are `key: value` lines, or MCP's content blocks; `policies.origin.structure` reads JSON and YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from policies.origin.field_trust import FieldTrust

_FIELD: Final = re.compile(r"(\s*)((?:-\s+)*)([^\W\d][\w .()-]{0,63}?)\s*:(?:\s+(.*))?$")
_ITEM: Final = re.compile(r"(\s*)((?:-\s+)+)(.*)$")
_BLOCK_TYPES: Final = frozenset(("text", "image", "audio", "resource", "resource_link"))
_MCP_FIELDS: Final = frozenset(("content", "structuredContent", "isError", "_meta"))


def unwrapped(value: Any) -> list[Any] | None:
    """What MCP content blocks hold; None: the value is no MCP result."""
    if isinstance(value, dict):
        if "content" not in value or not value.keys() <= _MCP_FIELDS:
            return None
        blocks = unwrapped(value["content"])
        rest = [value[name] for name in ("structuredContent", "_meta") if value.get(name) is not None]
        return None if blocks is None else blocks + rest
    if not isinstance(value, list) or not value or not all(map(_is_block, value)):
        return None
    return [part for block in value for part in _parts(block)]


def _parts(block: dict[str, Any]) -> list[Any]:
    """A block's text; and whatever else it says."""
    rest = {name: value for name, value in block.items() if name not in ("type", "text")}
    return [*([block["text"]] if "text" in block else []), *([rest] if rest else [])]


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in _BLOCK_TYPES and len(value) > 1


def lines(text: str, root: FieldTrust) -> Iterator[tuple[FieldTrust, str]] | None:
    """The fields of `key: value` lines (block YAML among them), in their order; None: no line names a field of `root`.

    A line that starts deeper than a field which has a value belongs to that value.
    """
    named = (_FIELD.match(line) for line in text.splitlines())
    if not any(found and found[3] in _names(root) for found in named):
        return None
    return _fields(text, root)


def _names(root: FieldTrust) -> set[str]:
    found: set[str] = set()
    places = [root]
    while places:
        place = places.pop()
        found |= place.below.keys()
        places += place.below.values()
    return found


def _fields(text: str, root: FieldTrust) -> Iterator[tuple[FieldTrust, str]]:
    # Open places, the innermost last: how deep the line that opened it starts, and whether it has a value already.
    open_: list[tuple[int, FieldTrust]] = [(-1, root)]
    place, depth, value = root, -1, ""
    for line in text.splitlines():
        start = len(line) - len(line.lstrip())
        if not line.strip() or (value and start > depth):
            value += "\n" + line
            continue
        field, item = _FIELD.match(line), _ITEM.match(line)
        if field is None and item is None:
            value += "\n" + line
            continue
        if value.strip():
            yield place, value
        if field is not None:
            depth = start + len(field[2])
            while open_[-1][0] >= depth:
                open_.pop()
            above, name = open_[-1][1], field[3]
            if name not in above.below:  # the catalog's own names are no data
                yield FieldTrust(above.trust), name
            place, value = above.field(name), field[4] or ""
            open_.append((depth, place))
        else:
            assert item is not None
            depth = start
            while open_[-1][0] > depth:
                open_.pop()
            place, value = open_[-1][1].element(0), item[3]
    if value.strip():
        yield place, value
