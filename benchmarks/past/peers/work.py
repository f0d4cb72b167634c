"""One rule and one trace for every engine, and a worker that measures on request. Imports nothing of ours.

A worker reads a line of JSON, {"rule", "events", "decisions", "most_s"}, and answers with one:
{"us": […], "allowed": […]}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

SEND = "send after read"
COUNT = "more than 3"
RULES = (SEND, COUNT)
ABOVE = 3

READS, LISTS, SENDS = "read_customer", "list_files", "send_mail"
_LAST = {SEND: SENDS, COUNT: LISTS}


class Engine(Protocol):
    """One agent's run under one rule, from its beginning."""

    def feed(self, tool: str) -> None:
        """This call was permitted, and happened."""

    def allows(self, tool: str) -> bool:
        """Decide one call."""


def trace(rule: str, events: int) -> tuple[list[str], str, bool]:
    """(the calls that happened, the call to decide, whether it is to be allowed).

    Personal data are read first, then files are listed. So the send is always to be denied; one listing more is once
    there were three.
    """
    happened = [READS, *[LISTS] * (events - 1)]
    return happened, _LAST[rule], rule == COUNT and events - 1 < ABOVE


def measure(
    make: Callable[[str], Engine], rule: str, events: int, *, decisions: int, most_s: float
) -> dict[str, Any]:
    """µs of one decision after `events` calls, each time in a run of its own.

    Args:
        decisions: how many at most; `most_s`: how long at most, feeding included; one is made in any case.
    """
    happened, asked, _ = trace(rule, events)
    spent: list[float] = []
    allowed: list[bool] = []
    warm = make(rule)
    warm.feed(READS)
    over_s = time.perf_counter() + most_s
    for number in range(decisions):
        if number and time.perf_counter() > over_s:
            break
        engine = make(rule)
        for tool in happened:
            engine.feed(tool)
        warm.allows(
            asked
        )  # feeding is other code: without this the first decision pays for what is in no cache
        began_ns = time.perf_counter_ns()
        answer = engine.allows(asked)
        spent.append((time.perf_counter_ns() - began_ns) / 1000)
        allowed.append(answer)
    return {"us": spent, "allowed": allowed}


def serve(make: Callable[[str], Engine]) -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        print(json.dumps(measure(make, **json.loads(line))), flush=True)
