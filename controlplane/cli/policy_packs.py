"""`controlplane policy packs`: policies that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.output import JsonOption, reported, show
from controlplane.cli.policy_files import read_pack

if TYPE_CHECKING:
    from rich.console import Console


@reported
def packs(
    name: Annotated[str | None, typer.Argument(help="The pack to show; all are listed without one.")] = None,
    policy: Annotated[bool, typer.Option("--policy", help="Print its policy instead of its page.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List packs, or show what one stops and costs.

    A pack is used by naming it beside your own files: it only restricts, and your rules allow.

    Example: controlplane policy test catalog.yaml policy.yaml pack:agent-safety stories.yaml
    """
    from policies.loader import load_documents
    from policies.packs import pack_page, pack_policy
    from policies.packs import packs as names

    if name is None:
        listed = [
            {"name": one, "file": f"pack:{one}", "about": _first_sentence(pack_page(one))} for one in names()
        ]
        show(as_json, {"packs": listed}, lambda console: _list(console, listed))
        return
    source = read_pack(name)
    if policy:
        typer.echo(pack_policy(name), nl=False)
        return
    document = load_documents([source]).policies[0].document
    rules = [rule.id for rule in document.rules]
    about = {
        "name": name,
        "file": str(Path(source.name)),
        "parameters": {key: one.model_dump() for key, one in document.parameters.items()},
        "rules": rules,
    }
    show(as_json, about, lambda console: console.print(pack_page(name), markup=False, highlight=False))


def _list(console: Console, listed: list[dict[str, str]]) -> None:
    for one in listed:
        console.print(f"{one['file']}  {one['about']}", markup=False, highlight=False)


def _first_sentence(page: str) -> str:
    """Of a page, what stands under its title."""
    lines = [line for line in page.splitlines() if line.strip() and not line.startswith("#")]
    return lines[0].split(". ")[0].rstrip(".") if lines else ""
