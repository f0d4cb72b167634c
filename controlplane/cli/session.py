"""`controlplane session`: one run of one agent, opened, continued and ended."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.json_values import JsonObject
from controlplane.cli.output import JsonOption, reported, show

ScopeOption = Annotated[
    JsonObject | None,
    typer.Option(
        parser=JsonObject.parse,
        metavar="JSON",
        help="What it is for: any of effects, tools, objects and counts, as JSON or @FILE.",
    ),
]

app = typer.Typer(no_args_is_help=True, help="Open, continue and end sessions: one run of one agent each.")


@app.command("open")
@reported
def open_session(
    agent: Annotated[str, typer.Argument(help="Whose session.")],
    task: Annotated[str | None, typer.Option(help="What its user asked for.")] = None,
    parent: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="What `controlplane delegate` printed: works in its workflow."),
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option(metavar="TYPE:ID", help="On whose behalf; inherited where there is a --parent."),
    ] = None,
    scope: ScopeOption = None,
    subject_type: Annotated[str, typer.Option(help="What it is.")] = "agent",
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a session.

    The task and the scope are what rules with `origin` and `asked` go by: give them with a key that has the grant
    `workflows`, never the agent's own.

    Example: controlplane session open treasury-bot --task 'pay the March invoices' --principal user:ada

    Example: controlplane session open mailer --scope '{"effects": ["read", "send"], "objects": ["*@bank.example"]}'
    """
    declared = None if scope is None else scope.value
    optional = {"task": task, "parent": parent, "principal": principal, "scope": declared}
    body: dict[str, Any] = {"agent": agent, "subject_type": subject_type} | {
        name: value for name, value in optional.items() if value is not None
    }
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/sessions", body)
    # The session alone on stdout, so that SESSION=$(controlplane session open …) works; what it is on stderr.
    if not as_json:
        whose = f" on behalf of {answer['principal']}" if answer.get("principal") else ""
        typer.echo(f"a session of `{agent}`{whose} in {answer.get('workflow')}:", err=True)
    show(as_json, answer, lambda console: typer.echo(answer["session"]))


@app.command("task")
@reported
def add_task(
    session: Annotated[str, typer.Argument(help="The session: `ses_…`.")],
    task: Annotated[str, typer.Argument(help="The user's next turn.")],
    scope: ScopeOption = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the user's next turn to a session."""
    body: dict[str, Any] = {"task": task} | ({} if scope is None else {"scope": scope.value})
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/sessions/{quote(session, safe='')}/task", body)
    show(as_json, answer, lambda console: console.print(f"turn {answer.get('turns')}"))


@app.command("end")
@reported
def end_session(
    session: Annotated[str, typer.Argument(help="The session: `ses_…`.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a session, and what it delegated with it."""
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/sessions/{quote(session, safe='')}/end")
    show(
        as_json,
        answer,
        lambda console: console.print(f"ended after {answer.get('actions')} permitted actions"),
    )
