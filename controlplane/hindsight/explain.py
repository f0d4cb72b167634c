"""Why a recorded decision came out as it did, from the evidence table and the bundle that decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from controlplane.errors import NotFoundError
from controlplane.hindsight.evidence_rows import Record
from controlplane.hindsight.period import PeriodReader
from policies.bundle import Bundle, Rule
from policies.explanation import (
    ClauseStanding,
    Remembrance,
    Standing,
    clauses_of,
    remembered,
    worth_explaining,
)
from policies.loader import DocumentSet
from policies.past.explain import Explained, Happened, Step, explain, steps
from policies.past.formula import Formula, text
from policies.past.monitor import FAILED, SUCCEEDED, UNREPORTED
from policies.past.parse import parse
from policies.past.program import PastMonitor, Scope
from policies.past.retention import HISTORY_US
from policies.replay.knowledge import Bounds, Knowledge
from policies.replay.recorded import RecordedAction, RecordedOutcome

MOST_ACTIONS: Final = 2_000
"""Of one past that are looked at: the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAction:
    """An action that a formula saw; `before_us`: how long before the decision. The last one is the decision's own."""

    id: str
    what: str
    agent: str
    before_us: int
    atoms: tuple[str, ...]
    unsure: tuple[str, ...]
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastExplained:
    """A rule's `past` at the decision.

    Args:
        recorded: what it was when it was decided; None = it was not asked.
        tree: what follows from the table, subformula by subformula; positions are those of `actions`.
        notes: where the table tells less than was known then.
    """

    formula: str
    scope: str
    recorded: bool | None
    tree: Explained
    actions: tuple[PastAction, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleExplained:
    """Args: limit: `level` (None = unknown) and `above`, as recorded."""

    rule: str
    effect: str
    reported: bool
    monitored: bool
    because: str
    controls: tuple[str, ...]
    clauses: tuple[ClauseStanding, ...]
    past: PastExplained | None
    limit: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionExplained:
    """Args: details: what the row says beside its columns; rules: empty without the bundle that decided."""

    action: RecordedAction
    details: Mapping[str, Any]
    because: Mapping[str, str]
    rules: tuple[RuleExplained, ...]


class Explainer:
    """Explains decisions of one table."""

    def __init__(self, reader: PeriodReader) -> None:
        self._reader = reader

    def decision(self, decision_id: str) -> tuple[RecordedAction, dict[str, Any]]:
        """A decision as it was recorded, and its row. Raises: NotFoundError: the table does not have it."""
        row = self._reader.decision(decision_id)
        if row is None:
            raise NotFoundError(
                f"no decision `{decision_id}` in the evidence table; give the whole id (`event_id` there), "
                "which lands within seconds of the answer",
                code="unknown_decision",
            )
        record = Record()
        for registration in self._reader.registrations(row["time_us"] + 1):
            record.read(registration)
        action = record.read(row)
        assert isinstance(action, RecordedAction)
        return action, row

    def explain(
        self,
        action: RecordedAction,
        row: Mapping[str, Any],
        documents: DocumentSet | None,
        bundle: Bundle | None,
    ) -> DecisionExplained:
        """Why a decision came out so.

        Args:
            documents, bundle: those that decided; without them only what the row says itself is told.
        Cost: a query for each scope that is asked about, and the naive evaluation of each formula.
        """
        details: dict[str, Any] = orjson.loads(row["details"]) if row["details"] else {}
        because = dict(zip(row["rule_ids"] or (), row["reasons"] or (), strict=False))
        rules: list[RuleExplained] = []
        if bundle is not None and documents is not None:
            formulas = {
                f"{policy.document.name}/{rule.id}": parse(rule.past)
                for policy in documents.policies
                for rule in policy.document.rules
                if rule.past is not None
            }
            knowledge = Knowledge(bundle)
            bounds = knowledge.bounds(action)
            watched = frozenset(str(one.get("rule")) for one in details.get("would") or ())
            pasts = _Pasts(self._reader, bundle, knowledge, action)
            for rule in worth_explaining(bundle, action, watched):
                rules.append(_rule(bundle, rule, action, bounds, details, formulas.get(rule.name), pasts))
        return DecisionExplained(action=action, details=details, because=because, rules=tuple(rules))


def _recorded(rule: Rule, details: Mapping[str, Any]) -> Iterator[ClauseStanding]:
    """The clauses that go by what the table does not keep, values and the task: as they stood when it was decided."""
    if rule.origin is not None:
        one = (details.get("origin") or {}).get(rule.name)
        found = None if one is None else (f"{one.get('fact')}, at {one.get('argument')}",)
        wanted = tuple(sorted(rule.origin.facts))
        # A rule that was not reported may not have been asked for it.
        standing = Standing.HIDDEN if one is None else Standing.HOLDS
        yield ClauseStanding(key="origin", wanted=wanted, found=found, standing=standing)
    if rule.asked is not None:
        answer = (details.get("asked") or {}).get("answer")
        standing = (
            Standing.HIDDEN if answer is None else Standing.HOLDS if answer in rule.asked else Standing.FAILS
        )
        found = None if answer is None else (str(answer),)
        yield ClauseStanding(key="asked", wanted=tuple(sorted(rule.asked)), found=found, standing=standing)


def _rule(
    bundle: Bundle,
    rule: Rule,
    action: RecordedAction,
    bounds: Bounds,
    details: Mapping[str, Any],
    formula: Formula | None,
    pasts: _Pasts,
) -> RuleExplained:
    asked = rule.name in action.truths or rule.name in action.rules
    return RuleExplained(
        rule=rule.name,
        effect=str(rule.effect),
        reported=rule.name in action.rules,
        monitored=rule.monitored,
        because=rule.because,
        controls=rule.controls,
        clauses=(*clauses_of(bundle, rule, action, bounds), *_recorded(rule, details)),
        past=pasts.explain(rule, formula) if formula is not None and asked else None,
        limit=(details.get("limits") or {}).get(rule.name),
    )


class _Pasts:
    """What preceded one decision, by scope."""

    def __init__(
        self, reader: PeriodReader, bundle: Bundle, knowledge: Knowledge, action: RecordedAction
    ) -> None:
        self._reader = reader
        self._bundle = bundle
        self._knowledge = knowledge
        self._action = action
        self._read: dict[Scope, tuple[list[RecordedAction], dict[str, RecordedOutcome]]] = {}

    def explain(self, rule: Rule, formula: Formula) -> PastExplained:
        assert rule.past is not None
        monitor = self._bundle.program.monitors[rule.past]
        actions, outcomes = self._of(monitor.scope)
        seen = [self._remembered(rule, formula, one, outcomes, monitor) for one in actions]
        if monitor.monitor.skippable:
            # The others change nothing.
            kept = [number for number, one in enumerate(seen) if one.happened.possibly]
        else:
            kept = list(range(len(seen)))
        left_out = max(0, len(kept) - MOST_ACTIONS)
        kept = kept[left_out:]
        own = remembered(self._bundle, self._knowledge, rule.policy, formula, self._action, FAILED)
        told = [*(seen[number] for number in kept), own]
        trace = [one.happened for one in told]
        tree = explain(formula, trace, restricting=monitor.restricting)
        recorded = self._action.truths.get(rule.name)
        shown = [
            self._shown(action, one)
            for action, one in zip([*(actions[number] for number in kept), self._action], told, strict=True)
        ]
        return PastExplained(
            formula=text(formula),
            scope=str(monitor.scope),
            recorded=recorded,
            tree=tree,
            actions=tuple(shown),
            steps=steps(formula, trace, restricting=monitor.restricting),
            notes=tuple(_notes(monitor, tree, recorded, told, left_out, self._action, actions)),
        )

    def _of(self, scope: Scope) -> tuple[list[RecordedAction], dict[str, RecordedOutcome]]:
        """(what was permitted before, in order; outcomes that were known by then)."""
        if scope not in self._read:
            action = self._action
            record = Record()
            found: list[RecordedAction] = []
            outcomes: dict[str, RecordedOutcome] = {}
            column = {Scope.SESSION: "session_id", Scope.WORKFLOW: "workflow_id", Scope.AGENT: "agent_id"}[
                scope
            ]
            value = {
                Scope.SESSION: action.session,
                Scope.WORKFLOW: action.workflow,
                Scope.AGENT: action.subject.id,
            }[scope]
            for row in self._reader.of(
                column,
                value,
                tenant=action.tenant,
                from_us=action.time_us - HISTORY_US,
                until_us=action.time_us + 1,
            ):
                event = record.read(row)
                if isinstance(event, RecordedOutcome):
                    outcomes[event.decision] = event
                elif event is not None and event.id == action.id:
                    break
                elif event is not None and event.permitted and _same_subject(scope, event, action):
                    found.append(event)
            self._read[scope] = found, outcomes
        return self._read[scope]

    def _remembered(
        self,
        rule: Rule,
        formula: Formula,
        action: RecordedAction,
        outcomes: Mapping[str, RecordedOutcome],
        monitor: PastMonitor,
    ) -> Remembrance:
        outcome = outcomes.get(action.id)
        came = UNREPORTED
        if outcome is not None:
            counts = outcome.status == "succeeded" and (outcome.witnessed or not monitor.witnessed)
            came = SUCCEEDED if counts else FAILED if outcome.status != "succeeded" else UNREPORTED
        return remembered(self._bundle, self._knowledge, rule.policy, formula, action, came)

    def _shown(self, action: RecordedAction, one: Remembrance) -> PastAction:
        words = {FAILED: "not succeeded", SUCCEEDED: "succeeded", UNREPORTED: "not reported"}
        happened: Happened = one.happened
        own = action.id == self._action.id
        return PastAction(
            id=action.id,
            what=f"{action.action} {action.resource_id}" if action.action != "call" else action.resource_id,
            agent=action.subject.id,
            before_us=self._action.time_us - action.time_us,
            atoms=tuple(sorted(happened.possibly)),
            unsure=tuple(sorted(one.unsure)),
            outcome="being decided" if own else words[happened.outcome],
        )


def _same_subject(scope: Scope, one: RecordedAction, other: RecordedAction) -> bool:
    return scope is not Scope.AGENT or one.subject.type == other.subject.type


def _notes(
    monitor: PastMonitor,
    tree: Explained,
    recorded: bool | None,
    told: Sequence[Remembrance],
    left_out: int,
    action: RecordedAction,
    actions: Sequence[RecordedAction],
) -> list[str]:
    notes = []
    if monitor.sliced is not None:
        notes.append(
            "values of `by` are masked: this is over all values together, not over the one that was asked"
        )
    if any(one.unsure for one in told):
        notes.append(
            "atoms marked with ? may not hold: they read what the record hides, under another bundle"
        )
    if any(one.bundle != action.bundle for one in actions):
        notes.append("some of these actions were decided with another bundle")
    if left_out:
        notes.append(f"{left_out} earlier actions are left out")
    if recorded is not None and recorded is not tree.truth:
        notes.append(
            f"when it was decided it was {str(recorded).lower()}: more was known then than this table tells"
        )
    return notes
