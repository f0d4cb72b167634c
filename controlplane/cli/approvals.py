"""`controlplane approvals`: what waits for a person, and what the person says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli import approval_load
from controlplane.cli import approval_screens as screens
from controlplane.cli.approval_watch import LIST, Watching, pages
from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.durations import seconds
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import JsonOption, cell, reported, show, table
from controlplane.cli.times import moment_us

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane_sdk.client import ControlPlane

app = typer.Typer(
    no_args_is_help=True,
    help="Look at what waits for a person, and approve or deny it.\n\n"
    "An approver's key does it: `controlplane keys create --role approver --subject user:anna`, then put it into "
    "CONTROLPLANE_KEY.",
)
values_app = typer.Typer(
    no_args_is_help=True, help="List and revoke values that were approved for later, too."
)
app.add_typer(values_app, name="values")

IdArgument = Annotated[str, typer.Argument(help="The approval: `apr_…`.")]
CommentOption = Annotated[str | None, typer.Option(help="Why; it goes into the evidence.")]
_MOST_DAYS = 90
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(StrEnum):
    PENDING = "pending"
    PARTIAL = "partial"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    ALL = "all"


class Scope(StrEnum):
    AGENT = "agent"
    WORKFLOW = "workflow"


@app.command("list")
@reported
def list_approvals(
    state: Annotated[
        State | None, typer.Option(help="Those in this state. [default: pending and partial]")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Those that this agent waits for.")] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Those that I may decide now.", show_default=False)
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List approvals: who waits for what, and how long is left.

    Example: controlplane approvals list --mine
    """
    asked = {
        "state": None if state is None else state.value,
        "agent": agent,
        "mine": "true" if mine else None,
    }
    with connect(data, url, key) as client:
        found = pages(lambda path: client.request("GET", path), LIST, asked, "approvals", most=limit)
    assert found is not None
    tasks, silent = found
    now = datetime.now(UTC)

    def human(console: Console) -> None:
        rows = [screens.row(task, now) for task in tasks]
        table(console, screens.COLUMNS, rows, empty="nothing waits for approval")
        _tell_silent(console, silent)

    show(as_json, {"approvals": tasks, "unavailable": silent}, human)


@app.command("show")
@reported
def show_approval(
    id: IdArgument,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one approval with its arguments.

    Who must still approve, what has been said, and how long is left.
    """
    with connect(data, url, key) as client:
        answer = client.request("GET", _path(id))
    show(as_json, answer, lambda console: screens.whole(console, answer, datetime.now(UTC)))


@app.command("approve")
@reported
def approve(
    id: IdArgument,
    comment: CommentOption = None,
    narrow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINTER=JSON",
            help="Approve less than was asked for: a smaller amount, a shorter list. Repeat for more.",
        ),
    ] = None,
    remember_until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Approve the values that the rule objects to for later actions, too: for 30d from now, or until an "
            f"RFC 3339 time; at most {_MOST_DAYS}d.",
        ),
    ] = None,
    remember_for: Annotated[
        Scope | None, typer.Option(help="For whom values are remembered. [default: agent]")
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve, with an approver's key.

    With --narrow, what others approved before counts no more: they approved something else.

    Example: controlplane approvals approve apr_… --narrow /amount=5000 --comment 'half of it this month'
    """
    body: dict[str, Any] = {}
    if comment is not None:
        body["comment"] = comment
    if narrow:
        body["narrow"] = dict(_narrowed(text) for text in narrow)
    if remember_until is not None:
        body["remember_until"] = _until(remember_until)
    if remember_for is not None:
        if remember_until is None:
            raise typer.BadParameter("say how long with --remember-until", param_hint="--remember-for")
        body["remember_scope"] = remember_for.value
    _act(id, "approve", body, data, url, key, as_json)


@app.command("deny")
@reported
def deny(
    id: IdArgument,
    comment: Annotated[str, typer.Option(help="Why; it goes into the evidence.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deny, with an approver's key. One deny ends it, however many have approved."""
    _act(id, "deny", {"comment": comment}, data, url, key, as_json)


@app.command("delegate")
@reported
def delegate(
    id: IdArgument,
    to: Annotated[str, typer.Option(metavar="TYPE:ID", help="Who approves in my place, like user:bob.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="For 2h from now, or until an RFC 3339 time. [default: as long as the approval waits]",
        ),
    ] = None,
    comment: CommentOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody else approve this one in my place."""
    body = {"to": to, "until": None if until is None else _until(until), "comment": comment}
    _act(id, "delegate", {k: v for k, v in body.items() if v is not None}, data, url, key, as_json)


@app.command("comment")
@reported
def comment(
    id: IdArgument,
    text: Annotated[str, typer.Argument(help="What to say.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Comment on an approval, and decide nothing."""
    _act(id, "comment", {"comment": text}, data, url, key, as_json)


@app.command("cancel")
@reported
def cancel(
    id: IdArgument,
    comment: CommentOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw a request for approval, with the key that asked for it."""
    _act(id, "cancel", {} if comment is None else {"comment": comment}, data, url, key, as_json)


@app.command("watch")
@reported
def watch(
    id: Annotated[str | None, typer.Argument(help="This approval alone, until it is decided.")] = None,
    agent: Annotated[str | None, typer.Option(help="Those that this agent waits for.")] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="Those that I may decide.", show_default=False)
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a line for each change, until Ctrl-C.

    With --json each line is the approval. One approval is waited for (a long poll); all of them are looked at every
    two seconds.
    """
    asked = None if id is None else _path(id)
    try:
        with connect(data, url, key) as client:
            watching = Watching(lambda path: _patiently(client, path, asked), time.sleep)
            changes = (
                watching.one(asked)
                if asked is not None
                else watching.all({"agent": agent, "mine": "true" if mine else None})
            )
            for task in changes:
                typer.echo(screens.line(task, datetime.now(UTC), as_json=as_json))
    except KeyboardInterrupt:
        return


@app.command("load")
@reported
def load(
    since: Annotated[str, typer.Option(metavar="WHEN", help="From when: 7d, or an RFC 3339 time.")] = "7d",
    data: DataOption = None,
    path: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what oversight costs people, and whether they look.

    From the evidence table alone: who waits for whom, and for how long; by approver and by rule how much is approved;
    how many decisions came within two seconds of being asked for, or of the same person's last one.

    Example: controlplane approvals load --since 30d
    """
    now_us = time.time_ns() // 1000
    where = table_place(path, data)
    approval_load.show_load(where, moment_us(since, now_us=now_us), now_us, as_json)


@values_app.command("list")
@reported
def list_values(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the values that rules no longer object to.

    Until when, and who approved them.
    """
    with connect(data, url, key) as client:
        found = pages(lambda path: client.request("GET", path), f"{LIST}/values", {}, "values", most=limit)
    assert found is not None
    values, silent = found

    def human(console: Console) -> None:
        columns = ("id", "rule", "agent", "workflow", "argument", "shown", "until", "approved_by")
        rows = [[value.get(name) for name in columns] for value in values]
        table(console, columns, rows, empty="no values")
        _tell_silent(console, silent)

    show(as_json, {"values": values, "unavailable": silent}, human)


@values_app.command("revoke")
@reported
def revoke_value(
    id: Annotated[str, typer.Argument(help="The value's id, as `approvals values list` shows it.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a value.

    From the next action on the rule objects to it again.
    """
    with connect(data, url, key) as client:
        answer = client.request("DELETE", f"{LIST}/values/{quote(id, safe='')}")
    show(as_json, answer, lambda console: console.print(cell(f"revoked {id}")))


def _act(
    id: str,
    what: str,
    body: dict[str, Any],
    data: Path | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    with connect(data, url, key) as client:
        answer = client.request("POST", f"{_path(id)}/{what}", body)
    show(as_json, answer, lambda console: screens.after(console, answer, datetime.now(UTC)))


def _patiently(client: ControlPlane, path: str, asked: str | None) -> dict[str, Any] | None:
    """What is there, empty if there is nothing, or None while nobody can say: whoever watches goes on watching."""
    from controlplane_sdk.client import ControlPlaneError

    try:
        return client.request("GET", path)
    except ControlPlaneError as error:
        if error.status == 404 and path.partition("?")[0] not in (asked, LIST):
            return {}
        if error.status not in (0, 429, 503):
            raise
        typer.echo(f"controlplane: {cell(error.message)}; still watching", err=True)
        return None


def _path(id: str) -> str:
    return f"{LIST}/{quote(id, safe='')}"


def _tell_silent(console: Console, silent: list[str]) -> None:
    if silent:
        console.print(cell(f"not all are here: {', '.join(silent)} did not answer"), style="yellow")


def _until(text: str) -> str:
    """From now on for so long, or a moment. Raises: typer.BadParameter."""
    if text[-1:] in ("s", "m", "h", "d"):
        moment = datetime.now(UTC) + timedelta(seconds=seconds(text))
    else:
        moment = _EPOCH + timedelta(microseconds=moment_us(text, now_us=0))
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _narrowed(text: str) -> tuple[str, Any]:
    """A JSON pointer and a value. Raises: typer.BadParameter."""
    from controlplane.errors import GovernanceError
    from controlplane.wire.json_input import parse_value

    pointer, equals, value = text.partition("=")
    if not equals or not pointer.startswith("/"):
        raise typer.BadParameter(
            f"`{text[:60]}` is not POINTER=JSON, like /amount=5000", param_hint="--narrow"
        )
    try:
        # The door's own reader: 5000.10 must not become another number on the way.
        return pointer, parse_value(value.encode())
    except GovernanceError as error:
        raise typer.BadParameter(
            f"`{value[:60]}` is no JSON value ({error.message}); texts have quotes: {pointer}='\"text\"'",
            param_hint="--narrow",
        ) from None
