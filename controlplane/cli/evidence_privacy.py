"""`controlplane evidence reveal` and `erase`: what is encrypted for a data subject, shown or made unreadable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.output import JsonOption, cell, reported, show, table

if TYPE_CHECKING:
    from rich.console import Console


@reported
def reveal(
    decision: Annotated[
        str,
        typer.Argument(metavar="DECISION", help="A decision's whole id; in the evidence, `event_id`."),
    ],
    reason: Annotated[str, typer.Option(help="Why: it stands in evidence, with your key's id.")],
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a decision's arguments that evidence keeps encrypted.

    For the keys of operators and auditors. The event `arguments_revealed` is durable before a value is shown. What a
    data subject's erasure has made unreadable stays so, and is listed.

    Example: controlplane evidence reveal 01a20461-44aa-761c-8000-029521cbf8a7 --reason 'complaint 4711'
    """
    if not reason.strip():
        raise typer.BadParameter("say why: it stands in evidence", param_hint="--reason")
    with connect(data, url, key) as client:
        answer = client.request("POST", f"/v1/evidence/{quote(decision, safe='')}/reveal", {"reason": reason})

    def human(console: Console) -> None:
        rows = [(at, json.dumps(value, ensure_ascii=False)) for at, value in answer["arguments"].items()]
        rows += [(one["pointer"], f"unreadable: {one['because']}") for one in answer["unreadable"]]
        table(console, ("argument", "value"), rows, empty="nothing")

    show(as_json, answer, human)


@reported
def erase(
    subject: Annotated[
        str,
        typer.Option(
            metavar="TYPE:ID", help="Whose data, as the catalog's `subject` makes it: `customer:123`."
        ),
    ],
    reason: Annotated[
        str,
        typer.Option(
            metavar="CODE",
            help="A code that stays in evidence, small letters, digits and `._/-`; nothing that names anybody.",
        ),
    ] = "erasure_request",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask: it cannot be undone.", show_default=False)
    ] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data subject's encrypted values unreadable for good.

    Its key is destroyed: what evidence keeps encrypted for it opens for nobody any more. Rows, leaves and proofs stay
    as they are and verify. In force everywhere within 60 seconds. Safe to repeat. Data of the same subject that comes
    later gets a new key.

    Example: controlplane evidence erase --subject customer:123 --reason gdpr-17/4711
    """
    if not yes:
        typer.confirm(f"destroy the key of {subject} for good?", abort=True, err=True)
    body: dict[str, Any] = {"subject": subject, "reason": reason}
    with connect(data, url, key) as client:
        answer = client.request("POST", "/v1/evidence/erasures", body)

    def human(console: Console) -> None:
        told = f"in force everywhere within {answer['effective_within_s']} s"
        erased = f"the key of {subject} is destroyed, {told}"
        text = (
            erased
            if answer["erased"]
            else f"{subject} has no key: nothing that is encrypted for it opens, if there is anything"
        )
        console.print(cell(text))
        if not answer["gone"]:
            text = "its bytes leave the journal's write-ahead log once whoever reads it now (a backup?) has ended"
            console.print(cell(text), style="yellow")
        console.print("not reached:")
        for one in answer["not_reached"]:
            console.print(cell(f"- {one}"))

    show(as_json, answer, human)
