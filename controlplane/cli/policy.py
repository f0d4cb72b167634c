"""`controlplane policy`: try policies on stories before they decide anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from controlplane.cli.output import FAILED, JsonOption, cell, reported, show
from controlplane.cli.policy_files import FilesArgument, read_sources
from controlplane.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from policies.stories import StoryReport

app = typer.Typer(no_args_is_help=True, help="Test policies.")


@app.callback()
def policy() -> None:
    """Test policies."""


@app.command("test")
@reported
def test(files: FilesArgument, as_json: JsonOption = False) -> None:
    """Tell `kind: Test` stories to the real engine.

    In process, without a control plane.

    Exit status: 0 when every step came out as expected, 1 when not, or when there is no story.

    Example: controlplane policy test policies/ stories/
    """
    from policies.compile import compile_bundle
    from policies.loader import load_documents
    from policies.stories import run_stories

    documents = load_documents(read_sources(files))
    if not documents.tests:
        raise InputError("no `kind: Test` document among the files: nothing was tested", code="no_tests")
    report = run_stories(compile_bundle(documents), documents.tests)
    shown = asdict(report)
    for step in (step for case in shown["cases"] for step in case["steps"]):
        step["verdict"] = step["verdict"]._asdict()
    shown = {"passed": report.passed, "failures": report.failures, **shown}
    show(as_json, shown, lambda console: _print(console, report))
    if not report.passed:
        raise typer.Exit(FAILED)


def _print(console: Console, report: StoryReport) -> None:
    for case in report.cases:
        mark, style = ("pass", "green") if case.passed else ("FAIL", "bold red")
        console.print(f"{mark}  {cell(case.test)}: {cell(case.name)}", style=style)
        for step in case.steps:
            for failure in step.failures:
                console.print(f"      {cell(step.file)}:{step.line}: step {step.number}: {cell(failure)}")
    passed = sum(case.passed for case in report.cases)
    console.print(f"\n{passed} of {len(report.cases)} cases passed", style="bold")
    if report.never_matched:
        console.print(f"rules that no step reached: {cell(report.never_matched)}", style="yellow")
