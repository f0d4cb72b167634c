"""`controlplane up`, `down`, `status`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption
from controlplane.cli.durations import seconds
from controlplane.cli.output import FAILED, JsonOption, cell, complain, pairs, reported, screen, show, table
from controlplane.cli.sizes import size_bytes
from controlplane.cli.times import shown
from controlplane.evidence_settings import evidence_place
from controlplane.settings import MAX_HOSTS, DataDirectoryError, Settings, default_data

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane.lifecycle.run_state import RunState
    from controlplane.lifecycle.status import Status

NOT_RUNNING = 3
INTERRUPTED = 130


@reported
def up(
    data: DataOption = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Its port; 0 = any free one. [default: 8470]")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address it listens on. Others than loopback let others in. [default: 127.0.0.1]"
        ),
    ] = None,
    hosts: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_HOSTS, help="How many actors share the agents; fixed once created. [default: 2]"
        ),
    ] = None,
    key_rate: Annotated[
        int | None,
        typer.Option(
            min=0, help="Requests a second that a key may make; 0 = no limit; remembered. [default: 10000]"
        ),
    ] = None,
    agent_rate: Annotated[
        int | None,
        typer.Option(
            min=0, help="Decisions a second that an agent may get; 0 = no limit; remembered. [default: 1000]"
        ),
    ] = None,
    evidence_backlog: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Evidence rows that may wait in a journal before it denies; remembered. [default: 5000000]",
        ),
    ] = None,
    outcome_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How late outcomes may come before that is a finding, or `never`; remembered. [default: 1h]",
        ),
    ] = None,
    evidence_lag: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How old evidence may become before it has landed, and that is an alarm; remembered. [default: 1m]",
        ),
    ] = None,
    disk_low: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Room that the table's and the journals' disks must have, or that is an alarm, like `20GiB`, or "
            "`never`; remembered. [default: 5GiB]",
        ),
    ] = None,
    second_operator: Annotated[
        bool | None,
        typer.Option(
            "--second-operator/--one-operator",
            help="Whether releasing a stop takes a second operator's key; remembered. [default: one operator]",
            show_default=False,
        ),
    ] = None,
    stop_on_mismatch: Annotated[
        bool | None,
        typer.Option(
            "--stop-on-mismatch/--no-stop-on-mismatch",
            help="Whether an agent is stopped that executed something else than was allowed; remembered. "
            "[default: stopped]",
            show_default=False,
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where the evidence table lies, a directory or s3://bucket/prefix; remembered; fixed once rows are "
            "there, but for a copy of them. [default: DATA/evidence/decisions]",
        ),
    ] = None,
    checkpoint_files: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where each landing's signed checkpoints are kept as a file, a directory or s3://bucket/prefix, best "
            "on write-once storage; remembered. [default: DATA/evidence/checkpoint-files]",
        ),
    ] = None,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground",
            help="Stay, log here (also where things are), and end all on Ctrl-C.",
            show_default=False,
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the control plane, and wait until it is ready.

    If it is up already, it only says where things are.
    A supervisor stays behind that starts it again from the data directory when it dies.

    Example: controlplane up --data ./cp --port 8470
    """
    from controlplane.lifecycle.up import Request, bring_up, run_in_foreground

    request = Request(
        data=data or default_data(os.environ),
        host=host,
        port=port,
        hosts=hosts,
        key_rate=key_rate,
        agent_rate=agent_rate,
        evidence_backlog=evidence_backlog,
        outcome_timeout_s=_timeout_s(outcome_timeout),
        evidence_lag_s=None if evidence_lag is None else seconds(evidence_lag),
        disk_low_bytes=_disk_low_bytes(disk_low),
        second_operator=second_operator,
        stop_on_mismatch=stop_on_mismatch,
        evidence=evidence,
        checkpoint_files=checkpoint_files,
    )
    if foreground:
        run_in_foreground(request)
        return
    console = screen(stderr=True)
    try:
        with console.status("starting") as spinner:

            def progress(state: RunState) -> None:
                spinner.update(f"{state.stage.value}: {state.message}")

            running = bring_up(request, progress=progress)
    except KeyboardInterrupt:
        # The supervisor has a session of its own: Ctrl-C reached this command alone.
        complain(
            as_json,
            "interrupted",
            f"interrupted; the control plane goes on starting in the background: "
            f"`controlplane status --data {request.data}` tells how far it is, "
            f"`controlplane down --data {request.data}` ends it",
        )
        raise typer.Exit(INTERRUPTED) from None
    where = {**_where(running.settings, running.state), "already": running.already}

    def human(console: Console) -> None:
        console.print("already up" if running.already else "up", style="bold green")
        pairs(console, {name: value for name, value in where.items() if name != "already"})
        console.print(f"\nTry: controlplane status --data {running.settings.data}")

    show(as_json, where, human)


@reported
def down(data: DataOption = None, as_json: JsonOption = False) -> None:
    """End every process of this control plane. The data stays.

    No process of another data directory is touched.

    Example: controlplane down --data ./cp
    """
    from controlplane.lifecycle.down import bring_down

    folder = data or default_data(os.environ)
    try:
        settings = Settings.open(folder)
    except DataDirectoryError as error:
        if error.code != "no_data_directory":
            raise
        ended = 0
    else:
        with screen(stderr=True).status("stopping") as spinner:
            ended = bring_down(settings, progress=spinner.update).processes
    text = f"down; ended {ended} processes" if ended else f"nothing runs in {folder}"
    show(as_json, {"data": str(folder), "ended": ended}, lambda console: console.print(text))


@reported
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say how the control plane is, and what runs.

    Exit status: 0 ready, 1 starting or unhealthy, 3 not running.
    """
    from controlplane.lifecycle.status import Health, look

    folder = data or default_data(os.environ)
    try:
        settings = Settings.open(folder)
    except DataDirectoryError as error:
        if error.code != "no_data_directory":
            raise
        show(
            as_json,
            {"health": Health.NOT_RUNNING.value, "data": str(folder)},
            _say(f"nothing runs in {folder}"),
        )
        raise typer.Exit(NOT_RUNNING) from None
    key = settings.operator_key.read_text().strip() if settings.operator_key.exists() else None
    found = look(settings, key=key)
    show(as_json, _as_json(settings, found), lambda console: _print(console, settings, found))
    match found.health:
        case Health.READY:
            return
        case Health.STARTING | Health.UNHEALTHY:
            raise typer.Exit(FAILED)
        case Health.NOT_RUNNING:
            raise typer.Exit(NOT_RUNNING)


def _timeout_s(text: str | None) -> int | None:
    return 0 if text == "never" else None if text is None else seconds(text)


def _disk_low_bytes(text: str | None) -> int | None:
    return 0 if text == "never" else None if text is None else size_bytes(text)


def _where(settings: Settings, state: RunState | None) -> dict[str, Any]:
    return {
        "url": state.url if state else None,
        "data": str(settings.data),
        "operator_key": str(settings.operator_key),
        "evidence": evidence_place(settings),
        "logs": str(settings.logs),
        "instance": settings.instance,
        "hosts": settings.hosts,
        "supervisor_pid": state.supervisor.pid if state else None,
    }


def _as_json(settings: Settings, found: Status) -> dict[str, Any]:
    return {
        "health": found.health.value,
        "reason": found.reason,
        **_where(settings, found.state),
        "stage": found.state.stage.value if found.state else None,
        "restarts": found.state.restarts if found.state else 0,
        "ready_at": found.state.ready_at if found.state else None,
        "readyz": found.readyz,
        "service": found.service,
        "processes": list(found.processes),
    }


def _print(console: Console, settings: Settings, found: Status) -> None:
    style = {"ready": "bold green", "starting": "bold yellow"}.get(found.health.value, "bold red")
    console.print(
        found.health.value.replace("_", " ") + (f": {found.reason}" if found.reason else ""), style=style
    )
    where = {name: value for name, value in _where(settings, found.state).items() if name != "hosts"}
    restarts = found.state.restarts if found.state else 0
    pairs(console, {**where, "restarts": restarts or None, "bundle": found.service.get("bundle")})
    if lagging := found.service.get("lagging"):
        console.print(f"lagging: {cell(lagging)}: not deciding with this bundle", style="yellow")
    store = found.service.get("control_store") or {}
    if stops := store.get("stops"):
        console.print(f"{stops} stops are live; see `controlplane stops`", style="yellow")
    if store.get("release_needs_second_operator"):
        console.print("it takes two operators to release a stop")
    landing = found.service.get("evidence") or {}
    for alarm in landing.get("alarms") or ():
        about = f" ({alarm['about']})" if alarm["about"] else ""
        since = shown(alarm["since_us"])
        console.print(f"alarm {alarm['code']}{about} since {since}: {cell(alarm['says'])}", style="bold red")
    for name, why in (landing.get("trouble") or {}).items():
        console.print(f"evidence, {name}: {cell(why)}", style="yellow")
    for title, parts in (
        ("hosts", found.service.get("hosts")),
        ("evidence", [found.service.get("evidence")]),
        ("notifier", [found.service.get("notifier")]),
    ):
        known = [part for part in parts or () if isinstance(part, dict)]
        names = dict.fromkeys(name for part in known for name in part)
        columns = [name for name in names if _fits_a_table(known, name)]
        if columns:
            console.print(f"\n{title}", style="bold")
            table(console, columns, [[part.get(name) for name in columns] for part in known], empty="")
    if found.processes:
        console.print(f"\n{len(found.processes)} processes", style="bold")
        rows = [(each.pid, each.name, f"{each.memory_bytes / 2**20:.0f} MiB") for each in found.processes]
        table(console, ("pid", "name", "memory"), rows, empty="")


def _fits_a_table(parts: list[dict[str, Any]], name: str) -> bool:
    """Whether some part has something to say there, and none a nested thing."""
    values = [part.get(name) for part in parts]
    return (
        name != "bundle"
        and any(value not in (None, "", {}) for value in values)
        and not any(isinstance(value, dict | list) for value in values)
    )


def _say(text: str) -> Any:
    return lambda console: console.print(text)
