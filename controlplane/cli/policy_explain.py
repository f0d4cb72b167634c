"""`controlplane policy explain`: why a decision came out as it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import JsonOption, cell, reported, show
from controlplane.cli.policy_bundles import compiled, stored_sources
from controlplane.cli.policy_files import read_sources
from controlplane.cli.times import shown
from controlplane.errors import GovernanceError, InputError
from controlplane.service.explanations import explanation

if TYPE_CHECKING:
    from rich.console import Console

    from controlplane.hindsight.explain import DecisionExplained, PastAction, PastExplained, RuleExplained
    from policies.bundle import Bundle
    from policies.explanation import ClauseStanding
    from policies.loader import DocumentSet
    from policies.past.explain import Explained

_DAY_US = 86_400_000_000


@reported
def explain(
    decision: Annotated[
        str,
        typer.Argument(
            metavar="DECISION",
            help="A decision's whole id, as `controlplane decide` prints it; in the evidence, `event_id`.",
        ),
    ],
    path: TableOption = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle",
            help="Documents of the bundle that decided. [default: asked of the control plane, if it runs]",
        ),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a decision came out as it did.

    Each rule that was reported or whose past was asked, with its clauses; of each `past` the truth of every
    subformula, and the earlier decisions in the same session, workflow or agent that made it so; of each `limit` the
    level that was recorded. Where nothing allowed the action: what kept each allow rule from matching.

    Exit status: 0; 1 when the decision is not in the table.

    Example: controlplane policy explain 01a20461-44aa-761c-8000-029521cbf8a7
    """
    from controlplane.hindsight.explain import Explainer
    from controlplane.hindsight.period import PeriodReader

    where = table_place(path, data)
    explainer = Explainer(PeriodReader(where))
    action, row = explainer.decision(decision)
    documents, decided = _bundle(action.bundle, bundle, data, url, key)
    found = explainer.explain(action, row, documents, decided)
    shown_json = {
        "decision": asdict(found.action),
        "details": found.details,
        "because": found.because,
        "bundle_at_hand": decided is not None,
        "rules": [asdict(rule) for rule in found.rules],
    }
    show(as_json, _plain(shown_json), lambda console: _print(console, found, decided is not None))


def _bundle(
    digest: str, files: list[Path] | None, data: Path | None, url: str | None, key: str | None
) -> tuple[DocumentSet | None, Bundle | None]:
    """The bundle that decided, if it can be had. Raises: InputError: the files are another one."""
    if files:
        documents, bundle = compiled(read_sources(files))
        if bundle.digest != digest:
            raise InputError(
                f"these documents are {bundle.digest}; the decision was made with {digest or 'no bundle'}",
                code="another_bundle",
                expected=digest,
                found=bundle.digest,
            )
        return documents, bundle
    if not digest:
        return None, None
    try:
        return compiled(stored_sources(digest, data, url, key))
    except GovernanceError:
        return None, None


def _plain(value: Any) -> Any:
    """Sets as sorted lists, for JSON."""
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _print(console: Console, found: DecisionExplained, at_hand: bool) -> None:
    action = found.action
    style = "bold green" if action.permitted else "bold red"
    console.print(f"{action.decision} ({action.reason_code})", style=style)
    console.print(
        f"{shown(action.time_us)}  {cell(action.subject.type)} {cell(action.subject.id)}: {cell(action.action)} "
        f"{cell(action.resource_type)} {cell(action.resource_id)}",
        soft_wrap=True,
    )
    console.print(f"session {cell(action.session)}, workflow {cell(action.workflow)}", soft_wrap=True)
    console.print(f"bundle {action.bundle or 'none'}", soft_wrap=True)
    if detail := found.details.get("detail") or explanation(action.reason_code):
        console.print(cell(detail), soft_wrap=True)
    for change in (found.details.get("modified") or {}).get("changes") or ():
        what = f"{cell(change.get('operation'))} at {cell(change.get('at'))}"
        console.print(
            f"rewritten before it was decided: {what}, {cell(change.get('count'))}×", soft_wrap=True
        )
    if shadow := found.details.get("shadow"):
        rules = cell(shadow.get("rules") or "no rule")
        answer = f"{cell(shadow.get('decision'))} ({rules})"
        console.print(
            f"the shadow bundle {cell(shadow.get('bundle'))} would have answered {answer}", soft_wrap=True
        )
    if not at_hand:
        for rule in action.rules:
            console.print(f"\n{cell(rule)}: {cell(found.because.get(rule) or 'no reason given')}")
        console.print(
            "\nthe bundle that decided is not at hand: name its documents with --bundle", style="yellow"
        )
    for rule_explained in found.rules:
        _print_rule(console, rule_explained)


def _print_rule(console: Console, rule: RuleExplained) -> None:
    standing = "reported" if rule.reported else "not reported"
    watched = ", only monitored" if rule.monitored else ""
    controls = f"  [{', '.join(rule.controls)}]" if rule.controls else ""
    console.print(f"\n{cell(rule.rule)}: {rule.effect}, {standing}{watched}{controls}", style="bold")
    if rule.because:
        console.print(f"  because {cell(rule.because)}", soft_wrap=True)
    for clause in rule.clauses:
        console.print(f"  {_clause(clause)}", soft_wrap=True)
    if rule.past is not None:
        _print_past(console, rule.past)
    if rule.limit is not None:
        level = rule.limit.get("level")
        told = "could not be known, which counts as exceeded where it restricts" if level is None else level
        console.print(f"  limit: level {cell(told)}; it matches above {cell(rule.limit.get('above'))}")


def _clause(clause: ClauseStanding) -> str:
    if clause.key == "when":
        return f"{clause.standing:<8} when: {cell(clause.wanted[0])}"
    found = "not known" if clause.found is None else ", ".join(clause.found) or "none"
    return f"{clause.standing:<8} on {clause.key}: {cell(clause.wanted)} (it is {cell(found)})"


def _print_past(console: Console, past: PastExplained) -> None:
    recorded = "not asked" if past.recorded is None else str(past.recorded).lower()
    console.print(f"  past, over its {past.scope}: {cell(past.formula)} was {recorded}", soft_wrap=True)
    _print_tree(console, past.tree, past.actions, "    ")
    for note in past.notes:
        console.print(f"    note: {note}", style="yellow", soft_wrap=True)
    if past.steps:
        console.print("    step by step")
    for step in past.steps:
        changes = "; ".join(f"{cell(one.text)} is {str(one.truth).lower()}" for one in step.changes)
        console.print(f"      {_action(past.actions[step.position])}: {changes}", soft_wrap=True)


def _print_tree(console: Console, tree: Explained, actions: Sequence[PastAction], indent: str) -> None:
    witness = ""
    if tree.witness is not None:
        witness = f"  by {_action(actions[tree.witness])}"
    console.print(f"{indent}{str(tree.truth).lower():<5}  {cell(tree.text)}{witness}", soft_wrap=True)
    for part in tree.parts:
        _print_tree(console, part, actions, indent + "  ")


def _action(action: PastAction) -> str:
    when = "now" if action.outcome == "being decided" else f"{_duration(action.before_us)} before"
    atoms = ", ".join(f"{name}?" if name in action.unsure else name for name in action.atoms)
    outcome = "" if action.outcome == "being decided" else f", {action.outcome}"
    return f"{action.id} {cell(action.what)} ({when}{outcome}{f'; {atoms}' if atoms else ''})"


def _duration(us: int) -> str:
    for unit, size in (("d", _DAY_US), ("h", 3_600_000_000), ("m", 60_000_000)):
        if us >= size:
            return f"{us / size:.1f}{unit}"
    return f"{us / 1_000_000:.1f}s"
