"""`controlplane channels`: where approvers are told of what waits for them."""

from __future__ import annotations

import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.output import FAILED, JsonOption, cell, pairs, reported, show, table

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    help="Set up how approvers are told: webhooks, chat, e-mail.",
)


class Kind(StrEnum):
    WEBHOOK = "webhook"
    SLACK = "slack"
    TEAMS = "teams"
    SMTP = "smtp"


class Tls(StrEnum):
    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@app.command("add")
@reported
def add(
    id: Annotated[str, typer.Argument(help="Its id: small letters, digits and dashes.")],
    kind: Annotated[Kind, typer.Option(help="What it is.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--to-url",
            metavar="URL|@FILE",
            help="Where to post; @FILE or @- reads it, since the URL of an incoming hook is its password.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="Where the signing secret (whsec_…) or the mail account's password stands; - for stdin."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The mail server.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its port. [default: what --tls has]")
    ] = None,
    tls: Annotated[Tls | None, typer.Option(help="How mail is encrypted. [default: starttls]")] = None,
    username: Annotated[str | None, typer.Option(help="Of the mail account.")] = None,
    sender: Annotated[str | None, typer.Option(help="From whom mail comes.")] = None,
    recipient: Annotated[list[str] | None, typer.Option(help="To whom. Repeat for more.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="Tell this event, like approval_requested. [default: all]")
    ] = None,
    approver: Annotated[
        list[str] | None,
        typer.Option(help="Tell what concerns this role or principal, like role:treasury. [default: all]"),
    ] = None,
    allow_in_clear: Annotated[
        bool, typer.Option("--allow-in-clear", help="Send to other machines without TLS.", show_default=False)
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a channel, or replace it as a whole.

    A webhook without --secret-file gets a new signing secret, printed once: give it to the receiver.

    Example: controlplane channels add treasury --kind slack --to-url @hook.url --approver role:treasury

    Example: controlplane channels add desk --kind smtp --host mail.bank.example --sender cp@bank.example --recipient
    desk@bank.example
    """
    secret, made = _secret(kind, secret_file)
    optional: dict[str, Any] = {
        "url": None if target is None else _read(target),
        "secret": secret,
        "host": host,
        "port": port,
        "tls": None if tls is None else tls.value,
        "username": username,
        "sender": sender,
        "recipients": recipient,
        "events": event,
        "approvers": approver,
        "allow_in_clear": allow_in_clear or None,
    }
    body = {"id": id, "kind": kind.value} | {k: v for k, v in optional.items() if v is not None}
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/channels", body)
    if made and not as_json:
        typer.echo(f"added {id}; its signing secret, shown once:", err=True)
    shown = answer | ({"secret": secret} if made else {})
    show(
        as_json,
        shown,
        lambda console: typer.echo(secret) if made else console.print(cell(f"added {id}")),
    )


@app.command("list")
@reported
def list_channels(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List all channels, and how many deliveries wait.

    URLs are shown without their path, which is a password.
    """
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/channels")

    def human(console: Console) -> None:
        rows = [
            (
                entry["id"],
                entry["kind"],
                entry.get("url") or f"{entry.get('host')}:{entry.get('port')} ({entry.get('tls')})",
                entry.get("events") or "all",
                entry.get("approvers") or "all",
                (entry.get("deliveries") or {}).get("waiting", 0),
                (entry.get("deliveries") or {}).get("dead", 0),
            )
            for entry in answer["channels"]
        ]
        columns = ("id", "kind", "goes to", "events", "approvers", "waiting", "dead")
        table(console, columns, rows, empty="no channels; nobody is told of approvals")
        if answer.get("notifier") != "ready":
            console.print(cell(f"the notifier is away: {answer.get('notifier')}"), style="yellow")

    show(as_json, answer, human)


@app.command("remove")
@reported
def remove(
    id: Annotated[str, typer.Argument(help="The channel.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a channel with its secret. What waits for it becomes a dead letter."""
    with connect(data, url, key) as client:
        answer = client.request("DELETE", f"/v1/channels/{quote(id, safe='')}")
    show(as_json, answer, lambda console: console.print(cell(f"removed {id}")))


@app.command("deliveries")
@reported
def deliveries(
    id: Annotated[str, typer.Argument(help="The channel.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 100,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the delivery log of a channel."""
    with connect(data, url, key) as client:
        answer = client.request("GET", f"/v1/channels/{quote(id, safe='')}/deliveries?limit={limit}")
    show(as_json, answer, lambda console: _print(console, answer, empty="nothing was to be delivered"))


@app.command("dead-letters")
@reported
def dead_letters(
    channel: Annotated[str | None, typer.Option(help="Of this channel alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 100,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was given up.

    After about a day of attempts, or at once where trying again is of no use.
    """
    only = f"&channel={quote(channel, safe='')}" if channel else ""
    with connect(data, url, key) as client:
        answer = client.request("GET", f"/v1/channels/dead-letters?limit={limit}{only}")
    show(as_json, answer, lambda console: _print(console, answer, empty="no dead letters"))


@app.command("retry")
@reported
def retry(
    delivery: Annotated[str, typer.Argument(help="The dead letter: `msg_…`.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver a dead letter after all, under the id that it had."""
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/channels/dead-letters/{quote(delivery, safe='')}/retry")
    show(as_json, answer, lambda console: console.print(cell(f"{delivery} is tried again now")))


@app.command("test")
@reported
def test(
    id: Annotated[str, typer.Argument(help="The channel.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test now, once.

    Exit status: 0 it was taken, 1 it was not.
    """
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/channels/{quote(id, safe='')}/test")

    def human(console: Console) -> None:
        console.print("delivered" if answer["delivered"] else "not delivered")
        pairs(console, {"status": answer.get("status"), "error": answer.get("error")})

    show(as_json, answer, human)
    if not answer["delivered"]:
        raise typer.Exit(FAILED)


def _secret(kind: Kind, file: Path | None) -> tuple[str | None, bool]:
    """The secret to send, and whether it was made here."""
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        return text.strip("\r\n"), False
    if kind is Kind.WEBHOOK:
        from actors.notifications.signature import new_secret

        return new_secret(secrets.token_bytes(32)), True
    return None, False


def _read(text: str) -> str:
    if not text.startswith("@"):
        return text
    found = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
    return found.strip()


def _print(console: Console, answer: dict[str, Any], *, empty: str) -> None:
    columns = (
        "id",
        "channel",
        "event",
        "approval",
        "state",
        "attempts",
        "status",
        "error",
        "created_at",
        "next_at",
    )
    rows = [[entry.get(name) for name in columns] for entry in answer["deliveries"]]
    table(console, columns, rows, empty=empty)
