"""Why a rule matched a recorded action or did not: which of its clauses hold, as far as the record decides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from policies.bundle import Atom, Bundle, Rule
from policies.catalog import TOOL, ResourceFacts
from policies.effect import Effect
from policies.glob_sets import glob_set
from policies.past.explain import Happened
from policies.past.formula import Formula, names
from policies.past.monitor import UNREPORTED
from policies.past.slices import Event
from policies.replay.knowledge import Bounds, Knowledge
from policies.replay.recorded import RecordedAction

_UNKNOWN = ResourceFacts()
_AGENT = "agent"


class Standing(StrEnum):
    """Whether a clause holds of an action."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"  # to whoever decided: the catalog leaves a fact open, or the condition failed
    HIDDEN = "hidden"  # it was known when it was decided, and the record does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseStanding:
    """One clause of a rule that is not about the past; `found` is what the action has there."""

    key: str
    wanted: tuple[str, ...]
    found: tuple[str, ...] | None
    standing: Standing


def clauses_of(
    bundle: Bundle, rule: Rule, action: RecordedAction, bounds: Bounds
) -> tuple[ClauseStanding, ...]:
    """Every key of a rule's `on`, and its `when`. A rule that was reported or asked for its past had both."""
    atom = bundle.atoms[rule.atom]
    facts = bundle.catalog.facts(action.resource_type, action.resource_id) or _UNKNOWN
    found = list(_keys(atom, action, facts))
    if atom.when is not None:
        asked = rule.name in action.rules or rule.name in action.truths or rule.name in action.levels
        standing = _condition(1 << rule.atom, bounds)
        if any(one.standing is Standing.FAILS for one in found):
            standing = Standing.HIDDEN  # nobody asked it
        elif standing is Standing.HIDDEN and asked:
            standing = Standing.HOLDS
        found.append(ClauseStanding(key="when", wanted=(atom.when,), found=None, standing=standing))
    return tuple(found)


def _condition(bit: int, bounds: Bounds) -> Standing:
    if bounds.open & bit:
        return Standing.HIDDEN
    if bounds.strict.certainly & bit:
        return Standing.HOLDS
    return Standing.UNKNOWN if bounds.strict.possibly & bit else Standing.FAILS


def _keys(atom: Atom, action: RecordedAction, facts: ResourceFacts) -> Iterator[ClauseStanding]:
    subject = action.subject
    labels = None if "subject.labels" in action.unknown else subject.labels
    values: dict[str, tuple[str, ...] | str | None] = {
        "tenant": action.tenant,
        "agent": (subject.id,) if subject.type == _AGENT else (),
        "subject_type": subject.type,
        "agent_label": labels,
        "action": action.action,
        "tool": action.resource_id if action.resource_type == TOOL else (),
        "resource": action.resource_id,
        "resource_type": action.resource_type,
        "system": facts.system,
        "effect": facts.effects,
        "data": facts.data,
        "boundary": facts.boundary,
        "jurisdiction": facts.jurisdiction,
        "trust": facts.trust,
    }
    for key, patterns in atom.on:
        value = values[key]
        if value is None:
            standing = Standing.HIDDEN if key == "agent_label" else Standing.UNKNOWN
            yield ClauseStanding(key=key, wanted=patterns, found=None, standing=standing)
            continue
        named = (value,) if isinstance(value, str) else value
        fits = any(glob_set(patterns).matches(name) for name in named)
        standing = Standing.HOLDS if fits else Standing.FAILS
        yield ClauseStanding(key=key, wanted=patterns, found=named, standing=standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembrance:
    """One action as a formula sees it; `unsure`: atoms that may not hold, because the record hides what they read."""

    happened: Happened
    unsure: frozenset[str]


def remembered(
    bundle: Bundle,
    knowledge: Knowledge,
    policy: str,
    formula: Formula,
    action: RecordedAction,
    outcome: int = UNREPORTED,
) -> Remembrance:
    """What an action is to the atoms of a formula.

    What its own decision found of them is used where it was made with this bundle; that tells which possibly held.
    """
    bounds = knowledge.bounds(action)
    by_record = action.bundle == bundle.digest
    possibly: set[str] = set()
    certainly: set[str] = set()
    unsure: set[str] = set()
    for name in names(formula):
        number = bundle.defines[policy, name]
        hidden = bool(bounds.open >> number & 1)
        holds = f"{policy}/{name}" in action.atoms if by_record else _has(bounds.strict, number)
        if not holds:
            continue
        possibly.add(name)
        if hidden and not by_record:
            unsure.add(name)
        if hidden or bounds.strict.certainly >> number & 1:
            certainly.add(name)  # what was possibly so and is hidden is taken as so
    return Remembrance(
        happened=Happened(
            id=action.id,
            time_us=action.time_us,
            possibly=frozenset(possibly),
            certainly=frozenset(certainly - unsure),
            outcome=outcome,
        ),
        unsure=frozenset(unsure),
    )


def _has(event: Event, number: int) -> bool:
    return bool(event.possibly >> number & 1)


def worth_explaining(bundle: Bundle, action: RecordedAction, watched: frozenset[str]) -> list[Rule]:
    """The rules that were reported, those whose past was asked, and, where nothing allowed it, those that allow.

    Args:
        watched: names of monitored rules that matched.
    """
    asked = set(action.rules) | action.truths.keys() | action.levels.keys() | watched
    unallowed = action.reason_code == "default_deny"
    return [
        rule for rule in bundle.rules if rule.name in asked or (unallowed and rule.effect is Effect.ALLOW)
    ]
