"""`controlplane evidence retention` and `evidence hold`: how long evidence is kept, and what is kept longer."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.durations import seconds
from controlplane.cli.output import FAILED, JsonOption, cell, pairs, reported, screen, show, table

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane_sdk.client import ControlPlane

retention = typer.Typer(no_args_is_help=True, help="How long evidence is kept; letting go what is older.")
hold = typer.Typer(no_args_is_help=True, help="Legal holds: what is kept longer.")

_UNDER_WAY = ("looking", "checking", "leaving")
_POLL_S = 0.5
_DAY_S = 86_400


@retention.command("show")
@reported
def show_retention(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show how long evidence is kept, and what the last run did."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/evidence/retention")

    def human(console: Console) -> None:
        pairs(
            console,
            {
                "kept": _kept(answer["keep_days"]),
                "reason": answer["reason"],
                "set by": answer["by"],
                "set at": answer["set_at"],
                "leaving now": answer["leaving"],
            },
        )
        _print_run(console, answer["run"])

    show(as_json, answer, human)


@retention.command("set")
@reported
def set_retention(
    keep: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long, in days, like 400d; `forever` lets nothing go."),
    ],
    allow_shorter: Annotated[
        bool,
        typer.Option(
            "--allow-shorter", help="Keep it for less than six months; --reason says why.", show_default=False
        ),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why: it stands in evidence.")] = "",
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set how long evidence is kept, of the whole deployment.

    Each date leaves as a whole, once every row of it happened and landed that long ago and no hold keeps it. It leaves
    with a signed note, so that `controlplane evidence verify` still accounts for every row. Up to a week's dates leave
    by themselves, once a day; more wait for `controlplane evidence retention run`.

    Example: controlplane evidence retention set --keep 400d
    """
    days: int | None = None
    if keep != "forever":
        length_s = seconds(keep)
        if length_s % _DAY_S:
            raise typer.BadParameter("evidence is kept for whole days, like 400d", param_hint="--keep")
        days = length_s // _DAY_S
    body = {"keep_days": days, "allow_shorter": allow_shorter, "reason": reason}
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/evidence/retention", body)
    show(as_json, answer, lambda console: console.print(cell(f"kept {_kept(answer['keep_days'])}")))


@retention.command("run")
@reported
def run(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what would leave, and what is held back by what.",
            show_default=False,
        ),
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let go what is older than evidence is kept; 31 dates at a time.

    Every row that leaves is first held against the signed checkpoints: where one is not what was signed, nothing
    leaves. The run goes on in the evidence writer if you interrupt the command.

    Exit status: 0 done, or nothing was due; 1 it failed.

    Example: controlplane evidence retention run --dry-run
    """
    with connect(data, url, key) as client:
        client.request("POST", "/v1/evidence/retention/runs", {"dry_run": dry_run})
        found = _followed(client)
    show(as_json, found, lambda console: _print_run(console, found))
    if "error" in found:
        raise typer.Exit(FAILED)


@hold.command("add")
@reported
def add_hold(
    reason: Annotated[str, typer.Option(help="Why: it stands in evidence.")],
    agent: Annotated[str | None, typer.Option(help="Of this agent, or delegated to by it.")] = None,
    session: Annotated[str | None, typer.Option(help="Of this session.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    tenant: Annotated[str | None, typer.Option(help="All of this tenant: your key's own.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Since this date, UTC.")] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Up to this date, included.")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold evidence: no date leaves that has a row of which all that you name is true.

    Dates are those of the events, YYYY-MM-DD. What has left by now is gone; the command says if some was leaving in
    this moment.

    Example: controlplane evidence hold add --agent treasury-bot --from 2026-01-01 --reason 'case 4711'
    """
    given = {
        "agent": agent,
        "session": session,
        "workflow": workflow,
        "tenant": tenant,
        "first": first,
        "last": last,
    }
    body = {"reason": reason} | {name: value for name, value in given.items() if value is not None}
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/evidence/holds", body)

    def human(console: Console) -> None:
        console.print(cell(f"held: {answer['id']}"))
        if answer["too_late"]:
            console.print(cell(f"too late for {', '.join(answer['too_late'])}"), style="yellow")

    show(as_json, answer, human)


@hold.command("list")
@reported
def list_holds(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List the holds, oldest first."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/evidence/holds")
    columns = ("id", "agent", "session", "workflow", "first", "last", "by", "set_at", "reason")
    rows = [[entry[name] for name in columns] for entry in answer["holds"]]
    show(as_json, answer, lambda console: table(console, columns, rows, empty="nothing is held"))


@hold.command("release")
@reported
def release_hold(
    id: Annotated[str, typer.Argument(help="The hold: `hld_…`, as `hold list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why: it stands in evidence.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a hold: what it kept leaves with the next run, if it is old enough and nothing else keeps it."""
    with connect(data, url, key) as client:
        answer = client.request(
            "POST", f"/v1/evidence/holds/{quote(id, safe='')}/release", {"reason": reason}
        )
    show(as_json, answer, lambda console: console.print(cell(f"released {answer['id']}")))


def _followed(client: ControlPlane) -> dict[str, Any]:
    """The run's end, waited for; on a terminal with how far it is."""
    from rich.progress import BarColumn, Progress, TextColumn

    text = TextColumn("{task.description}", markup=False)
    with Progress(
        text, BarColumn(), console=screen(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as drawn:
        shown = drawn.add_task("looking", total=None)
        while True:
            found: dict[str, Any] = client.request("GET", "/v1/evidence/retention")["run"]
            if found["state"] not in _UNDER_WAY:
                return found
            rows = sum(each["rows"] for each in found.get("leaving", ()))
            drawn.update(
                shown,
                description=found["state"],
                total=rows or None,
                completed=found.get("checked_rows", 0),
            )
            time.sleep(_POLL_S)


def _print_run(console: Console, found: dict[str, Any]) -> None:
    if found["state"] == "none":
        return
    pairs(
        console,
        {
            "run": found["state"],
            "by": found.get("by"),
            "started": found.get("started_at"),
            "error": found.get("error"),
            "held": [f"{day} by {', '.join(holds)}" for day, holds in found.get("held", {}).items()],
            "landed late": found.get("late"),
            "more due": found.get("more") or None,
            "version": found.get("version"),
        },
    )
    rows = [(each["date"], each["rows"], each["size_bytes"]) for each in found.get("leaving", ())]
    title = "would leave" if found.get("dry_run") else "left" if found["state"] == "done" else "due"
    if rows:
        table(console, (title, "rows", "bytes"), rows, empty="")
    elif found.get("keep_days") is None:
        console.print("evidence is kept for ever")
    else:
        console.print("nothing is due")


def _kept(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"
