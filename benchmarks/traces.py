"""Replay recorded traces of agents, honest and hijacked, and count what a set of policies stops.

    python -m benchmarks.traces TRACES.jsonl --tools TOOLS.json --catalog CATALOG.yaml --policy POLICY.yaml --json OUT
    python -m benchmarks.traces corpus.jsonl --catalog benchmarks/suites/delegationbench.yaml --json OUT

A trace file has one trace a line: {"kind": "attack", "agent": …, "prompt": …, "steps": [{"tool", "args",
"result_excerpt"}, …]}. Each trace is a fresh session whose task is its prompt (a list is the user's turns; without a
prompt there is no task). Each step is decided in its turn, and its result reported when it was permitted, as incomplete
where the file cut it. What customers did themselves is skipped: they are nobody's agents.

The decisions are the real service's, over HTTP: a control plane of its own, on loopback, with empty data. With
--in-process they are the engine's, in this process. Traces that tell the time are always replayed in process, on their
own clock. Over HTTP the traces of one agent are its sessions, one after the other: rules whose scope is `agent` look
back over all of them, in process over one trace alone.

A trace counts as stopped at the first deny or escalate of a step; an attack, of a step that is part of the attack:
those that the file lists in `attack_steps`, or marks by `origin`, `likely_attack_step` or a `source` that is not the
user, or, where it marks none, any. An agent that is stopped goes on with its next step, as if it had taken no notice.

Neither the engine nor the service is ever given the labels of a trace, nor its name.

Writes {"attack": {"n", "stopped"}, "benign": {"n", "stopped"}, "misses": [...]}: misses are attacks that went through
and honest traces that were stopped, each with where and why. Read the two sides together: a policy that stops
everything stops every attack. Other kinds stand beside them, neither good nor bad; `apart` has the same figures for
traces whose results the file cut and for those without a prompt, `stops` says where the others were stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # run by its path: what it imports lies beside its folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.progress import track
from ruamel.yaml import YAML

from benchmarks.plane import governed_by
from benchmarks.trace_replay.backend import Backend, NotDecided
from benchmarks.trace_replay.in_process import InProcess
from benchmarks.trace_replay.judging import Judged, judge
from benchmarks.trace_replay.over_http import OverHttp
from benchmarks.trace_replay.reading import TraceFileError, read_traces
from benchmarks.trace_replay.replaying import replay
from benchmarks.trace_replay.report import as_json, show
from benchmarks.trace_replay.tools import Tools, read_tools
from benchmarks.trace_replay.trace import Trace
from controlplane_sdk import ControlPlane
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.effect import Effect
from policies.error import PolicyErrors

_GATEWAY = {
    "role": "gateway",
    "agents": ["*"],
    "subjects": ["user:*"],
    "grants": ["workflows", "witness"],
    "rate_per_s": 0,
}
_WARNINGS_SHOWN = 20

console = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 = replayed, whatever was stopped; 1 = not all of it could be."""
    options = _options(arguments)
    try:
        tools = read_tools(options.tools) if options.tools else Tools()
        scopes = YAML(typ="safe", pure=True).load(options.scopes) if options.scopes else {}
        traces = read_traces(options.traces, tools, scopes)
        texts = [(str(path), path.read_text()) for path in (options.catalog, *options.policy)]
        bundle = compile_sources(texts)
        _warn(bundle, tools)
        began_s = time.perf_counter()
        judged = _replayed(traces, bundle, texts, in_process=options.in_process)
    except (OSError, ValueError, TraceFileError, PolicyErrors, NotDecided) as error:
        console.print(f"not replayed: {error}", style="red", markup=False, highlight=False)
        return 1
    about = {
        "traces": options.traces.name,
        "where": "in process" if options.in_process or all(t.seen.timed for t in traces) else "over HTTP",
        "bundle": bundle.digest,
        "decisions": sum(len(one.trace.seen.steps) for one in judged),
        "skipped_steps": sum(len(one.trace.labels.skipped) for one in judged),
        "seconds": round(time.perf_counter() - began_s, 1),
    }
    options.json.write_text(json.dumps(as_json(judged, about), indent=1, ensure_ascii=False) + "\n")
    show(Console(), judged, about)
    console.print(f"written to {options.json}", highlight=False)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", type=Path, metavar="TRACES.jsonl", help="one trace a line")
    parser.add_argument(
        "--tools",
        type=Path,
        help="schemas of the tools: what the catalog leaves out is named; tools under `user` are the customer's",
    )
    parser.add_argument(
        "--catalog", type=Path, required=True, help="what the tools are; may hold policies as well"
    )
    parser.add_argument(
        "--policy", type=Path, nargs="+", default=[], action="extend", metavar="FILE", help="more documents"
    )
    parser.add_argument(
        "--scopes",
        type=Path,
        help="what sessions are for: scopes by the first 12 digits of their prompt's SHA-256",
    )
    parser.add_argument(
        "--in-process", action="store_true", help="ask the engine in this process, no service"
    )
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="where the result is written")
    options = parser.parse_args(arguments)
    if not options.json.absolute().parent.is_dir():
        parser.error(f"there is no folder for {options.json}")
    return options


def _warn(bundle: Bundle, tools: Tools) -> None:
    if not bundle.rules:
        raise ValueError("these documents have no rule, so nothing would be decided: give --policy")
    said = [str(warning) for warning in bundle.warnings]
    if bundle.uncatalogued is Effect.DENY:
        said += tools.gaps(bundle.catalog)
    for warning in said[:_WARNINGS_SHOWN]:
        console.print(f"note: {warning}", style="yellow", markup=False, highlight=False)
    if len(said) > _WARNINGS_SHOWN:
        console.print(f"note: and {len(said) - _WARNINGS_SHOWN} more", style="yellow")


def _replayed(
    traces: Sequence[Trace], bundle: Bundle, texts: Sequence[tuple[str, str]], *, in_process: bool
) -> list[Judged]:
    """Each trace in the order of the file. The service is started only if some trace is decided by it."""
    engine = InProcess(bundle)
    if in_process or all(trace.seen.timed for trace in traces):
        return _told(traces, lambda trace: engine)
    console.print("starting a control plane of its own")
    with _service(texts) as service:
        return _told(traces, lambda trace: engine if trace.seen.timed else service)


def _told(traces: Sequence[Trace], backend_of: Callable[[Trace], Backend]) -> list[Judged]:
    following = track(traces, description="replaying", console=console, transient=True)
    return [judge(trace, replay(trace.seen, backend_of(trace))) for trace in following]


@contextmanager
def _service(texts: Sequence[tuple[str, str]]) -> Iterator[Backend]:
    with (
        governed_by(texts, gateway=_GATEWAY) as plane,
        ControlPlane(plane.url, plane.key, timeout_s=60) as gateway,
    ):
        yield OverHttp(plane.operator, gateway)


if __name__ == "__main__":
    sys.exit(main())
