"""From the lines of a trace file to traces: what may be seen here, labels there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.trace_replay.envelopes import Envelopes
from benchmarks.trace_replay.results import exact, result_of, unmarked_limit
from benchmarks.trace_replay.tools import Tools
from benchmarks.trace_replay.trace import Call, Delegation, Labels, Seen, Step, Trace
from policies.action import Json

Line = Mapping[str, Any]

PROMPT_DIGITS = 12


class TraceFileError(Exception):
    """The file is not one of traces; says which line."""


def read_traces(
    path: Path, tools: Tools, scopes: Mapping[str, Mapping[str, Json]] | None = None
) -> list[Trace]:
    """Read a file of one trace a line.

    Args:
        tools: says which of them are the customer's.
        scopes: what is declared for a prompt, by the beginning of its SHA-256.
    Raises: TraceFileError: a line is no trace.
    """
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise TraceFileError(f"{path.name}:{number}: not JSON: {error}") from None
        if not isinstance(line, dict) or not isinstance(line.get("steps"), list) or "kind" not in line:
            raise TraceFileError(f"{path.name}:{number}: a trace has a `kind` and a list of `steps`")
        lines.append((number, line))
    limit = unmarked_limit([step for _, line in lines for step in line["steps"]])
    traces = []
    for number, line in lines:
        try:
            traces.append(_trace(line, f"{path.name}:{number}", tools, limit, scopes or {}))
        except (KeyError, TypeError, AttributeError) as error:
            raise TraceFileError(f"{path.name}:{number}: not as expected: {error!r}") from None
    return traces


def _trace(
    line: Line, where: str, tools: Tools, limit: int | None, scopes: Mapping[str, Mapping[str, Json]]
) -> Trace:
    steps: list[Line] = line["steps"]
    skipped = tuple(number for number, step in enumerate(steps) if _is_customers(line, step, tools))
    return Trace(
        seen=replace(
            seen_of({**line, "steps": [_named(step, tools) for step in steps]}, skipped, limit),
            scope=_scope(line, scopes),
        ),
        labels=Labels(
            trace_id=str(line.get("trace_id", where)),
            kind=str(line["kind"]),
            variant=str(line.get("variant") or ""),
            attack_steps=attack_steps(line),
            skipped=skipped,
        ),
    )


def _scope(line: Line, scopes: Mapping[str, Mapping[str, Json]]) -> Mapping[str, Json] | None:
    prompt = line.get("prompt")
    digest = hashlib.sha256(prompt.encode()).hexdigest() if isinstance(prompt, str) else ""
    return scopes.get(digest[:PROMPT_DIGITS])


def _named(step: Line, tools: Tools) -> Line:
    args = step.get("args")
    return {**step, "args": tools.named(str(step.get("tool")), args)} if isinstance(args, dict) else step


def _is_customers(line: Line, step: Line, tools: Tools) -> bool:
    """In the trace of one agent: what somebody else did, or did with a tool that only the customer has."""
    if line.get("agents") or any(step.get("type") == "delegation" for step in line["steps"]):
        return False
    return step.get("agent", line["agent"]) != line["agent"] or step["tool"] in tools.customers


def seen_of(line: Line, skipped: Sequence[int], limit: int | None) -> Seen:
    """The half that an engine may see; takes each field by its name, so that a field to come is not seen either."""
    prompt = line.get("prompt")
    turns = prompt if isinstance(prompt, list) else [prompt] if prompt else []
    envelopes = Envelopes(line.get("grant") or {})
    steps: list[Step] = []
    for number, step in enumerate(line["steps"]):
        if number in skipped:
            continue
        if step.get("type") == "delegation":
            steps.append(_delegation(number, step, envelopes))
        else:
            steps.append(_call(number, line, step, envelopes, limit, turns=len(turns)))
    return Seen(
        agent=line["agent"],
        turns=tuple(map(str, turns)),
        steps=tuple(steps),
        agents={name: tuple(can) for name, can in (line.get("agents") or {}).items()},
    )


def _call(
    number: int, line: Line, step: Line, envelopes: Envelopes, limit: int | None, *, turns: int
) -> Call:
    # Turns that the file does not set against the steps were all said before the first.
    turn = step.get("turn", max(0, turns - 1))
    arguments = exact(step.get("args") or {})
    assert isinstance(arguments, dict)
    return Call(
        number=number,
        agent=step.get("agent", line["agent"]),
        tool=step["tool"],
        arguments=arguments,
        result=result_of(step, limit),
        turn=int(turn),
        at_s=step.get("time"),
        envelope=envelopes.presented(step.get("nonce")),
    )


def _delegation(number: int, step: Line, envelopes: Envelopes) -> Delegation:
    args, at_s = step["args"], step.get("time")
    expires_at = args.get("expires_at")
    envelope = envelopes.of_task(step.get("parent_task"))
    again = envelopes.made(number, args.get("nonce"), step.get("task_id"))
    by = str(step["agent"])
    return Delegation(
        number=number,
        by=by if by.startswith("user:") else f"agent:{by}",
        to=args["to"],
        tools=None if args.get("scope") is None else tuple(args["scope"]),
        depth=envelopes.depth_left(args.get("depth")),
        expires_in_s=None if expires_at is None else expires_at - (at_s or 0),
        principal=f"user:{step['principal']}" if step.get("principal") else None,
        at_s=at_s,
        envelope=envelope,
        again=again,
    )


def attack_steps(line: Line) -> frozenset[int] | None:
    """Which steps are part of the attack, by the first of these that the file says.

    1. `attack_steps` lists them. 2. A step's `origin` is `injection`. 3. A step is a `likely_attack_step`. 4. A step's
    `source` is something else than the `user`. Otherwise any step may be.
    """
    if line.get("attack_steps"):
        return frozenset(line["attack_steps"])
    steps: list[Line] = line["steps"]
    for is_attack in (
        lambda step: step.get("origin") == "injection",
        lambda step: bool(step.get("likely_attack_step")),
        lambda step: step.get("source", "user") != "user",
    ):
        found = frozenset(number for number, step in enumerate(steps) if is_attack(step))
        if found:
            return found
    return None
