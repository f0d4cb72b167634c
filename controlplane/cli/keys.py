"""`controlplane keys`: who may ask, and as whom."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli import keys_evidence
from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.durations import seconds
from controlplane.cli.output import JsonOption, cell, reported, show, table

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys; see to the evidence key.")
app.add_typer(keys_evidence.app, name="evidence")


class Role(StrEnum):
    AGENT = "agent"
    GATEWAY = "gateway"
    OPERATOR = "operator"
    APPROVER = "approver"
    AUDITOR = "auditor"


class Grant(StrEnum):
    WORKFLOWS = "workflows"
    WITNESS = "witness"


@app.command("create")
@reported
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")],
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help="An agent it speaks for: one id for --role agent; a gateway's may be a glob. Repeat for more."
        ),
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(
            help="Another subject it speaks for, like `user:*`; of --role approver the one person whose it is, like "
            "`user:anna`. Repeat for more."
        ),
    ] = None,
    grant: Annotated[
        list[Grant] | None,
        typer.Option(
            help="workflows: may start and end workflows; witness: its outcome reports are believed."
        ),
    ] = None,
    note: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long it is good: 30m, 12h, 90d. [default: for ever]"),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Requests a second that it may make; 0 = no limit. [default: what `up --key-rate` says]",
        ),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key, shown once: only its hash is kept.

    Example: controlplane keys create --role gateway --agent 'treasury-*' --grant workflows
    """
    _check(role, agent or [], subject or [], grant or [])
    body: dict[str, Any] = {"role": role.value}
    optional = {
        "agents": agent,
        "subjects": subject,
        "grants": [each.value for each in grant or ()],
        "note": note,
        "expires_in_s": None if expires is None else seconds(expires),
    }
    body |= {name: value for name, value in optional.items() if value}
    if rate is not None:
        body["rate_per_s"] = rate
    with connect(data, url, key) as client:
        created = client.request("POST", "/v1/keys", body)
    # The key alone on stdout, so that KEY=$(controlplane keys create …) works; what it is on stderr.
    if not as_json:
        typer.echo(f"{created['role']} key {created['id']}, shown once:", err=True)
    show(as_json, created, lambda console: typer.echo(created["key"]))


@app.command("list")
@reported
def list_keys(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List all keys: what they may do, never the keys themselves."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/keys")
    rows = [
        (
            entry["id"],
            entry["role"],
            [*entry.get("agents", []), *entry.get("subjects", [])],
            entry.get("grants"),
            entry.get("created_at"),
            "revoked" if entry.get("revoked_at") else entry.get("expires_at") or "never",
            "" if entry.get("rate_per_s") is None else f"{entry['rate_per_s']}/s",
            entry.get("note"),
        )
        for entry in answer["keys"]
    ]
    columns = ("id", "role", "speaks for", "grants", "created", "ends", "rate", "note")
    show(as_json, answer, lambda console: table(console, columns, rows, empty="no keys"))


@app.command("revoke")
@reported
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. Within two seconds nobody accepts it any more."""
    with connect(data, url, key) as client:
        answer = client.request("DELETE", f"/v1/keys/{quote(id, safe='')}")
    # The moment tells whether it was this call or an earlier one.
    since = f" since {answer['revoked_at']}" if answer.get("revoked_at") else ""
    show(as_json, answer, lambda console: console.print(cell(f"{id} is revoked{since}")))


def _check(role: Role, agents: list[str], subjects: list[str], grants: list[Grant]) -> None:
    """What the service would refuse, in terms of our options. Raises: typer.BadParameter."""
    if role is Role.AGENT:
        if len(agents) != 1 or "*" in agents[0]:
            raise typer.BadParameter(
                "an agent's key speaks for one agent: give its id once, no pattern", param_hint="--agent"
            )
        if subjects:
            raise typer.BadParameter(
                "an agent's key speaks for that agent alone; a key of `--role gateway` may speak for others",
                param_hint="--subject",
            )
        if grants:
            raise typer.BadParameter(
                "an agent's key takes no grants: it may neither start workflows nor be a witness",
                param_hint="--grant",
            )
    if role is Role.APPROVER:
        whose = subjects[0] if len(subjects) == 1 else ""
        kind, colon, _ = whose.partition(":")
        if agents or grants or not colon or "*" in whose or kind in ("agent", "role", "group"):
            raise typer.BadParameter(
                "an approver's key is one person's: give `--subject user:anna`, no role, group or pattern, no "
                "`--agent`, no `--grant`",
                param_hint="--subject",
            )
    if role is Role.GATEWAY and not (agents or subjects):
        raise typer.BadParameter(
            "a gateway's key speaks for somebody: give `--agent 'treasury-*'` or `--subject 'user:*'`",
            param_hint="--agent / --subject",
        )
