"""`controlplane principal`: the people whose roles approvals and rules look at."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.json_values import JsonObject
from controlplane.cli.output import JsonOption, reported, show, table

app = typer.Typer(no_args_is_help=True, help="Add and list principals: people and services with roles.")


@app.command("add")
@reported
def add(
    id: Annotated[str, typer.Argument(help="Its id, e.g. `ada@bank.example`.")],
    type: Annotated[str, typer.Option(help="Its subject type.")] = "user",
    role: Annotated[list[str] | None, typer.Option(help="A role it has. Repeat for more.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group it is in. Repeat for more.")] = None,
    attributes: Annotated[
        JsonObject | None,
        typer.Option(parser=JsonObject.parse, metavar="JSON", help="Other registered facts."),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a principal, or replace what is known of it.

    Example: controlplane principal add ada@bank.example --role treasury
    """
    if id.startswith(f"{type}:"):
        told = f"its id alone: `{id.removeprefix(f'{type}:')}`; its type is `{type}` (--type)"
        raise typer.BadParameter(told, param_hint="ID")
    for option, names in (("role", role), ("group", group)):
        for name in names or ():
            if name.startswith(f"{option}:"):
                raise typer.BadParameter(
                    f"its name alone: `{name.removeprefix(f'{option}:')}`; rules say `{name}` of it",
                    param_hint=f"--{option}",
                )
    body: dict[str, Any] = {"type": type, "id": id, "roles": role or [], "groups": group or []}
    if attributes is not None:
        body["attributes"] = attributes.value
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/principals", body)
    show(as_json, answer, lambda console: console.print(f"added {type}:{id}"))


@app.command("list")
@reported
def list_principals(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List all principals."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/principals")
    rows = [
        (
            entry.get("type"),
            entry["id"],
            entry.get("roles"),
            entry.get("groups"),
            entry.get("attributes") or "",
        )
        for entry in answer["principals"]
    ]
    columns = ("type", "id", "roles", "groups", "attributes")
    show(as_json, answer, lambda console: table(console, columns, rows, empty="no principals"))
