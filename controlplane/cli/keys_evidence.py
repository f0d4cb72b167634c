"""`controlplane keys evidence`: the key that signs the evidence; on the machine of the data directory."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.output import JsonOption, pairs, reported, show
from controlplane.evidence_settings import evidence_keys, evidence_name
from controlplane.settings import Settings, default_data

if TYPE_CHECKING:
    from rich.console import Console

    from evidence.note import PublicKey

app = typer.Typer(
    no_args_is_help=True,
    help="Make, show and rotate the key that signs evidence.\n\n"
    "Give `show`'s line to whoever is to check the evidence: with it `controlplane evidence verify` believes only what "
    "this deployment signed. The private half is a file that the evidence writer alone reads: keep a copy of it in a "
    "safe place, because without it nothing lands.",
)


@app.command("create")
@reported
def create(
    name: Annotated[
        str | None,
        typer.Option(
            help="Who signs, in checkpoints; no spaces, no `+`, fixed for good. [default: controlplane-INSTANCE]"
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the key, unless there is one; `up` does so by itself.

    To choose the name, before the first `up`. A data directory that is not there is made, for two hosts.

    Example: controlplane keys evidence create --name treasury.example.org
    """
    settings = Settings.create_or_open(data or default_data(os.environ))
    keys = evidence_keys(settings)
    made = keys.create(name or evidence_name(settings), created_at=_now(), random_bytes=os.urandom)
    if not made:
        typer.echo("there is a key already; `keys evidence rotate` replaces it", err=True)
    _show(as_json, keys.read().public)


@app.command("show")
@reported
def show_key(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print the public half (C2SP vkey).

    It is what `evidence verify` and other tools for signed notes take.

    Example: controlplane keys evidence show > auditor/controlplane.vkey
    """
    settings = Settings.open(data or default_data(os.environ))
    _show(as_json, evidence_keys(settings).read().public)


@app.command("rotate")
@reported
def rotate(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Replace the key. The old one hands over to it in writing, and its private half is gone afterwards.

    No restart: the next landing is signed with the new key and carries the note that hands over, so that whoever knows
    the old key can follow. If this is interrupted, run it again.
    """
    settings = Settings.open(data or default_data(os.environ))
    keys = evidence_keys(settings)
    rotation = keys.rotate(time=_now(), random_bytes=os.urandom)
    value = {
        "old": str(rotation.old),
        "new": str(rotation.new),
        "time": rotation.time,
        "notes": str(keys.notes),
    }

    def human(console: Console) -> None:
        pairs(console, value)
        console.print(
            "\nThe copy of the private key that you keep in a safe place is of the old one: copy it anew."
        )

    show(as_json, value, human)


def _show(as_json: bool, key: PublicKey) -> None:
    value = {"name": key.name, "id": key.id.hex(), "vkey": str(key)}
    show(as_json, value, lambda console: typer.echo(str(key)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
