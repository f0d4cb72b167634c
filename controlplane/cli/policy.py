"""`controlplane policy`: try policies on stories before they decide anything, and see what they come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.cli.output import FAILED, JsonOption, cell, reported, show
from controlplane.cli.policy_diff import diff
from controlplane.cli.policy_explain import explain
from controlplane.cli.policy_files import FilesArgument, read_sources
from controlplane.cli.policy_lint import lint
from controlplane.cli.policy_packs import packs
from controlplane.cli.policy_simulate import simulate
from controlplane.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from policies.stories import StoryReport

app = typer.Typer(no_args_is_help=True, help="Check, test, compare and explain policies.")

app.command("lint")(lint)
app.command("diff")(diff)
app.command("simulate")(simulate)
app.command("explain")(explain)
app.command("packs")(packs)


@app.command("test")
@reported
def test(
    files: FilesArgument,
    min_coverage: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Fail when fewer percent of the rules, or of the atoms, were reached."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell `kind: Test` stories to the real engine.

    In process, without a control plane. Says which rules no step reached, and which atoms (`define`) none made true.

    Exit status: 0 when every step came out as expected, 1 when not, when there is no story, or when too little was
    reached.

    Example: controlplane policy test policies/ stories/ --min-coverage 100
    """
    from policies.compile import compile_bundle
    from policies.loader import load_documents
    from policies.stories import run_stories

    documents = load_documents(read_sources(files))
    if not documents.tests:
        raise InputError("no `kind: Test` document among the files: nothing was tested", code="no_tests")
    report = run_stories(compile_bundle(documents), documents.tests)
    reached = {"rules": _reached(report.coverage), "atoms": _reached(report.atoms)}
    enough = min_coverage is None or all(_percent(*part) >= min_coverage for part in reached.values())
    told = asdict(report)
    for step in (step for case in told["cases"] for step in case["steps"]):
        step["verdict"] = step["verdict"]._asdict()
    shown = {
        "passed": report.passed,
        "failures": report.failures,
        "never_matched": report.never_matched,
        "never_held": report.never_held,
        "reached": {
            what: {"reached": count, "of": of, "percent": _percent(count, of)}
            for what, (count, of) in reached.items()
        },
        "enough": enough,
        **told,
    }
    show(as_json, shown, lambda console: _print(console, report, reached))
    if not enough and not as_json:
        typer.echo(f"controlplane: less than {min_coverage:g} % was reached", err=True)
    if not report.passed or not enough:
        raise typer.Exit(FAILED)


@app.command("schema")
@reported
def schema(
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of policy documents, for editors.

    One document of any kind; in an editor that knows YAML schemas, name the file in a first line
    `# yaml-language-server: $schema=policies.schema.json`.

    Example: controlplane policy schema > policies.schema.json
    """
    from policies.documents import json_schema

    # It is JSON for people and programs alike.
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _reached(counts: Mapping[str, int]) -> tuple[int, int]:
    return sum(count > 0 for count in counts.values()), len(counts)


def _percent(reached: int, of: int) -> float:
    return 1000 * reached // of / 10 if of else 100.0


def _print(console: Console, report: StoryReport, reached: Mapping[str, tuple[int, int]]) -> None:
    for case in report.cases:
        mark, style = ("pass", "green") if case.passed else ("FAIL", "bold red")
        console.print(f"{mark}  {cell(case.test)}: {cell(case.name)}", style=style)
        for step in case.steps:
            for failure in step.failures:
                console.print(f"      {cell(step.file)}:{step.line}: step {step.number}: {cell(failure)}")
    passed = sum(case.passed for case in report.cases)
    console.print(f"\n{passed} of {len(report.cases)} cases passed", style="bold")
    told = (f"{count} of {of} {what} ({_percent(count, of):g} %)" for what, (count, of) in reached.items())
    console.print(f"reached: {', '.join(told)}")
    if report.never_matched:
        console.print(f"rules that no step reached: {cell(report.never_matched)}", style="yellow")
    if report.never_held:
        console.print(f"atoms that no step made true: {cell(report.never_held)}", style="yellow")
