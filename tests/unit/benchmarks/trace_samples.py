"""Traces of our own in the format of the corpora, and a backend that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.trace_replay.backend import Agent, Answer, Refused
from benchmarks.trace_replay.reading import read_traces
from benchmarks.trace_replay.tools import Tools
from benchmarks.trace_replay.trace import Call, Result, Trace

Line = dict[str, Any]


def step(tool: str, **more: Any) -> Line:
    return {"tool": tool, "args": {}, "result_excerpt": "done", "result_chars": 4, **more}


def line(*steps: Line, **more: Any) -> Line:
    return {"kind": "benign", "agent": "clerk", "prompt": "water the plants", "steps": list(steps), **more}


def delegation(by: str, to: str, task: str, *, parent: str | None, **more: Any) -> Line:
    args = {"to": to, "scope": ["garden.read"], "depth": 0, "nonce": f"n-{task}", "expires_at": 60}
    known = args.keys() & more.keys()
    args |= {name: more.pop(name) for name in known}
    return {
        "type": "delegation",
        "agent": by,
        "tool": "delegate",
        "args": args,
        "parent_task": parent,
        "task_id": task,
        "time": 0.0,
        "principal": "rosa",
        "result_excerpt": None,
        **more,
    }


def traces(tmp_path: Path, *lines: Line, tools: Tools | None = None) -> list[Trace]:
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return read_traces(file, tools or Tools())


def only_trace(tmp_path: Path, one: Line, tools: Tools | None = None) -> Trace:
    (trace,) = traces(tmp_path, one, tools=tools)
    return trace


class Recorder:
    """A backend that allows whatever `stops` does not name, and keeps everything that it is told."""

    def __init__(self, stops: Mapping[str, str] | None = None) -> None:
        self.told: list[tuple[str, Any]] = []
        self._stops = stops or {}
        self._used: set[str] = set()

    def of(self, what: str) -> list[Any]:
        return [value for name, value in self.told if name == what]

    def begin(self, agents: Sequence[Agent], *, now_us: int) -> None:
        self.told.append(("begin", tuple(agents)))

    def clock(self, now_us: int) -> None:
        self.told.append(("clock", now_us))

    def open_session(self, subject: str, task: str | None, scope: Any = None) -> str:
        self.told.append(("open_session", (subject, task)))
        return f"session of {subject}"

    def add_task(self, session: str, task: str) -> None:
        self.told.append(("add_task", (session, task)))

    def delegate(
        self,
        session: str,
        *,
        by: str,
        to: str,
        tools: Sequence[str] | None,
        depth: int | None,
        expires_in_s: float | None,
        principal: str | None,
    ) -> str | Refused:
        self.told.append(("delegate", (session, by, to, tools, depth, expires_in_s, principal)))
        if to in self._stops:
            return Refused(code=self._stops[to])
        return f"token {len(self.of('delegate'))} for {to}"

    def accept(self, token: str, *, agent: str) -> str | Refused:
        self.told.append(("accept", (token, agent)))
        if token in self._used:
            return Refused(code="delegation_used")
        self._used.add(token)
        return f"session of {agent} by {token}"

    def decide(self, call: Call, session: str | None) -> Answer:
        self.told.append(("decide", (call, session)))
        effect = self._stops.get(call.tool, "allow")
        return Answer(
            effect=effect, reason_code=f"{effect} of {call.tool}", decision=f"decision {call.number}"
        )

    def report(self, decision: str, result: Result) -> None:
        self.told.append(("report", (decision, result)))
