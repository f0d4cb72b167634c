"""`controlplane init` and `attach`: a control plane on several machines."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.output import JsonOption, pairs, reported, show
from controlplane.errors import UnavailableError
from controlplane.settings import MAX_HOSTS, Settings, create_private, default_data

if TYPE_CHECKING:
    from rich.console import Console

_CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")  # noqa: S108 - where `ray start` says it
"""Written by `ray start`: the address of the cluster that this machine belongs to."""


@reported
def init(
    nodes: Annotated[
        str, typer.Option(help="Names of the nodes that keep journals, the head's first, by commas.")
    ] = "head",
    data: DataOption = None,
    hosts: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_HOSTS, help="How many actors share the agents; fixed once created. [default: 2]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a data directory, and start nothing.

    For several machines: it holds the secrets that they share, and `cluster.yaml` copies them to each.

    Example: controlplane init --data ./cp --nodes head,node-1,node-2 --hosts 6
    """
    folder = data or default_data(os.environ)
    names = [name.strip() for name in nodes.split(",")]
    settings = Settings.create_or_open(folder, hosts=hosts, nodes=names)
    create_private(settings.ray_token, secrets.token_hex(32))
    made = {
        "data": str(settings.data),
        "instance": settings.instance,
        "hosts": settings.hosts,
        "nodes": list(settings.nodes),
        "ray_token": str(settings.ray_token),
    }

    def human(console: Console) -> None:
        pairs(console, made | {"nodes": ", ".join(settings.nodes)})
        console.print("\nNext: edit cluster.yaml, then `ray up cluster.yaml`")

    show(as_json, made, human)


@reported
def attach(
    data: DataOption = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="host:port of Ray's control service. [default: the cluster that this machine belongs to]",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port. [default: 8470]")] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address it listens on. Others than loopback let others in. [default: 127.0.0.1]"
        ),
    ] = None,
) -> None:
    """Run on a Ray cluster of several machines.

    On its head, in the foreground: the form for systemd. Ctrl-C takes the control plane off the cluster.

    Example: controlplane attach --data ~/controlplane --host 0.0.0.0
    """
    from controlplane.lifecycle.up import Request, attach_in_foreground

    request = Request(data=data or default_data(os.environ), host=host, port=port)
    attach_in_foreground(request, ray_address or _address_of_this_machines_cluster())


def _address_of_this_machines_cluster() -> str:
    try:
        return _CURRENT_CLUSTER.read_text(encoding="utf-8").strip()
    except OSError:
        raise UnavailableError(
            "this machine belongs to no Ray cluster; start Ray first (`ray up cluster.yaml`), or name one with "
            "--ray-address",
            code="no_ray",
        ) from None
