"""A draft as YAML that a person corrects: each proposal with its reason behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policies.catalog_draft.proposal import Proposal, ProposedArgument, ProposedTool

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")
_MEANS_ELSE = frozenset(("null", "true", "false"))  # besides, YAML 1.2 has no words that are no text


def yaml_text(tools: Sequence[ProposedTool], *, origin: str) -> str:
    """A `kind: Catalog` document. Args: origin: what it was drafted from, for the first line."""
    return "\n".join(_lines(tools, origin)) + "\n"


def _lines(tools: Sequence[ProposedTool], origin: str) -> Iterator[str]:
    yield f"# Drafted from {_comment(origin)}. A proposal, not a fact: read it all, and settle every `check:`."
    yield "kind: Catalog"
    yield "tools:"
    for tool in tools:
        yield f"  {_scalar(tool.name)}:"
        if tool.system is not None:
            yield f"    system: {_scalar(tool.system)}"
        yield from _entry("effects", _list(tool.effects.value), tool.effects)
        yield from _entry("boundary", tool.boundary.value, tool.boundary)
        yield from _entry("data", _list(tool.data.value), tool.data)
        returns = tool.returns.value
        shown = None
        if returns is not None:
            inner = ", ".join(f"{_scalar(pointer)}: {trust}" for pointer, trust in returns.items())
            shown = returns["default"] if len(returns) == 1 else f"{{{inner}}}"
        yield from _entry("returns", shown, tool.returns)
        if not tool.args:
            yield "    args: {}"
            continue
        yield "    args:"
        for name, argument in tool.args.items():
            yield f"      {_scalar(name)}: {_argument(argument)}{_reason(argument.role)}"
    systems = sorted({tool.system for tool in tools if tool.system is not None})
    classes = sorted({one for tool in tools for one in tool.data.value or ()})
    for key, names in (("systems", systems), ("data", classes)):
        if names:
            yield f"{key}:"
            yield from (f"  {_scalar(name)}: {{}}" for name in names)


def _entry(key: str, value: str | None, proposal: Proposal[object]) -> Iterator[str]:
    shown = f"{key}: {value}" if value is not None else f"# {key}: left open"
    yield f"    {shown}{_reason(proposal)}"


def _argument(argument: ProposedArgument) -> str:
    parts = [f"type: {argument.type}"]
    if argument.role.value is not None:
        parts.append(f"role: {argument.role.value}")
    if argument.required:
        parts.append("required: true")
    return f"{{{', '.join(parts)}}}"


def _reason(proposal: Proposal[object]) -> str:
    return f"  # {'check: ' if proposal.check else ''}{_comment(proposal.because)}"


def _list(values: Sequence[str] | None) -> str | None:
    return None if values is None else f"[{', '.join(map(_scalar, values))}]"


def _scalar(text: str) -> str:
    """Names come from outside: whatever is not plainly a name is quoted, and nothing in it can end the line."""
    if _PLAIN.fullmatch(text) and text.lower() not in _MEANS_ELSE:
        return text
    return '"' + "".join(map(_character, text)) + '"'


def _character(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:600]
