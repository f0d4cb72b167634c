"""All monitors that one set of atoms touches, stepped together.

Which atoms an action has repeats: one tool, one set. With the set known, most of every formula is known as well, so
that what is left of twenty steps is a few comparisons in one function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from policies.past.monitor import Monitor, Slots
from policies.past.monitor_code import FALSE, TRUE, indented

Joint: TypeAlias = Callable[[Mapping[int, Slots], int, int], tuple[dict[int, bool], dict[int, Slots]]]
"""``(slots by monitor, time_us, position) -> (truths, slots that have changed)``; what is initial may be left out."""


def joint_of(
    monitors: Mapping[int, Monitor], *, touched: Collection[int], possibly: int, certainly: int
) -> Joint:
    """The steps of these monitors, for events with these very atoms that are being decided.

    Args:
        touched: those that the atoms touch; the others are only asked for their truths.
    Cost: about 0.05 ms a monitor, and 0.5 KiB.
    """
    lines: list[str] = []
    truths: list[str] = []
    first = 0
    for number, monitor in monitors.items():
        code, truth = monitor.code_of((possibly, certainly), first)
        own = [f"s{place}" for place in range(first, first + code.slots)]
        first += code.slots
        truths.append(f"{number}: {truth}")
        if not own or (not code.step and truth in (TRUE, FALSE)):
            continue
        kept = f"({', '.join(own)},)"
        lines += [f"x = get({number}, i{number})", f"{kept} = x", *code.step]
        if code.step and number in touched:
            lines.append(f"if {kept} != x: changed[{number}] = {kept}")
    source = "def joint(kept, t, n):\n" + indented(
        ["get = kept.get", "changed = {}", *lines, f"return {{{', '.join(truths)}}}, changed"]
    )
    names: dict[str, Any] = {f"i{number}": one.initial for number, one in monitors.items()}
    scope: dict[str, Any] = {}
    # Nothing of the author's text is in it: only numbers, our own names and Python's operators.
    exec(source, {"__builtins__": {}, **names}, scope)  # noqa: S102
    joint: Joint = scope["joint"]
    return joint
