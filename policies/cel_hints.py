"""What was probably meant by a condition that CEL refuses: its own words speak of its grammar."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from policies.error import did_you_mean

# What `on` and other languages call otherwise than conditions do.
_OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "tool": "resource.id",
        "agent": "subject.id",
        "effect": "resource.effects",
        "data": "resource.data",
        "system": "resource.system",
        "boundary": "resource.boundary",
        "jurisdiction": "resource.jurisdiction",
        "True": "true",
        "yes": "true",
        "False": "false",
        "no": "false",
        "None": "null",
    }
)
_SIGNS: Mapping[str, str] = MappingProxyType({"and": "&&", "or": "||"})
_MISPLACED = re.compile(r"(?:mismatched|extraneous) input '([^']*)'")
_UNREADABLE = re.compile(r"token recognition error at: '([=&|])")


def name_hint(name: str, condition: str, known: Collection[str]) -> str:
    """For a name that conditions do not have; "" for a function's."""
    root, _, part = name.partition(".")
    beside = [one for one in known if one.startswith(f"{root}.")]
    if beside:
        close = did_you_mean(part, [one.partition(".")[2] for one in beside]) if part else ""
        return close.replace("`", f"`{root}.", 1) or "there are " + ", ".join(f"`{one}`" for one in beside)
    if re.search(rf"\b{re.escape(name)}\s*\(", condition):
        return ""
    if name in _OTHERWISE:
        return f"write `{_OTHERWISE[name]}`"
    return did_you_mean(name, known) or f"an argument is read as `args.{name}`; text stands in quotes"


def operator_hint(message: str, condition: str, line: int, column: int) -> str:
    """For signs and words of other languages, and of formulas, at a place that counts from 1."""
    if unreadable := _UNREADABLE.search(message):
        return f"write `{unreadable.group(1) * 2}`"
    misplaced = _MISPLACED.search(message)
    if misplaced is None:
        return ""
    before = "\n".join(condition.splitlines()[line - 1 : line])[: column - 1]
    if re.search(r"\bnot\s+$", before, re.IGNORECASE):
        return "write `!`"
    sign = _SIGNS.get(misplaced.group(1).lower())
    return f"write `{sign}`" if sign else ""
