"""Govern real agents, and show what came of it: `python -m examples.banking.demo`, or `make demo`.

Exit status: 0 when every call went through and the evidence holds each decision exactly once; 1 otherwise;
130 after Ctrl-C. The control plane is shut down in every case; its data directory stays, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from controlplane.errors import GovernanceError
from controlplane_sdk import ControlPlane, ControlPlaneError
from evidence.query import query
from examples.banking import figures, screen
from examples.banking.fleet import AGENTS, ControlPlaneFailed, Instance, prepare_fleet, running_control_plane
from examples.banking.governed import GovernedRuntime
from examples.banking.metered import MeteredControlPlane, Timed, decided_ids
from examples.banking.runs import BENCHMARK_VERSION, BankingSuite, Run, Verdict

LANDING_DEADLINE_S = 30.0
STOPPED_SQL = """\
SELECT rule, tool_name AS tool,
       count(*) AS stopped, count(DISTINCT session_id) AS sessions
FROM evidence, unnest(rule_ids) AS matched(rule)
WHERE event_type = 'decision' AND decision IN ('deny', 'escalate')
GROUP BY ALL ORDER BY stopped DESC, rule"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description="AgentDojo's banking agents, honest and hijacked, governed.")
    parser.add_argument(
        "--json", action="store_true", help="the figures as JSON on stdout; the screen on stderr"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".controlplane-demo"),
        help="data directory, emptied first (%(default)s)",
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=options.json)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that `finally` runs, and the cluster goes down
    try:
        console.print("starting a control plane of its own …")
        with running_control_plane(options.data.absolute()) as instance:
            console.print(f"ready at {instance.url}")
            result = govern(instance, console)
            screen.show(console, result)
            console.print("shutting it down …")
    except (ControlPlaneFailed, ControlPlaneError, GovernanceError) as error:
        for failure in (error.__context__, error):  # what went wrong first, and what shutting down said
            if failure:
                console.print(f"the demo failed: {failure}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the control plane is shut down")
        return 130
    console.print(
        f"the evidence stays and needs no control plane: .venv/bin/controlplane evidence query --data {options.data}",
        "\"SELECT tool_name, decision, count(*) AS n FROM evidence WHERE event_type = 'decision' GROUP BY ALL\"",
        highlight=False,
        soft_wrap=True,
    )
    if options.json:
        sys.stdout.write(json.dumps({**asdict(result), "agrees": result.agrees}, indent=2) + "\n")
    return 0 if result.agrees else 1


def govern(instance: Instance, console: Console) -> figures.Figures:
    """Play every run through the control plane, wait for its evidence, and count.

    Raises: ControlPlaneError: the control plane refused a set-up call or a session.
    """
    suite = BankingSuite()
    runs = suite.runs()
    ungoverned = [suite.play(run) for run in runs]
    with ControlPlane(instance.url, instance.operator_key) as operator:
        gateway_key = prepare_fleet(operator, tools=suite.tools)
    started = time.monotonic()
    with MeteredControlPlane(instance.url, gateway_key) as gateway:
        governed = _play_governed(suite, runs, gateway, console)
    governed_s = time.monotonic() - started
    received = decided_ids(gateway.decided)
    decision_rows, outcome_rows = _landed_rows(instance.evidence, len(received), gateway.outcomes)
    stopped = query(str(instance.evidence), STOPPED_SQL)
    honest = sum(run.attack is None for run in runs)  # the honest runs come first
    return figures.Figures(
        benchmark=BENCHMARK_VERSION,
        benign=figures.benign(governed[:honest], ungoverned[:honest]),
        hijacks=figures.hijacks(governed[honest:], ungoverned[honest:]),
        decisions=figures.decisions(
            [timed.duration_us for timed in gateway.decided],
            [timed.decision.effect for timed in gateway.decided],
            outcomes=gateway.outcomes,
            failures=gateway.failures,
            governed_s=governed_s,
        ),
        landed=figures.landed(received, decision_rows, outcome_rows),
        stopped=_explained(gateway.decided),
        sql=STOPPED_SQL,
        columns=tuple(stopped.column_names),
        rows=tuple(tuple(str(cell) for cell in row.values()) for row in stopped.to_pylist()),
    )


def _explained(decided: Sequence[Timed]) -> figures.Stopped | None:
    """The last action, of a hijacked run, that was stopped for where one of its values comes from."""
    for timed in reversed(decided):
        decision = timed.decision
        if not decision.allowed and "the result of" in decision.message:
            rules = tuple(f"{reason.rule}: {reason.because}" for reason in decision.reasons)
            return figures.Stopped(
                tool=timed.tool,
                arguments=timed.arguments,
                effect=decision.effect,
                detail=decision.message,
                rules=rules,
            )
    return None


def _play_governed(
    suite: BankingSuite, runs: Sequence[Run], gateway: MeteredControlPlane, console: Console
) -> list[Verdict]:
    """Every run in a session of its own, the agents taking turns."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    verdicts = []
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("governing", total=len(runs))
        for number, run in enumerate(runs):
            agent = AGENTS[number % len(AGENTS)]
            session = gateway.open_session(agent, task=run.task.PROMPT)
            governed = partial(GovernedRuntime, control_plane=gateway, agent=agent, session=session)
            verdicts.append(suite.play(run, governed))
            gateway.end_session(session)
            progress.update(bar, advance=1, description=f"{'hijacked' if run.attack else 'honest'} runs")
    return verdicts


def _landed_rows(evidence: Path, decisions: int, outcomes: int) -> tuple[list[str], int]:
    """The ids of the decision rows and how many outcome rows, once all have landed or time is up."""
    deadline = time.monotonic() + LANDING_DEADLINE_S
    while True:
        rows = query(str(evidence), "SELECT event_type, event_id FROM evidence").to_pylist()
        ids = [str(row["event_id"]) for row in rows if row["event_type"] == "decision"]
        reported = sum(row["event_type"] == "outcome" for row in rows)
        if (len(ids) >= decisions and reported >= outcomes) or time.monotonic() > deadline:
            return ids, reported
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())
