"""Tool schemas (`TOOLS.json`), in whichever form tools are listed: names, arguments, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policies.catalog import TOOL, Catalog

_CUSTOMERS = "user"
_BY_PLACE = "_pos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of the agent's.

    Attributes:
        names: under which it may be called: its own, or with the name of its kit before it.
        arguments: in the order of the schema; None = they are not listed.
    """

    names: tuple[str, ...]
    arguments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """
    Attributes:
        customers: names of the tools that only the customer has.
    """

    agents: tuple[Tool, ...] = ()
    customers: frozenset[str] = field(default_factory=frozenset)

    def named(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, where a file has some by place only: `_pos0`, `_pos1`, …"""
        if not any(name.startswith(_BY_PLACE) for name in arguments):
            return dict(arguments)
        own = tool.rpartition(".")[2]
        listed = next((one.arguments for one in self.agents if tool in one.names or own in one.names), None)
        places = {f"{_BY_PLACE}{place}": name for place, name in enumerate(listed or ())}
        return {places.get(name, name): value for name, value in arguments.items()}

    def gaps(self, catalog: Catalog) -> Iterator[str]:
        """What the schemas list and a catalog does not: each would be refused."""
        known = [name for kind, name in catalog.entries if kind == TOOL]
        missing = []
        for tool in self.agents:
            name = next((name for name in tool.names if catalog.facts(TOOL, name)), None)
            if name is None:
                name = next((one for one in known if one.endswith(f".{tool.names[0]}")), None)
            facts = catalog.facts(TOOL, name) if name is not None else None
            if facts is None:
                missing.append(tool.names[0])
            elif tool.arguments is not None and facts.arguments is not None:
                for argument in sorted(set(tool.arguments) - facts.arguments.keys()):
                    yield f"`{name}` takes `{argument}`, which the catalog does not list"
        if missing:
            yield f"the catalog has no {', '.join(f'`{name}`' for name in missing)}"


def read_tools(path: Path) -> Tools:
    """Read tool schemas: a list, lists by kit, or lists by whose they are (`agent`, `user`).

    Raises: ValueError: it is not JSON.
    """
    written = json.loads(path.read_text())
    customers: frozenset[str] = frozenset()
    if isinstance(written, dict) and _CUSTOMERS in written and "agent" in written:
        customers = frozenset(tool.names[0] for tool in _found(written[_CUSTOMERS], ""))
        written = written["agent"]
    agents = tuple(_found(written, ""))
    return Tools(agents=agents, customers=customers - {tool.names[0] for tool in agents})


def _found(written: Any, kit: str) -> Iterator[Tool]:
    if isinstance(written, list):
        for one in written:
            yield from _found(one, kit)
    elif isinstance(written, dict):
        name, below = written.get("name"), written.get("tools")
        if isinstance(below, list | dict):
            yield from _found(below, str(written.get("toolkit") or name or ""))
        elif isinstance(name, str):
            yield Tool(names=(name, f"{kit}{name}", f"{kit}.{name}"), arguments=_arguments(written))
        else:
            for key, one in written.items():
                yield from _found(one, key)


def _arguments(tool: Mapping[str, Any]) -> tuple[str, ...] | None:
    listed = tool.get("parameters", tool.get("inputSchema", tool.get("input_schema")))
    if isinstance(listed, list):
        return tuple(str(one["name"]) for one in listed if isinstance(one, dict) and "name" in one)
    if isinstance(listed, dict) and isinstance(listed.get("properties"), dict):
        return tuple(listed["properties"])
    return None
