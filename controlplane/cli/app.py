"""The `controlplane` command. Heavy modules load in the command that needs them: `--help` is quick."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from controlplane.cli import (
    agent,
    approvals,
    bundle,
    catalog,
    channels,
    evidence,
    keys,
    nodes,
    policy,
    principal,
    running,
    session,
)
from controlplane.cli.decide import decide
from controlplane.cli.delegate import delegate
from controlplane.cli.output import FAILED, USAGE, complain
from controlplane.cli.stop import list_stops, release, stop


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"controlplane {metadata.version('fleet-controlplane')}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    help="The runtime control plane for fleets of AI agents: every action decided before it takes effect.\n\n"
    "Start with `controlplane up`, then `controlplane bundle activate FILES…`, "
    "`controlplane agent register ID`, `controlplane decide --agent ID --tool TOOL`.",
)


@app.callback()
def controlplane(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", show_default=False, is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """The options of the command itself."""


app.command("up")(running.up)
app.command("down")(running.down)
app.command("status")(running.status)
app.command("init")(nodes.init)
app.command("attach")(nodes.attach)
app.command("decide")(decide)
app.command("delegate")(delegate)
app.command("stop")(stop)
app.command("stops")(list_stops)
app.command("release")(release)
app.add_typer(bundle.app, name="bundle")
app.add_typer(policy.app, name="policy")
app.add_typer(catalog.app, name="catalog")
app.add_typer(agent.app, name="agent")
app.add_typer(session.app, name="session")
app.add_typer(keys.app, name="keys")
app.add_typer(principal.app, name="principal")
app.add_typer(approvals.app, name="approvals")
app.add_typer(channels.app, name="channels")
app.add_typer(evidence.app, name="evidence")


def main() -> None:
    """Entry point. With --json even a wrong option is reported as JSON."""
    if "--json" not in sys.argv:
        app()
        return
    try:
        status = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(FAILED)
    except Exception as error:
        text = getattr(error, "format_message", None)  # what typer raises for wrong use; its class is private
        if text is None:
            raise
        complain(True, "usage", text())
        sys.exit(USAGE)
    sys.exit(status if isinstance(status, int) else 0)
