"""Tool descriptions as protocols and frameworks write them, read into one form. They come from outside: nothing in
them is believed, and their prose is never copied.

Known forms: MCP `tools/list` (`{"tools": [...]}`), OpenAI functions (`{"type": "function", "function": {...}}`), a
bare list of `{name, description, parameters}`, and any of these in groups: a mapping from a group's name to its tools,
or a list of groups with `tools` of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from controlplane.errors import InputError

MAX_TOOLS = 2_000
MAX_PARAMETERS = 256
MAX_NAME = 256
MAX_TYPE = 64
MAX_PROSE = 8_192  # of a description; what lies behind is not looked at

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}")
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")  # what every door refuses
_SCHEMAS = ("inputSchema", "input_schema", "parameters", "arguments", "params")
_RESULTS = ("outputSchema", "output_schema", "response", "returns")
_GROUP_NAMES = ("server", "name_for_model", "toolkit", "namespace", "name")
_HINTS = ("readOnlyHint", "destructiveHint", "openWorldHint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One parameter, or one field of a result. Args: type: JSON Schema's word or a language's, lower case."""

    name: str
    type: str = ""
    format: str = ""
    description: str = ""
    required: bool = False
    choices: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDescription:
    """One tool. Args: group: of the server or toolkit it belongs to, or ""; results: None = not described."""

    name: str
    group: str = ""
    description: str = ""
    parameters: tuple[Field, ...] = ()
    results: tuple[Field, ...] | None = None
    hints: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


def read_descriptions(value: Any) -> tuple[ToolDescription, ...]:
    """Every tool of a document, in its order.

    Args:
        value: JSON as a door reads it: bounded in size and depth, without duplicate keys.
    Raises: InputError: `invalid_tools`, where nothing is a tool, a name cannot be an id, or there are too many.
    """
    found: list[ToolDescription] = []
    for group, item in _items(value, "", 0):
        if len(found) == MAX_TOOLS:
            raise _refused(f"more than {MAX_TOOLS} tools")
        found.append(_tool(item, group))
    if not found:
        raise _refused(
            'no tool in it; expected `{"tools": [...]}` or a list of `{name, description, parameters}`'
        )
    return tuple(_qualified(found))


def _items(value: Any, group: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match value:
        case list():
            for one in value:
                yield from _items(one, group, depth)
        case {"function": dict() as function}:
            yield group, function
        case {"tools": list() as tools}:
            names = (value.get(key) for key in _GROUP_NAMES)
            yield from _items(tools, next((name for name in names if isinstance(name, str)), group), depth)
        case {"result": {"tools": list() as tools}}:  # the whole JSON-RPC answer
            yield from _items(tools, group, depth)
        case {"name": str()}:
            yield group, value
        case dict() if depth == 0 and all(isinstance(one, list) for one in value.values()):
            for name, tools in value.items():
                yield from _items(tools, name, 1)
        case _:
            raise _refused("something in it is neither a tool, which has a `name`, nor a group of tools")


def _tool(item: Mapping[str, Any], group: str) -> ToolDescription:
    name = str(item["name"])
    if not _ID.fullmatch(name):
        # Not skipped: a tool that is missing from a catalog is denied, and nobody would know why. A `*` would make
        # the entry a glob, which a tool could use to describe others.
        raise _refused(f"tool `{_shown(name)}` has a name that is no id ({_ID.pattern})")
    description = item.get("description") or item.get("summary") or ""
    schema = next((item[key] for key in _SCHEMAS if key in item), None)
    results = next((item[key] for key in _RESULTS if key in item), None)
    annotations = item.get("annotations")
    hints: Mapping[str, Any] = annotations if isinstance(annotations, dict) else {}
    return ToolDescription(
        name=name,
        group=group if _ID.fullmatch(group) else "",
        description=description[:MAX_PROSE] if isinstance(description, str) else "",
        parameters=tuple(_fields(schema, name)),
        results=tuple(_fields(results, name)) if isinstance(results, dict | list) else None,
        hints=MappingProxyType(
            {key: hints[key] is True for key in _HINTS if isinstance(hints.get(key), bool)}
        ),
    )


def _fields(schema: Any, tool: str) -> Iterator[Field]:
    found: list[Field] = []
    match schema:
        case {"properties": dict() as properties}:
            required = schema.get("required")
            needed = (
                {one for one in required if isinstance(one, str)} if isinstance(required, list) else set()
            )
            found = [_field(name, one, name in needed) for name, one in properties.items()]
        case {"items": dict() as items}:
            yield from _fields(items, tool)
            return
        case list():
            found = [one for one in map(_listed, schema) if one is not None]
    if len(found) > MAX_PARAMETERS:
        raise _refused(f"tool `{tool}` has {len(found)} parameters; at most {MAX_PARAMETERS}")
    for one in found:
        if not one.name or len(one.name) > MAX_NAME:
            raise _refused(
                f"tool `{tool}` has a parameter without a name, or with one of over {MAX_NAME} characters"
            )
        if _NO_TEXT.search(one.name):
            raise _refused(f"tool `{tool}` has a parameter whose name no request can carry")
    yield from found


def _listed(item: Any) -> Field | None:
    match item:
        case {"name": str() as name}:
            return _field(name, item, item.get("required") is True)
        case str():  # `limit:int`
            name, _, type_ = item.partition(":")
            return Field(
                name=name.strip(),
                type=type_.strip()[:MAX_TYPE].lower(),
                required="optional" not in type_.lower(),
            )
    return None


def _field(name: str, written: Any, required: bool) -> Field:
    if not isinstance(written, dict):
        return Field(name=name, required=required)
    schema: Mapping[str, Any] = written
    variants = schema.get("anyOf") or schema.get("oneOf")
    if "type" not in schema and isinstance(variants, list):
        real = [one for one in variants if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(real) == 1 and isinstance(real[0], dict):
            schema = {**real[0], "description": schema.get("description")}
    type_, format_, prose = schema.get("type"), schema.get("format"), schema.get("description")
    if isinstance(type_, list):
        real_types = [one for one in type_ if one != "null"]
        type_ = real_types[0] if len(real_types) == 1 else ""
    return Field(
        name=name,
        type=type_[:MAX_TYPE].lower() if isinstance(type_, str) else "",
        format=format_.lower() if isinstance(format_, str) else "",
        description=prose[:MAX_PROSE] if isinstance(prose, str) else "",
        required=required,
        choices=isinstance(schema.get("enum"), list),
    )


def _qualified(tools: list[ToolDescription]) -> Iterator[ToolDescription]:
    """A name that several groups use is told apart by its group."""
    counts: dict[str, int] = {}
    for tool in tools:
        counts[tool.name] = counts.get(tool.name, 0) + 1
    seen: set[str] = set()
    for tool in tools:
        name = f"{tool.group}.{tool.name}" if counts[tool.name] > 1 and tool.group else tool.name
        if name in seen:
            raise _refused(f"two tools are named `{name}`")
        seen.add(name)
        yield replace(tool, name=name)


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:60])


def _refused(message: str) -> InputError:
    return InputError(message, code="invalid_tools")
