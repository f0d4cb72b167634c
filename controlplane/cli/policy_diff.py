"""`controlplane policy diff`: what another bundle would change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption
from controlplane.cli.output import JsonOption, cell, reported, show
from controlplane.cli.policy_bundles import compiled, read_bundle

if TYPE_CHECKING:
    from rich.console import Console

    from policies.diff import BundleDiff

_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}
_WHAT = "A file or folder; or `active`, or a stored bundle's digest or how it begins, from the control plane."


@reported
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_WHAT)],
    new: Annotated[str, typer.Argument(metavar="NEW", help=_WHAT)],
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="A file, folder or `pack:NAME` that belongs to each side read from files. Repeat for more.",
        ),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what two bundles say, and what they remember.

    Files, order and layout make no difference. For the past of live sessions it says which formulas and budgets keep
    what they remember when NEW is activated, and what the new ones know of what was before.

    Exit status: 0, whether or not anything changes; 1 when a bundle cannot be read or does not compile.

    Example: controlplane policy diff active policies/ --with pack:agent-safety
    """
    from policies.diff import diff as compare

    before, old_bundle = compiled(read_bundle(old, data, url, key, beside or ()))
    after, new_bundle = compiled(read_bundle(new, data, url, key, beside or ()))
    found = compare(before, after, old_bundle, new_bundle)
    shown = {
        "old": found.old,
        "new": found.new,
        "same": found.old == found.new,
        "changes": found.changes,
        "past": found.past,
    }
    show(as_json, shown, lambda console: _print(console, found))


def _print(console: Console, found: BundleDiff) -> None:
    if found.old == found.new:
        console.print(f"the same bundle: {found.old}")
        return
    console.print(f"{found.old} -> {found.new}", style="bold")
    for change in found.changes:
        style = _STYLES[change.change]
        console.print(f"{_SIGNS[change.change]} {change.kind} {cell(change.name)}", style=style)
        for clause in change.clauses:
            if change.change == "changed":
                told = f"{cell(clause.key)}: {_written(clause.old)} -> {_written(clause.new)}"
            else:
                told = f"{cell(clause.key)}: {_written(clause.new if clause.old is None else clause.old)}"
            console.print(f"    {told}", soft_wrap=True)
    if found.past:
        console.print("\nwhat live sessions remember", style="bold")
    for one in found.past:
        console.print(
            f"{one.becomes:<9}  {one.kind}: {cell(one.says)}  ({', '.join(one.rules)})", soft_wrap=True
        )
        if one.note:
            console.print(f"           {one.note}", soft_wrap=True)


def _written(value: Any) -> str:
    if value is None:
        return "nothing"
    return cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))
