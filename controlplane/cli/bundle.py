"""`controlplane bundle`: check policies, activate them, look at what is active."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption, connect
from controlplane.cli.output import JsonOption, cell, pairs, reported, show, table
from controlplane.cli.policy_files import FilesArgument, read_sources
from controlplane.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane_sdk.client import ControlPlane

app = typer.Typer(no_args_is_help=True, help="Check, activate and show bundles of policies.")

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What people paste: the digest or its beginning, with or without the name of its hash.
PREFIX = re.compile(r"sha256:[0-9a-f]{1,64}|[0-9a-f]{4,64}")


class Past(StrEnum):
    """How new rules look at what was before them."""

    STRICT = "strict"
    LENIENT = "lenient"


@app.command("check")
@reported
def check(files: FilesArgument, as_json: JsonOption = False) -> None:
    """Compile documents, without a control plane.

    Every error comes with file, line, column and a hint.

    Example: controlplane bundle check policies/ catalog.yaml
    """
    from policies.compile import compile_bundle
    from policies.loader import load_documents

    bundle = compile_bundle(load_documents(read_sources(files)))
    checked = {
        "digest": bundle.digest,
        "name": bundle.name,
        "rules": len(bundle.rules),
        "warnings": list(bundle.warnings),
    }
    show(as_json, checked, lambda console: _print_uploaded(console, checked))


@app.command("activate")
@reported
def activate(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES…|DIGEST",
            help="Documents to upload, or a stored bundle's digest, or how it begins.",
        ),
    ],
    past: Annotated[
        Past,
        typer.Option(
            help="What new rules hold of conditions over arguments that nobody kept: possible (`strict`: it may deny "
            "or escalate more until their windows have passed), or untrue (`lenient`)."
        ),
    ] = Past.STRICT,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a bundle in force on every host.

    Its rules judge live sessions by what they did before, as far as that was recorded.

    Files are uploaded first, as one bundle; it replaces the active one as a whole. Returns when every host has
    acknowledged, or says which ones lag: from two seconds on they deny until they have it, which they get by
    themselves.

    Example: controlplane bundle activate policies/
    """
    with connect(data, url, key) as client:
        answer = _activate(client, what, past)
    show(as_json, answer, lambda console: _print_activated(console, answer))


@app.command("shadow")
@reported
def shadow(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES…|DIGEST",
            help="Documents to upload, or a stored bundle's digest, or how it begins.",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Watch with none.")] = False,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch with another bundle, enforcing nothing of it.

    Each decision's evidence then says in `details.shadow` what this bundle would have answered, with a past of its own
    over what the active bundle permits.

    Example: controlplane bundle shadow candidate/
    """
    if off == bool(what):
        raise InputError("name documents or a digest, or say `--off`", code="invalid_request")
    with connect(data, url, key) as client:
        if off:
            answer = client.request("DELETE", "/v1/bundles/shadow")
        elif what is not None and _is_digest(what):
            answer = client.request("POST", f"/v1/bundles/{resolved_digest(client, what[0])}/shadow")
        else:
            answer = client.request("POST", "/v1/bundles", {"sources": _sources(what or []), "shadow": True})
    show(as_json, answer, lambda console: _print_shadow(console, answer))


@app.command("list")
@reported
def list_bundles(
    data: DataOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """List the stored bundles, and which one is active."""
    with connect(data, url, key) as client:
        answer = client.request("GET", "/v1/bundles")
    rows = [
        (
            _standing(entry["digest"], answer),
            entry["digest"],
            entry.get("name"),
            entry.get("rules"),
            entry.get("created_at"),
        )
        for entry in answer["bundles"]
    ]
    columns = ("active", "digest", "name", "rules", "created")
    show(
        as_json,
        answer,
        lambda console: table(console, columns, rows, empty="no bundles: everything is denied"),
    )


@app.command("show")
@reported
def show_bundle(
    digest: Annotated[
        str | None,
        typer.Argument(help="A stored bundle's digest, or how it begins. [default: `active`]"),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a bundle with the documents it was compiled from."""
    with connect(data, url, key) as client:
        wanted = (
            resolved_digest(client, digest)
            if digest and digest != "active"
            else client.request("GET", "/v1/bundles").get("active")
        )
        if not wanted:
            raise InputError(
                "no bundle is active: everything is denied; activate one with `controlplane bundle activate FILES…`",
                code="no_active_bundle",
            )
        answer = client.request("GET", f"/v1/bundles/{wanted}")
    show(as_json, answer, lambda console: _print_bundle(console, answer))


def _activate(client: ControlPlane, what: list[str], past: Past) -> dict[str, Any]:
    body: dict[str, Any] = {"past": past.value} if past is not Past.STRICT else {}
    if _is_digest(what):
        return client.request(
            "POST", f"/v1/bundles/{resolved_digest(client, what[0])}/activate", body or None
        )
    return client.request("POST", "/v1/bundles", {"sources": _sources(what), "activate": True} | body)


def _is_digest(what: list[str]) -> bool:
    return len(what) == 1 and PREFIX.fullmatch(what[0]) is not None and not Path(what[0]).exists()


def _sources(what: list[str]) -> list[dict[str, str]]:
    return [
        {"name": source.name, "text": source.text} for source in read_sources([Path(name) for name in what])
    ]


def _standing(digest: str, answer: dict[str, Any]) -> str:
    if digest == answer.get("active"):
        return "*"
    return "shadow" if digest == answer.get("shadow") else ""


def resolved_digest(client: ControlPlane, prefix: str) -> str:
    """The digest that begins so. Raises: InputError: none of the stored ones does, or several do."""
    if DIGEST.fullmatch(prefix):
        return prefix
    begins = prefix if prefix.startswith("sha256:") else f"sha256:{prefix}"
    stored = [entry["digest"] for entry in client.request("GET", "/v1/bundles")["bundles"]]
    match [digest for digest in stored if digest.startswith(begins)]:
        case [digest]:
            return str(digest)
        case []:
            raise InputError(
                f"no stored bundle's digest begins with `{prefix}`; see `controlplane bundle list`",
                code="unknown_bundle",
            )
        case several:
            raise InputError(
                f"`{prefix}` begins the digests of {len(several)} bundles: {', '.join(several)}",
                code="ambiguous_bundle",
            )


def _print_uploaded(console: Console, bundle: dict[str, Any]) -> None:
    pairs(console, {name: bundle.get(name) for name in ("digest", "name", "rules")})
    for warning in bundle.get("warnings") or ():
        console.print(f"warning: {cell(warning if isinstance(warning, str) else _located(warning))}")


def _located(warning: object) -> str:
    if isinstance(warning, dict):
        return (
            f"{warning.get('file')}:{warning.get('line')}:{warning.get('column')}: {warning.get('message')}"
        )
    return str(warning)


def _print_activated(console: Console, answer: dict[str, Any]) -> None:
    _print_uploaded(console, answer)
    lagging = answer.get("lagging") or []
    if replaced := answer.get("replaces"):
        console.print(cell(f"replaces {answer.get('replaces_name') or ''} {replaced}"))
    console.print(f"active; acknowledged by {cell(answer.get('acknowledged') or 'nobody')}")
    if lagging:
        console.print(
            f"lagging: {cell(lagging)}: from two seconds on they deny until they have it; see `controlplane status`",
            style="yellow",
        )


def _print_shadow(console: Console, answer: dict[str, Any]) -> None:
    if answer.get("digest"):
        _print_uploaded(console, answer)
    if replaced := answer.get("replaces"):
        console.print(cell(f"replaces {replaced}"))
    watching = answer.get("shadow")
    console.print(
        cell(f"watching with {watching}; nothing of it is enforced") if watching else "no shadow bundle"
    )


def _print_bundle(console: Console, answer: dict[str, Any]) -> None:
    pairs(console, {name: value for name, value in answer.items() if name != "sources"})
    for source in answer.get("sources") or ():
        console.print(f"\n# {cell(source['name'])}", style="bold")
        console.print(cell(source["text"]))
