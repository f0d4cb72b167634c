"""One action against what was asked: `yes`, `no` or `unknown`, and why.

`unknown` means that what would decide is not known: the catalog leaves the tool's effects open, there is neither scope
nor task, or the task leaves what is to be done to some other text. Rules name the answers that they match.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from policies.action import Json
from policies.asked.estimate import Asked
from policies.asked.patterns import any_object_matches, any_tool_matches, leaves
from policies.asked.scope import Scope, is_effect
from policies.asked.tallies import Tallies, counted
from policies.catalog import ArgumentType

VERBS: Mapping[str, str] = {
    "read": "reads",
    "write": "writes",
    "delete": "deletes",
    "send": "sends",
    "pay": "pays",
    "execute": "executes",
    "grant": "grants",
    "delegate": "delegates",
    "admin": "administers",
}
CHECKED_ROLES = frozenset(("destination", "target"))
_UNTYPED = ArgumentType()
_NOTHING = Tallies()
_OPEN = "the catalog does not say what this action does"


class Reply(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Answer(NamedTuple):
    """A named tuple like all that is made for each decision.

    Args:
        estimated: from the task's words, not from a declared scope.
        because: for people; without values of arguments.
    """

    reply: Reply
    estimated: bool
    because: str


_COVERED = Answer(Reply.YES, False, "the declared scope covers it")


def judge(
    asked: Scope | Asked | None,
    *,
    effects: Collection[str] | None,
    tool: str,
    arguments: Mapping[str, Json],
    types: Mapping[str, ArgumentType] | None,
    tallies: Tallies = _NOTHING,
) -> Answer:
    """Whether what was asked for covers one action.

    Args:
        asked: the session's scope; where none is declared the estimate from its task, or None.
        effects: what the catalog says of the tool; None = left open.
        arguments: as the caller sent them.
        types: what the catalog lists; None = nothing. An argument without a role is taken for a destination.
        tallies: permitted actions before this one, of the whole workflow.
    Returns: `no` where anything lies outside, also when something else is unknown.
    Cost: 1 to 2 µs for an estimate; for a scope 2 µs, and the canonical form of each destination and target.
    """
    match asked:
        case None:
            return Answer(Reply.UNKNOWN, True, "neither a scope nor a task says what is asked for")
        case Asked():
            return _estimated(asked, effects)
    outside = (
        _effects_beyond(asked, effects)
        or _tool_beyond(asked, tool)
        or _object_beyond(asked, arguments, types)
        or _count_beyond(asked, effects, tool, tallies)
    )
    if outside:
        return Answer(Reply.NO, False, outside)
    if effects is None:
        if asked.effects is not None:
            return Answer(Reply.UNKNOWN, False, _OPEN)
        for key in counted(asked, effects=None, tool=tool):
            if tallies.of(key) >= asked.counts[key]:
                return Answer(
                    Reply.UNKNOWN, False, f"it may be one `{key}` more than the scope covers; {_OPEN}"
                )
    return _COVERED


def _estimated(asked: Asked, effects: Collection[str] | None) -> Answer:
    if effects is None:
        return Answer(Reply.UNKNOWN, True, _OPEN)
    acts = [effect for effect in VERBS if effect in effects and effect != "read"]
    # Who asks for one effect of an action takes the others with it: an invitation to a meeting mails its guests.
    if acts and not any(effect in asked.effects for effect in acts):
        if asked.leaves_open:
            return Answer(
                Reply.UNKNOWN, True, f"the task leaves open what is asked for: `{asked.leaves_open}`"
            )
        told = ", ".join(effect for effect in VERBS if effect == "read" or effect in asked.effects)
        return Answer(Reply.NO, True, f"the task asks for: {told}; this action {_verbs(acts)}")
    words = ", ".join(
        f"{effect} (`{asked.effects[effect]}`)" for effect in effects if effect in asked.effects
    )
    return Answer(Reply.YES, True, f"the task asks for: {words}" if words else "reading is always asked for")


def _effects_beyond(scope: Scope, effects: Collection[str] | None) -> str:
    if scope.effects is None or effects is None or scope.effects.issuperset(effects):
        return ""
    beyond = [effect for effect in VERBS if effect in effects and effect not in scope.effects]
    told = ", ".join(effect for effect in VERBS if effect in scope.effects) or "nothing"
    return f"the scope covers: {told}; this action {_verbs(beyond)}"


def _tool_beyond(scope: Scope, tool: str) -> str:
    for patterns in scope.tools:
        if not any_tool_matches(patterns, tool):
            return f"the scope does not name `{tool}`"
    return ""


def _object_beyond(
    scope: Scope, arguments: Mapping[str, Json], types: Mapping[str, ArgumentType] | None
) -> str:
    if not scope.objects:
        return ""
    for name, value in arguments.items():
        declared = _UNTYPED if types is None else types.get(name, _UNTYPED)
        if declared.role is not None and declared.role not in CHECKED_ROLES:
            continue
        for leaf in leaves(value) if isinstance(value, list | dict) else (value,):
            for patterns in scope.objects:
                if not any_object_matches(patterns, leaf, declared.type):
                    return f"the scope does not name the {declared.role or 'destination'} in `{name}`"
    return ""


def _count_beyond(scope: Scope, effects: Collection[str] | None, tool: str, tallies: Tallies) -> str:
    if not scope.counts:
        return ""
    for key in counted(scope, effects=effects, tool=tool):
        most, so_far = scope.counts[key], tallies.of(key)
        if so_far >= most and (effects is not None or not is_effect(key)):
            return f"the scope covers {most} of `{key}`; {so_far} were permitted already"
    return ""


def _verbs(effects: list[str]) -> str:
    return ", ".join(VERBS[effect] for effect in effects)
