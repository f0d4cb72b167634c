"""How approvals look on a screen: who must still approve, how long is left, what the arguments are."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controlplane.cli.output import cell, pairs, plain

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("id", "state", "left", "agent", "action", "still needed", "rule")
_OPEN = frozenset({"pending", "partial"})


def row(task: dict[str, Any], now: datetime) -> tuple[object, ...]:
    """One approval in a list."""
    return (
        task.get("id"),
        task.get("state"),
        left(task, now),
        task.get("agent"),
        action(task),
        needed(task),
        [rule.get("rule") for rule in task.get("rules") or ()],
    )


def line(task: dict[str, Any], now: datetime, *, as_json: bool) -> str:
    """One approval in a line."""
    if as_json:
        return json.dumps(task, ensure_ascii=False, default=plain)
    parts = [now.isoformat(timespec="seconds").replace("+00:00", "Z"), *row(task, now)[:-1]]
    return "  ".join(cell(part) for part in parts if part not in (None, "", []))


def whole(console: Console, task: dict[str, Any], now: datetime) -> None:
    """All there is to decide on."""
    remaining = left(task, now)
    state = f"{task.get('state')}" + (f", {remaining} left" if remaining else "")
    console.print(cell(f"{task.get('id')}  {state}"), style="bold")
    told = ("requested_at", "expires_at", "session", "workflow", "created_by", "decision_id")
    pairs(
        console,
        {
            "agent": task.get("agent"),
            "action": action(task),
            "in the agent's words": one_line(task.get("justification")),
            "still needed": needed(task),
            "may decide now": task.get("waits_for"),
            "may I": "yes" if task.get("may_decide") else task.get("why_not"),
            **{name.replace("_", " "): task.get(name) for name in told},
            "ended by": task.get("ended_by"),
            "because": one_line(task.get("ended_comment")),
            "used by": task.get("used"),
            "delegated": [
                f"{one.get('from')} to {one.get('to')} until {one.get('until')}"
                for one in task.get("delegated") or ()
            ],
        },
    )
    _arguments(console, task)
    for rule in task.get("rules") or ():
        console.print(cell(f"\nrule {rule.get('rule')}"), style="bold")
        pairs(
            console,
            {
                "because": one_line(rule.get("because")),
                "who": f"{rule.get('quorum', 1)} of {cell(rule.get('by'))}",
                "later also": rule.get("then_to"),
                "objects to": [
                    f"{value.get('at')} {value.get('shown')}" for value in rule.get("values") or ()
                ],
            },
        )
        for given in rule.get("approvals") or ():
            console.print(cell(f"  approved by {_said(given, 'approver', 'comment')}"))
    for comment in task.get("comments") or ():
        console.print(cell(f"\n{_said(comment, 'by', 'text')}"))
    if task.get("may_decide"):
        identity = task.get("id")
        console.print(cell(f"\nDecide: controlplane approvals approve {identity}"))
        console.print(cell(f"    or: controlplane approvals deny {identity} --comment '…'"))


def after(console: Console, task: dict[str, Any], now: datetime) -> None:
    """What an act came to."""
    console.print(line(task, now, as_json=False))


def action(task: dict[str, Any]) -> str:
    resource = task.get("resource") or ""
    shown = f"{resource.get('type')}:{resource.get('id')}" if isinstance(resource, dict) else str(resource)
    return f"{task.get('action')} {shown.removeprefix('tool:')}"


def needed(task: dict[str, Any]) -> list[str]:
    """Whose word is missing, rule by rule: how many more, and of whom."""
    if task.get("state") not in _OPEN:
        return []
    missing = []
    for rule in task.get("rules") or ():
        more = int(rule.get("quorum") or 1) - len(rule.get("approvals") or ())
        if more > 0:
            missing.append(f"{more} of {' or '.join(map(str, rule.get('by') or ['nobody']))}")
    return list(dict.fromkeys(missing))


def left(task: dict[str, Any], now: datetime) -> str:
    """How long it is still open, in its two largest units."""
    if task.get("state") not in _OPEN:
        return ""
    try:
        expires = datetime.fromisoformat(str(task.get("expires_at")))
    except ValueError:
        return ""
    seconds = int((expires - now).total_seconds()) if expires.tzinfo else 0
    if seconds <= 0:
        return "none"
    units = (
        ("d", seconds // 86_400),
        ("h", seconds // 3600 % 24),
        ("m", seconds // 60 % 60),
        ("s", seconds % 60),
    )
    first = next(index for index, (_, count) in enumerate(units) if count)
    return " ".join(f"{count}{unit}" for unit, count in units[first : first + 2] if count)


def one_line(text: object) -> str:
    """What somebody wrote, in one line: it cannot pretend to be another line of ours."""
    return " ".join(str(text or "").split())


def _arguments(console: Console, task: dict[str, Any]) -> None:
    for name, title in (
        ("approved_arguments", "arguments, as narrowed"),
        ("arguments", "arguments"),
        ("masked_arguments", "arguments, masked"),
    ):
        if (shown := task.get(name)) is not None:
            console.print(f"\n{title}", style="bold")
            text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
            for each in text.splitlines():
                console.print(f"  {cell(each)}", soft_wrap=True)
            return


def _said(entry: dict[str, Any], who: str, what: str) -> str:
    text = f": {one_line(entry[what])}" if entry.get(what) else ""
    place = f" in place of {entry['in_place_of']}" if entry.get("in_place_of") else ""
    return f"{entry.get(who)}{place} at {entry.get('at')}{text}"
