"""`controlplane decide`: ask for one decision, as an enforcement point would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.json_values import JsonObject
from controlplane.cli.output import JsonOption, pairs, reported, show
from controlplane.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane_sdk.decision import Decision

NOT_ALLOWED = 4


@reported
def decide(
    agent: Annotated[str, typer.Option(help="Who acts.")],
    tool: Annotated[str, typer.Option(help="What it would call.")],
    args: Annotated[
        JsonObject | None,
        typer.Option(parser=JsonObject.parse, metavar="JSON", help="The arguments: an object, @FILE or @-."),
    ] = None,
    session: Annotated[str | None, typer.Option(help="Its session. [default: its standing one]")] = None,
    action: Annotated[str, typer.Option(help="The action's name.")] = "call",
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same arguments gets the same decision.")
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option(metavar="apr_…", help="An approval of this very action, where a rule escalates it."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only ask what would be answered; recorded nowhere.", show_default=False
        ),
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide one action, with reasons.

    What made each rule match: `controlplane policy explain`, with the decision's id.

    Where rules rewrite the arguments, the effect is `modify`: what may be executed is the arguments that are shown.

    Exit status: 0 allowed or modified, 4 denied or escalated (a dry run: by its effect), 1 when there was no
    decision: the control plane could not be asked, or refused the question.

    Example: controlplane decide --agent treasury-bot --tool payments.transfer --args '{"amount": 12000}'
    """
    with connect(data, url, key) as client:
        decision = client.decide(
            agent=agent,
            tool=tool,
            arguments={} if args is None else args.value,
            session=session,
            action=action,
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            modifies=True,
            approval=approval,
        )
        _refuse_unanswered(decision)
    shown = {
        "allowed": decision.allowed,
        "effect": decision.effect,
        "reason_code": decision.reason_code,
        "message": decision.message,
        "id": decision.id,
        "reasons": [
            {"rule": reason.rule, "because": reason.because, "controls": list(reason.controls)}
            for reason in decision.reasons
        ],
        "arguments_digest": decision.arguments_digest,
        "modified": modified(decision),
        "expires_at": decision.expires_at.isoformat() if decision.expires_at else None,
        "session": decision.session,
        "replayed": decision.replayed,
        "binding_token": decision.binding_token or None,
        "dry_run": dry_run,
    }
    show(as_json, shown, lambda console: _print(console, decision, dry_run=dry_run))
    if not (decision.allowed or (dry_run and decision.effect in ("allow", "modify"))):
        raise typer.Exit(NOT_ALLOWED)


def modified(decision: Decision) -> dict[str, Any] | None:
    """What is to be executed instead of what was asked; None where that is not rewritten."""
    made = decision.arguments if decision.allowed and decision.effect == "modify" else decision.modified
    return None if made is None else dict(made)


def _refuse_unanswered(decision: Decision) -> None:
    """Tell what the control plane denied from what the client denies because it got no usable answer.

    Raises: InputError: nothing was sent. ControlPlaneError: no answer, an error, or an allow that is not clean.
    """
    if decision.allowed or decision.raw.get("decision") is False:
        return
    if decision.reason_code == "invalid_arguments":
        raise InputError(decision.message, code=decision.reason_code)
    from controlplane_sdk.client import ControlPlaneError

    if decision.reason_code == "unreachable":
        raise ControlPlaneError(0, decision.reason_code, decision.message)
    kind, _, status = decision.reason_code.partition("_")
    error = decision.raw.get("error")
    named = error.get("code") if isinstance(error, dict) else None
    raise ControlPlaneError(
        int(status) if kind == "http" else 200, named or decision.reason_code, decision.message
    )


def _print(console: Console, decision: Decision, *, dry_run: bool) -> None:
    style = "bold green" if decision.effect in ("allow", "modify") else "bold red"
    console.print(f"{decision.effect}{' (dry run)' if dry_run else ''}", style=style)
    for reason in decision.reasons:
        controls = f"  [{', '.join(reason.controls)}]" if reason.controls else ""
        because = reason.because or ("" if decision.effect in ("allow", "modify") else "no reason given")
        console.print(f"  {reason.rule}{f': {because}' if because else ''}{controls}")
    made = modified(decision)
    pairs(
        console,
        {
            "why": decision.reason_code + (f": {decision.message}" if decision.message else ""),
            "arguments": None if made is None else json.dumps(made, ensure_ascii=False),
            "decision": decision.id,
            "session": decision.session,
            "expires": decision.expires_at,
            "replayed": decision.replayed or None,
            "binding token": decision.binding_token or None,
            "approval": _approval(decision, dry_run=dry_run),
        },
    )


def _approval(decision: Decision, *, dry_run: bool) -> str | None:
    if decision.effect != "escalate" or dry_run:
        return None
    if not decision.binding_token:
        return "nobody can give it, as said above"
    return "ask with the token and the arguments: POST /v1/approvals, or the SDK's `request_approval`"
