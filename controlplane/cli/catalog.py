"""`controlplane catalog`: say what tools are, first by a draft, then by a person, and keep it true."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.output import FAILED, JsonOption, cell, reported, show
from controlplane.cli.policy_files import FilesArgument, read_sources
from controlplane.errors import GovernanceError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from policies.catalog_draft.descriptions import ToolDescription
    from policies.catalog_draft.proposal import ProposedTool
    from policies.lint.finding import Finding

app = typer.Typer(
    no_args_is_help=True,
    help="Draft and check catalogs: what tools are.",
)

_TOOLS = (
    "Tool descriptions: MCP `tools/list`, OpenAI functions, or a list of {name, description, parameters}."
)


@app.command("draft")
@reported
def draft(
    tools: Annotated[Path, typer.Argument(metavar="TOOLS.json", help=f"{_TOOLS} `-` reads stdin.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here; never over a file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a catalog for tools that nobody has described yet.

    Each line says why it was proposed; `# check:` marks what a person has to settle. Words in names and schemas tell
    what a tool does, its own description and hints may add effects and never take one away, and what
    nothing tells stays open, which only restricts. Read every line before you activate it: a tool can call itself what
    it likes.

    Next: correct the file, then `controlplane catalog check FILE --tools TOOLS.json`.

    Example: controlplane catalog draft tools.json -o catalog.yaml
    """
    from policies.catalog_draft.draft import draft_tools
    from policies.catalog_draft.vocabulary import read_vocabulary
    from policies.catalog_draft.yaml_text import yaml_text
    from policies.error import Source
    from policies.loader import load_documents

    words = resources.files("policies.catalog_draft").joinpath("words/english.yaml")
    vocabulary = read_vocabulary(Source(name=words.name, text=words.read_text(encoding="utf-8")))
    proposed = draft_tools(_read_tools(tools), vocabulary)
    text = yaml_text(proposed, origin="stdin" if str(tools) == "-" else tools.name)
    load_documents([Source(name=str(output or "draft"), text=text)])
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise InputError(f"`{output}` exists: a draft never replaces what somebody corrected") from None
    told = [_told(tool) for tool in proposed]
    checks = text.count("# check: ")
    if as_json:
        show(
            True, {"tools": told, "checks": checks, "file": None if output is None else str(output)}, _silent
        )
    elif output is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(f"{len(proposed)} tools drafted into {output}; {checks} lines to check")


@app.command("check")
@reported
def check(
    files: FilesArgument,
    tools: Annotated[
        Path | None, typer.Option("--tools", metavar="TOOLS.json", help=f"Compare with these. {_TOOLS}")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on warnings, too.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for what catalogs leave open, and for tools that have changed since.

    In process, without a control plane. Besides what does not load: effects and boundaries left open, arguments without
    role or type, reads that do not say what their results are worth, senders without a destination,
    systems and data classes that nothing declares; with --tools also tools and arguments that the catalog lacks.

    Exit status: 0 when nothing is wrong, 1 when there is a finding of the level error (with --strict: any).

    Example: controlplane catalog check catalog.yaml --tools tools.json
    """
    from policies.lint.catalog import check_catalogs
    from policies.lint.finding import Level

    findings = check_catalogs(read_sources(files), None if tools is None else _read_tools(tools))
    errors = sum(one.level is Level.ERROR for one in findings)
    warnings = len(findings) - errors
    shown = {"errors": errors, "warnings": warnings, "findings": findings}
    show(as_json, shown, lambda console: _print(console, findings, errors, warnings))
    if errors or (strict and warnings):
        raise typer.Exit(FAILED)


def _read_tools(path: Path) -> tuple[ToolDescription, ...]:
    """Raises: InputError: more than 1 MiB, deeper than 32, no JSON, or no tools."""
    from controlplane.wire.json_input import LIMIT_BYTES, parse_value
    from policies.catalog_draft.descriptions import read_descriptions

    if str(path) == "-":
        body = sys.stdin.buffer.read(LIMIT_BYTES + 1)
    else:
        with path.open("rb") as file:
            body = file.read(LIMIT_BYTES + 1)
    try:
        return read_descriptions(parse_value(body))
    except GovernanceError as refused:
        raise InputError(f"`{path}`: {refused}", code=refused.code) from None


def _told(tool: ProposedTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "system": tool.system,
        **{key: asdict(getattr(tool, key)) for key in ("effects", "boundary", "data", "returns")},
        "args": {
            name: {"type": one.type, "required": one.required, "role": asdict(one.role)}
            for name, one in tool.args.items()
        },
    }


def _silent(_: Console) -> None:
    """Only JSON is shown."""


def _print(console: Console, findings: tuple[Finding, ...], errors: int, warnings: int) -> None:
    for one in findings:
        console.print(cell(str(one)), style="bold red" if one.level == "error" else "yellow")
    console.print(f"{errors} errors, {warnings} warnings", style="bold")
