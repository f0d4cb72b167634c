"""What a replay showed: as JSON for whoever counts on, as tables for whoever looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.trace_replay.judging import ATTACK, BENIGN, Figures, Judged, Stop

_SHOWN = 25


def as_json(judged: Sequence[Judged], about: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by kind, every miss with its cause, and where each trace that was stopped was stopped.

    Args:
        about: what was replayed, and with what.
    """
    return {
        **_figures(judged),
        "misses": [_miss(one) for one in judged if one.missed],
        "apart": {
            name: _figures(some) for name, some in _apart(judged).items() if 0 < len(some) < len(judged)
        },
        "stops": [
            {**_named(one), **_where(one.stop)} for one in judged if one.stop is not None and not one.missed
        ],
        "about": dict(about),
    }


def show(console: Console, judged: Sequence[Judged], about: Mapping[str, Any]) -> None:
    """The screen."""
    table = Table(title=f"{about['traces']}, {about['where']}", title_justify="left")
    for column in ("", "traces", "stopped", "share"):
        table.add_column(column, justify="left" if not column else "right")
    _add_rows(table, "", judged)
    for name, some in _apart(judged).items():
        if 0 < len(some) < len(judged):
            table.add_section()
            _add_rows(table, f", {name.replace('_', ' ')}", some)
    console.print(table)
    _show_reasons(console, judged)
    _show_misses(console, [one for one in judged if one.missed])


def _apart(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Traces that are best read by themselves: of what was cut or never said, an engine can know less."""
    apart: dict[str, list[Judged]] = {"results_cut": [], "results_whole": [], "without_prompt": []}
    for one in judged:
        apart["results_cut" if one.trace.seen.cut else "results_whole"].append(one)
        if not one.trace.seen.turns:
            apart["without_prompt"].append(one)
    return apart


def _figures(judged: Iterable[Judged]) -> dict[str, Any]:
    return {kind: asdict(tally) for kind, tally in Figures.of(judged).by_kind.items()}


def _named(one: Judged) -> dict[str, Any]:
    labels = one.trace.labels
    return {"trace": labels.trace_id, "kind": labels.kind, "variant": labels.variant}


def _where(stop: Stop) -> dict[str, Any]:
    answer = stop.answer
    return {
        "step": stop.step.number,
        "agent": stop.agent,
        "tool": stop.tool,
        "effect": answer.effect,
        "reason_code": answer.reason_code,
        "rules": list(answer.rules),
        "message": answer.message,
    }


def _miss(one: Judged) -> dict[str, Any]:
    if one.stop is not None:
        return {**_named(one), "cause": "an honest step was stopped", **_where(one.stop)}
    cause = "no step of the attack was stopped"
    if not one.trace.seen.steps:
        cause = "the file has no step of it"
    return {**_named(one), "cause": cause, "stopped_elsewhere": [_where(stop) for stop in one.elsewhere]}


def _add_rows(table: Table, what: str, judged: Iterable[Judged]) -> None:
    for kind, tally in Figures.of(judged).by_kind.items():
        if not tally.n:
            continue
        share = f"{tally.stopped / tally.n:.1%}"
        good = {ATTACK: tally.stopped == tally.n, BENIGN: tally.stopped == 0}.get(kind)
        colour = {True: "green", False: "red", None: "dim"}[good]
        table.add_row(f"{kind}{what}", str(tally.n), f"[{colour}]{tally.stopped}[/]", share)


def _show_reasons(console: Console, judged: Iterable[Judged]) -> None:
    counted = Counter(
        (one.trace.labels.kind, rule)
        for one in judged
        if one.stop is not None
        for rule in (one.stop.answer.rules or (one.stop.answer.reason_code,))
    )
    if not counted:
        return
    table = Table(title="stopped by", title_justify="left")
    table.add_column("rule, or reason")
    kinds = sorted({kind for kind, _ in counted})
    for kind in kinds:
        table.add_column(kind, justify="right")
    for rule in sorted({rule for _, rule in counted}, key=lambda rule: -sum(counted[k, rule] for k in kinds)):
        table.add_row(escape(rule), *(str(counted[kind, rule] or "") for kind in kinds))
    console.print(table)


def _show_misses(console: Console, missed: Sequence[Judged]) -> None:
    if not missed:
        return
    table = Table(title=f"misses: {len(missed)}", title_justify="left")
    for column in ("trace", "kind", "where", "why"):
        table.add_column(column, overflow="fold")
    for one in missed[:_SHOWN]:
        miss, stop = _miss(one), one.stop
        where = "" if stop is None else f"step {stop.step.number}: {stop.tool}"
        why = miss["cause"] if stop is None else ", ".join(stop.answer.rules) or stop.answer.reason_code
        table.add_row(escape(one.trace.labels.trace_id), one.trace.labels.kind, escape(where), escape(why))
    console.print(table)
    if len(missed) > _SHOWN:
        console.print(f"and {len(missed) - _SHOWN} more: see the JSON")
