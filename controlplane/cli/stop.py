"""`controlplane stop`, `stops`, `release`: taking something out of service, and back in."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.durations import seconds
from controlplane.cli.output import JsonOption, cell, reported, show, table

if TYPE_CHECKING:
    from rich.console import Console


class TargetType(StrEnum):
    AGENT = "agent"
    TOOL = "tool"
    SYSTEM = "system"
    WORKFLOW = "workflow"
    OWNER = "owner"
    FLEET = "fleet"


@reported
def stop(
    what: Annotated[TargetType, typer.Argument(help="What kind of thing.")],
    id: Annotated[
        str | None,
        typer.Argument(
            help="Which one: an id; of agents and tools also a glob, `*` for any run of characters; "
            "of an owner what agents are registered with. Left out for the fleet.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why: in evidence, and told to whoever is denied. Needed to stop anything."),
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="How long: 30m, 12h, 90d. [default: until released]"),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say how many agents and live sessions it would stop.", show_default=False
        ),
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an agent, a tool, a system, a workflow, or the fleet.

    Whatever meets the stop is denied (`stopped`), in every session, also what was allowed before under the same
    idempotency key. The command returns once every owner that can be reached enforces it, and names the others: they
    deny by themselves within two seconds until they have heard of it.

    Example: controlplane stop agent treasury-bot --reason 'pays twice' --for 1h

    Example: controlplane stop fleet --reason 'incident 4711' --dry-run
    """
    if (what is TargetType.FLEET) is not (id is None):
        text = "the fleet has no id" if id is not None else f"which {what.value}? give its id"
        raise typer.BadParameter(text, param_hint="ID")
    if not dry_run and not (reason or "").strip():
        raise typer.BadParameter("say why: it stands in evidence", param_hint="--reason")
    body: dict[str, Any] = {
        "target": {"type": what.value} | ({} if id is None else {"id": id}),
        "reason": reason or "dry run",
    }
    if lasts is not None:
        body["expires_in_s"] = seconds(lasts)
    with connect(data, url, key) as client:
        if dry_run:
            counted = client.request("POST", "/v1/stops", body | {"dry_run": True})
            show(as_json, counted, lambda console: _counted(console, counted))
            return
        answer = client.request("POST", "/v1/stops", body)
        show(as_json, answer, lambda console: _stopped(console, answer))
        # It is in force and said so. Now whether it met anything: a name with a typo stops nobody.
        if not as_json and what is not TargetType.FLEET and answer.get("known") is None:
            counted = client.request("POST", "/v1/stops", body | {"dry_run": True})
            show(False, counted, lambda console: _met(console, counted, answer["id"]))


@reported
def list_stops(
    over: Annotated[
        bool,
        typer.Option("--all", help="Also those that were over in the last week.", show_default=False),
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is stopped, the newest first."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/stops" + ("?over=true" if over else ""))
    rows = [
        (
            entry["id"],
            _named(entry["target"]),
            entry["state"],
            entry["by"],
            entry["created_at"],
            entry.get("expires_at") or "never",
            entry["reason"],
        )
        for entry in answer["stops"]
    ]

    def human(console: Console) -> None:
        columns = ("id", "stops", "state", "by", "since", "ends", "reason")
        table(console, columns, rows, empty="nothing is stopped")
        if answer.get("more"):
            console.print("and more; the evidence table has them all")

    show(as_json, answer, human)


@reported
def release(
    id: Annotated[str, typer.Argument(help="The stop: `stp_…`, as `controlplane stops` shows it.")],
    reason: Annotated[str, typer.Option(help="Why: it stands in evidence.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a stop.

    Where it takes two operators (`controlplane up --second-operator`), the first asks and another's key confirms.

    Example: controlplane release stp_0123456789abcdef01 --reason 'mended, see 4711'
    """
    if not id.startswith("stp_"):
        raise typer.BadParameter(
            f"`{id}` is no stop: `controlplane stops` lists them, `stp_…`", param_hint="ID"
        )
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/stops/{quote(id, safe='')}/release", {"reason": reason})

    def human(console: Console) -> None:
        asked = answer["state"] == "release_requested"
        text = "asked for: another operator's key confirms it" if asked else answer["state"]
        console.print(cell(f"{answer['id']} of {_named(answer['target'])}: {text}"))
        _lagging(console, answer, "still deny it until they have heard of the release")

    show(as_json, answer, human)


def _stopped(console: Console, answer: dict[str, Any]) -> None:
    ends = f" until {answer['expires_at']}" if answer.get("expires_at") else ""
    console.print(cell(f"stopped {_named(answer['target'])}{ends}: {answer['id']}"))
    if answer.get("known") is False:
        name = answer["target"]["id"]
        nobody = {"owner": f"no agent is registered with the owner `{name}`"}
        text = nobody.get(answer["target"]["type"], f"no agent `{name}` is registered")
        text += ": it stops one that comes"
        console.print(cell(text), style="yellow")
    _lagging(
        console,
        answer,
        "have not said so; within two seconds they deny everything until they have heard of it",
    )


def _met(console: Console, counted: dict[str, Any], stop: str) -> None:
    if counted["agents"] or counted["sessions"] or counted.get("unreachable"):
        return
    console.print(
        cell(
            "it meets no agent that is registered, and no live session: is "
            f"{_named(counted['target'])} spelled as it is meant? `controlplane release {stop}` takes it back"
        ),
        style="yellow",
    )


def _counted(console: Console, answer: dict[str, Any]) -> None:
    text = f"{_named(answer['target'])}: {answer['agents']} agents and {answer['sessions']} live sessions would stop"
    console.print(cell(text))
    if answer.get("unreachable"):
        console.print(cell(f"not counted: {cell(answer['unreachable'])} cannot be reached"), style="yellow")


def _lagging(console: Console, answer: dict[str, Any], what: str) -> None:
    if answer.get("lagging"):
        console.print(cell(f"lagging: {cell(answer['lagging'])} {what}"), style="yellow")


def _named(target: dict[str, Any]) -> str:
    return "the fleet" if target["type"] == "fleet" else f"{target['type']} {target['id']}"
