"""`controlplane delegate`: let another agent do part of a session's work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.durations import seconds
from controlplane.cli.output import JsonOption, reported, show


@reported
def delegate(
    session: Annotated[str, typer.Argument(help="The session that delegates: `ses_…`.")],
    to: Annotated[str, typer.Option(help="The agent that may use the token, and no other.")],
    tool: Annotated[
        list[str] | None,
        typer.Option(
            help="A tool or glob it may call. Repeat for more; '' = none. [default: what the session may]"
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="How many further levels it may delegate to.")] = 0,
    expires: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long it is good: 90s, 30m, 12h; never longer than the session."
        ),
    ] = "1h",
    principal: Annotated[
        str | None,
        typer.Option(metavar="TYPE:ID", help="Refuse unless the session acts on behalf of this one."),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another agent do part of a session's work.

    Prints a token with which that agent opens one session, once, in this session's workflow. It may do no more there
    than this session itself, and on behalf of the same principal.

    Example: controlplane delegate ses_… --to mailer --tool 'mail.*' --expires 15m
    """
    body: dict[str, Any] = {"session": session, "to": to, "depth": depth, "expires_in_s": seconds(expires)}
    if tool is not None:
        body["tools"] = [name for name in tool if name]
    if principal is not None:
        body["principal"] = principal
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/delegations", body)
    # The token alone on stdout, so that TOKEN=$(controlplane delegate …) works; what it is on stderr.
    if not as_json:
        tools = answer.get("tools")
        may = "call what the session may" if tools is None else f"call {', '.join(tools) or 'no tool'}"
        typer.echo(f"until {answer.get('expires_at')} `{answer.get('to')}` may {may}:", err=True)
    show(as_json, answer, lambda console: typer.echo(answer["token"]))
