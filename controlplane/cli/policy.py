"""`controlplane policy`: try policies on stories before they decide anything."""

from __future__ import annotations

import typer

from controlplane.cli.output import FAILED, JsonOption, reported, show
from controlplane.cli.policy_files import FilesArgument, read_sources

app = typer.Typer(no_args_is_help=True, help="Test policies.")


@app.callback()
def policy() -> None:
    """Test policies."""


@app.command("test")
@reported
def test(files: FilesArgument, as_json: JsonOption = False) -> None:
    """Run the `kind: Test` stories among the documents, in process, on the real engine."""
    from policies.compile import compile_bundle
    from policies.loader import load_documents
    from policies.stories import run_stories

    documents = load_documents(read_sources(files))
    report = run_stories(compile_bundle(documents), documents.tests)
    show(as_json, report, lambda console: console.print(str(report)))
    if not report.passed:
        raise typer.Exit(FAILED)
