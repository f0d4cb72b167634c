"""`controlplane agent`: which agents there are, and what each can touch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.json_values import JsonObject
from controlplane.cli.output import JsonOption, cell, pairs, reported, show, table

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="Register, list and show agents.")


class Isolation(StrEnum):
    HOSTED = "hosted"
    DEDICATED = "dedicated"


@app.command("register")
@reported
def register(
    id: Annotated[str, typer.Argument(help="The agent's id, e.g. `treasury-bot`.")],
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="A tool it declares to call. Repeat for more; '' = none.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A label that rules may match. Repeat for more; '' = none.")
    ] = None,
    attributes: Annotated[
        JsonObject | None,
        typer.Option(parser=JsonObject.parse, metavar="JSON", help="Other registered facts."),
    ] = None,
    isolation: Annotated[
        Isolation | None,
        typer.Option(
            help="hosted: shares a host; dedicated: a process of its own. Fixed from then on. [default: hosted]"
        ),
    ] = None,
    standing: Annotated[
        bool | None,
        typer.Option(
            "--standing/--no-standing",
            help="Whether it may act without naming a session; if not, that is denied. [default: standing]",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="The agent's own version.")] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an agent, or change what is registered of it.

    What is not given stays as it was registered before; a list that is given replaces the earlier one.

    Example: controlplane agent register treasury-bot --owner ada --tool 'payments.transfer' --label finance
    """
    optional = {
        "owner": owner,
        "tools": _given(tool),
        "labels": _given(label),
        "version": version,
        "attributes": None if attributes is None else attributes.value,
        "isolation": None if isolation is None else isolation.value,
        "standing": standing,
    }
    body = {"id": id, **{name: value for name, value in optional.items() if value is not None}}
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/agents", body)
    show(as_json, answer, lambda console: _print_registered(console, id, answer))


@app.command("list")
@reported
def list_agents(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List all agents."""
    agents: list[dict[str, Any]] = []
    with connect(data, url, key) as client:
        after = ""
        while True:
            page = client.request(
                "GET", f"/v1/agents?after={quote(after, safe='')}" if after else "/v1/agents"
            )
            agents += page["agents"]
            after = page.get("next") or ""
            if not after:
                break
    rows = [(entry["id"], entry.get("owner"), entry.get("isolation")) for entry in agents]
    show(
        as_json,
        {"agents": agents},
        lambda console: table(console, ("id", "owner", "isolation"), rows, empty="no agents"),
    )


@app.command("show")
@reported
def show_agent(
    id: Annotated[str, typer.Argument(help="The agent's id.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an agent: its record, sessions and capabilities."""
    with connect(data, url, key) as client:
        answer = client.request("GET", f"/v1/agents/{quote(id, safe='')}")
    show(as_json, answer, lambda console: _print(console, answer))


def _given(values: list[str] | None) -> list[str] | None:
    """None = not given; one empty text = none at all."""
    return [value for value in values if value] if values else None


def _print_registered(console: Console, id: str, answer: dict[str, Any]) -> None:
    console.print(f"registered {cell(id)}")
    shown = {"owner": "nobody", "labels": "none"} | {
        name: value for name in ("owner", "labels") if (value := answer.get(name))
    }
    tools = answer.get("tools") or []
    shown["tools"] = f"{len(tools)} declared" if tools else "none declared (which denies nothing)"
    extra = {name: answer.get(name) for name in ("attributes", "isolation", "standing", "version")}
    pairs(console, shown | extra)


def _print(console: Console, answer: dict[str, Any]) -> None:
    record = answer.get("agent") or {}
    pairs(console, {name: value for name, value in record.items() if name != "tenant"})
    sessions = answer.get("sessions") or []
    console.print(f"\n{len(sessions)} sessions", style="bold")
    columns = ("session", "workflow", "turns", "actions", "opened_at", "last_at")
    table(console, columns, [[entry.get(name) for name in columns] for entry in sessions], empty="none")
    edges = (answer.get("graph") or {}).get("edges") or []
    console.print(f"\n{len(edges)} edges in the capability graph", style="bold")
    rows = [
        (
            edge.get("key"),
            _node(edge.get("from")),
            _node(edge.get("to")),
            edge.get("declared"),
            edge.get("observed"),
            edge.get("count"),
        )
        for edge in edges
    ]
    table(console, ("edge", "from", "to", "declared", "observed", "count"), rows, empty="none")


def _node(node: object) -> str:
    return ":".join(map(str, node)) if isinstance(node, list) else cell(node)
