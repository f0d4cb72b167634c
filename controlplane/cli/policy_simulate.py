"""`controlplane policy simulate`: what another bundle would have answered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.cli.connection import DataOption, KeyOption, UrlOption
from controlplane.cli.evidence_table import TableOption, table_place
from controlplane.cli.output import JsonOption, cell, reported, screen, show, table
from controlplane.cli.policy_bundles import compiled, read_bundle, stored_sources
from controlplane.cli.policy_files import read_sources
from controlplane.cli.times import moment_us, shown
from controlplane.errors import GovernanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from policies.bundle import Bundle


@reported
def simulate(
    bundle: Annotated[
        list[str],
        typer.Option(
            "--bundle",
            metavar="NEW",
            help="The candidate: a file or folder (repeat for more), `active`, or a stored bundle's digest.",
        ),
    ],
    since: Annotated[str, typer.Option(help="Judge what was decided since: `24h` ago, or RFC 3339.")] = "24h",
    until: Annotated[str | None, typer.Option(help="And before: the same. [default: now]")] = None,
    path: TableOption = None,
    recorded: Annotated[
        list[Path] | None,
        typer.Option(
            "--recorded",
            help="Documents of a bundle that decided. [default: asked of the control plane, if it runs]",
        ),
    ] = None,
    data: DataOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded decisions under another bundle.

    Each recorded decision is judged by the candidate and by what had really been permitted before it, in its session,
    workflow and agent, with the outcomes that were reported; what is before the period and within the candidate's
    windows is told first. Arguments are masked in the evidence: where a hidden value could make a difference the
    decision counts as undecided, never as one or the other. What the bundle that decided had found about hidden
    values is used where the candidate asks the same.

    Exit status: 0, whatever would change; 1 when something cannot be read.

    Example: controlplane policy simulate --bundle candidate/ --since 7d
    """
    from controlplane.hindsight.period import Period, PeriodReader
    from controlplane.hindsight.simulate import simulate as replay

    now_us = time.time_ns() // 1_000
    period = Period(
        from_us=moment_us(since, now_us=now_us),
        until_us=now_us if until is None else moment_us(until, now_us=now_us),
    )
    sources = [source for what in bundle for source in read_bundle(what, data, url, key)]
    _, candidate = compiled(sources)
    where = table_place(path, data)
    reader = PeriodReader(where)
    told, missing = _recorded(reader.bundles(period), recorded, data, url, key)
    with screen(stderr=True).status("reading") as spinner:

        def progress(done: int, of: int) -> None:
            spinner.update(f"{done} of {of} rows")

        found = replay(reader, candidate, told, period, progress=progress)
    result = {
        "bundle": candidate.digest,
        "since": shown(period.from_us),
        "until": shown(period.until_us),
        "past_from": shown(found.from_us),
        "recorded_bundles": sorted(told),
        "missing_bundles": missing,
        **_fields(found.report),
        "unknown": found.unknown,
    }
    show(as_json, result, lambda console: _print(console, result))


def _recorded(
    digests: Sequence[str],
    documents: list[Path] | None,
    data: Path | None,
    url: str | None,
    key: str | None,
) -> tuple[dict[str, Bundle], list[str]]:
    """(the bundles that decided and can be had, the digests of the others)."""
    found: dict[str, Bundle] = {}
    if documents:
        _, bundle = compiled(read_sources(documents))
        found[bundle.digest] = bundle
    for digest in digests:
        if digest in found or documents:
            continue
        try:
            _, found[digest] = compiled(stored_sources(digest, data, url, key))
        except GovernanceError as error:
            # Without them the simulation knows less, and says so.
            if not error.fields.get("status"):
                break  # nobody answers: nor would they for the others
    return found, [digest for digest in digests if digest not in found]


def _fields(report: object) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(report)  # type: ignore[call-overload, no-any-return]


def _print(console: Console, result: dict[str, Any]) -> None:
    console.print(f"{result['since']} to {result['until']}, judged by {result['bundle']}", style="bold")
    console.print(
        f"{result['decisions']} decisions: {result['unchanged']} as they were, {result['changed']} changed, "
        f"{result['undecided']} undecided for want of what is hidden"
    )
    if result["not_judged"]:
        told = ", ".join(f"{cell(code)} {count}" for code, count in result["not_judged"].items())
        console.print(f"not judged, because no bundle decides it: {told}")
    if result["before"]:
        console.print(f"{result['before']} actions before that told as past, from {result['past_from']} on")
    if result["shifts"]:
        console.print("\nchanged", style="bold")
        rows = [(one["was"], one["would_be"], one["count"], one["samples"]) for one in result["shifts"]]
        table(console, ("was", "would be", "decisions", "such as"), rows, empty="")
        console.print("\nby rule", style="bold")
        by_rule = [
            (one["rule"], one["of"], one["was"], one["would_be"], one["count"], one["samples"][:1])
            for one in result["rules"]
        ]
        columns = ("rule", "of the bundle", "was", "would be", "decisions", "such as")
        table(console, columns, by_rule, empty="")
    if result["doubts"]:
        console.print("\nundecided, because of", style="bold")
        doubts = [(one["rule"], one["count"], one["samples"][:1]) for one in result["doubts"]]
        table(console, ("rule", "decisions", "such as"), doubts, empty="")
    console.print("\nwhat cannot be known", style="bold")
    for line in result["unknown"]:
        console.print(f"- {cell(line)}", soft_wrap=True)
