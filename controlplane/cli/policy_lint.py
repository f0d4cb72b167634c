"""`controlplane policy lint`: what is odd about policies, before anybody relies on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.output import FAILED, JsonOption, cell, reported, show
from controlplane.cli.policy_files import FilesArgument, read_sources

if TYPE_CHECKING:
    from rich.console import Console

    from policies.lint.linter import LintReport
    from policies.lint.search import Happening


@reported
def lint(
    files: FilesArgument,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on warnings, too.", show_default=False)
    ] = False,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            help="Show for each `past` a shortest past after which it is true, and false.",
            show_default=False,
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for rules and formulas that say less than they seem to.

    In process, without a control plane. Besides what does not compile: rules that never match or for which others
    always decide, atoms that nothing uses or that have no index, limits that are always or never exceeded, windows
    longer than what is kept, and formulas that are always true, never true, or equal to a simpler one, which is
    decided by going through every past of a few actions.

    Exit status: 0 when nothing is wrong, 1 when there is a finding of the level error (with --strict: any).

    Example: controlplane policy lint policies/ catalog.yaml
    """
    from policies.lint.finding import Level
    from policies.lint.linter import lint_sources

    report = lint_sources(read_sources(files))
    errors, warnings = report.count(Level.ERROR), report.count(Level.WARNING)
    shown = {
        "errors": errors,
        "warnings": warnings,
        "findings": report.findings,
        "formulas": report.formulas,
    }
    show(as_json, shown, lambda console: _print(console, report, errors, warnings, traces=traces))
    if errors or (strict and warnings):
        raise typer.Exit(FAILED)


def _print(console: Console, report: LintReport, errors: int, warnings: int, *, traces: bool) -> None:
    for finding in report.findings:
        style = "bold red" if finding.level == "error" else "yellow"
        console.print(cell(str(finding)), style=style)
    if traces:
        for formula in report.formulas:
            console.print(f"\n{cell(formula.rule)}: {cell(formula.formula)}", style="bold")
            _print_trace(console, "true after ", formula.matches)
            _print_trace(console, "false after", formula.misses)
        console.print("")
    console.print(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}", style="bold")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _print_trace(console: Console, title: str, trace: Sequence[Happening] | None) -> None:
    told = "; ".join(map(str, trace)) if trace else "nothing that the search came to"
    console.print(f"  {title}  {cell(told)}", soft_wrap=True)
