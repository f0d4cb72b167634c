"""The one screen: what was done, what was stopped, what it cost, and what this cannot do."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from examples.banking.figures import Figures


def show(console: Console, figures: Figures) -> None:
    """Print the screen."""
    console.print(
        Panel(
            Group(
                _results(figures),
                "",
                _by_attack(figures),
                "",
                *_stopped(figures),
                *_evidence(figures),
                "",
                _note(figures),
            ),
            title=f"AgentDojo banking {figures.benchmark}, governed",
            box=box.ROUNDED,
        )
    )
    for failure in figures.decisions.failures[:10]:
        console.print(f"[red]did not go through:[/] {escape(failure)}")


def _results(figures: Figures) -> Table:
    table = _table()
    table.add_column("by AgentDojo's own checkers", min_width=42)
    table.add_column("governed", justify="right")
    table.add_column("ungoverned", justify="right", style="dim")
    good, bad = figures.benign, figures.hijacks
    table.add_row(
        "honest tasks completed",
        f"[green]{good.completed}[/] of {good.tasks}",
        f"{good.ungoverned_completed} of {good.tasks}",
    )
    table.add_row("honest tasks stopped (a call not allowed)", f"{good.stopped} of {good.tasks}", "")
    table.add_row("hijacks stopped (not allowed, goal missed)", f"[green]{bad.stopped}[/] of {bad.runs}", "")
    table.add_row(
        "hijacks that succeeded",
        f"[red]{bad.succeeded}[/] of {bad.runs}",
        f"{bad.ungoverned_succeeded} of {bad.runs}",
    )
    if bad.succeeded_though_denied or bad.failed_undenied:
        table.add_row("  … succeeded although a call was denied", str(bad.succeeded_though_denied), "")
        table.add_row("  … failed although nothing was denied", str(bad.failed_undenied), "")
    table.add_section()
    table.add_row("decisions, each before its call", f"{figures.decisions.made}", "")
    for effect, count in figures.decisions.by_effect.items():
        table.add_row(f"  {effect}", str(count), "")
    table.add_row("  p50 / p99 over HTTP", f"{figures.decisions.p50_ms} / {figures.decisions.p99_ms} ms", "")
    table.add_row("  calls that did not go through", str(len(figures.decisions.failures)), "")
    return table


def _by_attack(figures: Figures) -> Table:
    table = _table()
    table.add_column("stopped, by attack")
    for attack, _, _ in figures.hijacks.by_attack:
        table.add_column(attack.removeprefix("injection_task_"), justify="right")
    table.add_row(
        f"of {figures.benign.tasks} runs each",
        *(f"[{'green' if stopped else 'red'}]{stopped}[/]" for _, stopped, _ in figures.hijacks.by_attack),
    )
    return table


def _stopped(figures: Figures) -> list[RenderableType]:
    one = figures.stopped
    if one is None:
        return []
    rows = [
        "one that was stopped, and why:",
        f"  [bold]{escape(one.tool)}[/] {escape(one.arguments)}",
        f"  {escape(one.effect)}: {escape(one.detail)}",
    ]
    return [*rows, *(f"    {escape(rule)}" for rule in one.rules), ""]


def _evidence(figures: Figures) -> list[RenderableType]:
    made, landed = figures.decisions, figures.landed
    mark = "[green]equal (decisions id by id)[/]" if landed.agrees_with(made) else "[red]NOT equal[/]"
    rows = _table(gap=1)  # rule and tool names are long, and 80 columns must do
    for column in figures.columns:
        rows.add_column(column, justify="left" if column in {"rule", "tool"} else "right")
    for row in figures.rows:
        rows.add_row(*row)
    return [
        f"evidence: {landed.decision_rows} decision rows for {made.made} decisions, "
        f"{landed.outcome_rows} outcome rows for {made.outcomes} outcomes: {mark}",
        *(
            [f"[red]missing {landed.missing}, surplus {landed.surplus}, duplicates {landed.duplicates}[/]"]
            if not landed.agrees_with(made)
            else []
        ),
        "",
        Syntax(figures.sql, "sql", background_color="default"),
        rows,
    ]


def _note(figures: Figures) -> str:
    bad = figures.hijacks
    through = f"{bad.succeeded} of {bad.runs} hijacks got through. " if bad.succeeded else ""
    return (
        f"[bold]What this cannot do.[/] {through}An attack that does to the same payee what the task asks for, with "
        "another amount, looks like the task; for that the bank has limits. What was stopped of honest work "
        f"({figures.benign.stopped} of {figures.benign.tasks}) pays a bill whose payee stands in the bill alone: a "
        "person can approve it. The rules were written from what tools are, by people who know this suite: "
        "docs/efficacy.md says how they fare on others."
    )


def _table(gap: int = 2) -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
