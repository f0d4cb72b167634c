"""The tables of the benchmark of the past."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from benchmarks.past.peers.comparison import EVENTS, OURS
from benchmarks.past.peers.work import RULES


def tables(measured: dict[str, Any]) -> list[Table]:
    """Everything that was measured, in the order in which it was."""
    return [_verdicts(measured), _state(measured), _hostile(measured), _peers(measured["peers"])]


def _verdicts(measured: dict[str, Any]) -> Table:
    found = measured["verdicts"]
    lengths = list(next(iter(found["p50_us"].values())))
    table = Table(
        "20 rules",
        *(f"{int(length):,} events" for length in lengths),
        "longest / one",
        "verdicts",
        title=f"in process, prepare + verdict + permit, p50, µs (without them {found['p50_us_plain']})",
        caption=f"budget for the mix: {measured['past_20_rules_budget_us']} µs; "
        f"for the ratio: {measured['past_history_ratio_budget']}",
    )
    for kind, costs in found["p50_us"].items():
        verdicts = ", ".join(found["verdicts"][kind])
        table.add_row(
            kind, *(f"{costs[one]:.1f}" for one in lengths), f"{found['ratio'][kind]:.2f}", verdicts
        )
    return table


def _state(measured: dict[str, Any]) -> Table:
    table = Table(
        "what",
        "figure",
        title="state and owners",
        caption=f"budget for 20 formulas of an idle session: {measured['past_bytes_per_idle_session_budget']} bytes",
    )
    for kind, one in measured["state_bytes"].items():
        keys = f", {one['keys']} keys" if one["keys"] else ""
        table.add_row(
            f"idle session, {kind}{keys}: bytes written / in memory", f"{one['written']} / {one['in_memory']}"
        )
    for kind, spent in measured["owner_cpu_us"].items():
        table.add_row(f"owner, CPU a durable decision, {kind}", f"{spent} µs")
    return table


def _hostile(measured: dict[str, Any]) -> Table:
    keys = measured["keys"]
    table = Table("what", "figure", title="hostile keys and formulas")
    for what, figure in (
        ("different keys fed", f"{keys['keys']:,} in {keys['seconds']} s ({keys['us_per_action']} µs each)"),
        ("keys kept at most / bound", f"{keys['kept_at_most']:,} / {keys['bound']:,}"),
        ("resident memory grew after the first hundred thousand", f"{keys['resident_growth_kib']:,} KiB"),
        ("actions that counted as matched, because it is not known", f"{keys['treated_as_matched']:,}"),
    ):
        table.add_row(what, figure)
    for what, one in measured["formulas"].items():
        table.add_row(f"refused: {what}", f"{one['ms']} ms ({one['code']})")
    return table


def _peers(peers: dict[str, Any]) -> Table:
    missing = f"not installed: {', '.join(peers['absent'])}; run with --peers" if peers["absent"] else None
    table = Table(
        "rule",
        "engine",
        *(f"{events:,} events" for events in EVENTS),
        title="the same rules and traces, in process, p50, µs a decision",
        caption=missing,
    )
    for rule in RULES:
        for name, figures in peers["p50_us"].items():
            costs = (figures[rule][str(events)] for events in EVENTS)
            shown = ("too long" if cost is None else f"{cost:,.1f}" for cost in costs)
            table.add_row(rule, f"[bold]{name}[/]" if name == OURS else name, *shown)
    return table
