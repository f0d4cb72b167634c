"""Stories as tests: each `kind: Test` document is told to the real engine, with the story's own clock."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.action import Json, Resource, Subject
from policies.asked.scope import scope_of
from policies.bundle import Bundle
from policies.catalog import TOOL
from policies.clause_words import explained
from policies.delegation import MAX_DEPTH, Grant, Refusal
from policies.duration import duration_us
from policies.effect import Effect
from policies.engine import Engine
from policies.engine_session import EngineSession
from policies.error import did_you_mean
from policies.located import Located
from policies.modification.operations import form_of
from policies.past.slices import Event
from policies.prepare import Prepared
from policies.story_documents import (
    StoryCaseDocument,
    StoryDocument,
    StoryOutcomeDocument,
    StorySessionDocument,
    StoryStepDocument,
    StorySubjectDocument,
)
from policies.verdict import Verdict, escalating

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_NEVER_US = 1 << 62
# What was permitted and of which the story says no more.
_SUCCEEDED = StoryOutcomeDocument()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step; `failures` says in words what was expected and what was found, empty when it passed.

    Args:
        number: counts from 1 within its case.
        matched: every rule that matched, whether or not its effect decided.
    """

    number: int
    file: str
    line: int
    expected: str
    verdict: Verdict
    matched: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case of one test; it passed when all of its steps did."""

    test: str
    name: str
    steps: tuple[StepResult, ...]

    @property
    def passed(self) -> bool:
        return all(step.passed for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryReport:
    """What the stories showed.

    Args:
        coverage: "policy/rule" → how many steps it matched, for every rule of the bundle.
        atoms: "policy/name" → in how many steps it possibly held, for every `define`.
    """

    cases: tuple[CaseResult, ...]
    coverage: Mapping[str, int]
    atoms: Mapping[str, int]

    @property
    def passed(self) -> bool:
        return all(case.passed for case in self.cases)

    @property
    def failures(self) -> tuple[str, ...]:
        """One line per failed expectation, each with its file and line."""
        return tuple(
            f"{step.file}:{step.line}: {case.test}: {case.name}, step {step.number}: {failure}"
            for case in self.cases
            for step in case.steps
            for failure in step.failures
        )

    @property
    def never_matched(self) -> tuple[str, ...]:
        """The rules that no step reached."""
        return tuple(rule for rule, count in self.coverage.items() if count == 0)

    @property
    def never_held(self) -> tuple[str, ...]:
        """The defines that no step made true."""
        return tuple(atom for atom, count in self.atoms.items() if count == 0)


def run_stories(bundle: Bundle, tests: Sequence[Located[StoryDocument]]) -> StoryReport:
    """Tell every case to the engine; each begins with an empty past.

    Args:
        tests: `DocumentSet.tests`.
    Cost: one `Preparer`, then tens of microseconds a step.
    """
    engine = Engine(bundle)
    coverage = {rule.name: 0 for rule in bundle.rules}
    asked = {name: number for name, number in bundle.defines.items() if not bundle.idle >> number & 1}
    atoms = {f"{policy}/{name}": 0 for policy, name in sorted(asked)}
    cases = []
    for test in tests:
        for index, case in enumerate(test.document.cases):
            teller = _Teller(engine, test, index, case)
            cases.append(teller.tell())
            for name, number in asked.items():
                atoms["/".join(name)] += sum(1 for event in teller.events if event.possibly >> number & 1)
    for told in cases:
        for step in told.steps:
            for rule in step.matched:
                coverage[rule] += 1
    return StoryReport(cases=tuple(cases), coverage=coverage, atoms=atoms)


class _Teller:
    """Tells one case."""

    def __init__(
        self, engine: Engine, test: Located[StoryDocument], index: int, case: StoryCaseDocument
    ) -> None:
        engine.forget()
        self._engine = engine
        self._test = test
        self._index = index
        self._case = case
        self._start_us = (datetime.datetime.fromisoformat(test.document.start) - _EPOCH) // _MICROSECOND
        self._sessions: dict[str, EngineSession | Refusal] = {}
        self._told: dict[int, str] = {}
        self.events: list[Event] = []

    def tell(self) -> CaseResult:
        steps: list[StepResult] = []
        at_us = 0
        for number, step in enumerate(self._case.steps, 1):
            at_us = at_us if step.at is None else duration_us(step.at)
            steps.append(self._step(number, step, self._start_us + at_us))
        return CaseResult(test=self._test.document.name, name=self._case.name, steps=tuple(steps))

    def _step(self, number: int, step: StoryStepDocument, now_us: int) -> StepResult:
        session = self._session(step.session, now_us)
        where = self._test.error(("cases", self._index, "steps", number - 1), "", "")
        matched: tuple[str, ...] = ()
        why = ""
        arguments: Mapping[str, Json] = step.args
        approved: Verdict | None = None
        if isinstance(session, Refusal):
            verdict = Verdict(effect=Effect.DENY, reason_code=session.code, reasons=())
            prepared = Prepared(0, 0, session.code, session.message)
        else:
            resource = Resource(
                type=step.resource_type or TOOL,
                id=step.tool or step.resource or "",
                properties=step.properties,
            )
            decision = self._engine.decide(
                session,
                action=step.action,
                resource=resource,
                arguments=step.args,
                context=step.context,
                now_us=now_us,
                approve=step.approve,
            )
            approved = decision.approved
            self.events.append(decision.event)
            verdict, prepared, matched = decision.verdict, decision.prepared, decision.matched
            arguments = decision.rewriting.action.arguments
            self._told[decision.number] = f"`{resource.id}`, step {number}"
            if decision.clauses is not None:
                reported = [reason.rule for reason in verdict.reasons]
                why = explained(decision.clauses, reported, lambda source: self._told.get(source, ""))
            outcome = step.outcome or _SUCCEEDED
            if decision.permitted and outcome.status != "unreported":
                self._engine.report(
                    decision,
                    outcome.status,
                    witnessed=outcome.witness,
                    resource=resource,
                    result=step.result,
                    complete=outcome.complete,
                )
        return StepResult(
            number=number,
            file=where.file,
            line=where.line,
            expected=step.expect,
            verdict=verdict,
            matched=matched,
            failures=(
                *_failures(self._engine.bundle, step, verdict, _told(verdict, prepared, why), arguments),
                *_not_lifted(self._engine.bundle, approved),
            ),
        )

    def _session(self, name: str, now_us: int) -> EngineSession | Refusal:
        """The session, opened when it is first spoken of, after its ancestors."""
        known = self._sessions.get(name)
        if known is None:
            known = self._sessions[name] = self._open(name, now_us)
        return known

    def _open(self, name: str, now_us: int) -> EngineSession | Refusal:
        document = self._test.document
        session = document.sessions[name]
        subject = _subject_of(document, session)
        if session.parent is None:
            return self._engine.open_session(
                name,
                subject,
                tenant=document.tenant,
                task=session.task,
                scope=None if session.scope is None else scope_of(session.scope),
            )
        parent = self._session(session.parent, now_us)
        if isinstance(parent, Refusal):
            return parent
        left = min((grant.depth for grant in parent.grants), default=MAX_DEPTH)
        ends_us = _NEVER_US if session.expires is None else self._start_us + duration_us(session.expires)
        asked = Grant(
            tools=None if session.tools is None else tuple(session.tools),
            expires_us=ends_us,
            depth=max(0, left - 1) if session.depth is None else session.depth,
        )
        grant = self._engine.delegate(parent, asked, now_us=now_us)
        if isinstance(grant, Refusal):
            return grant
        return self._engine.open_session(name, subject, tenant=document.tenant, parent=parent, grant=grant)


def _subject_of(story: StoryDocument, session: StorySessionDocument) -> Subject:
    if session.agent is not None:
        return _subject("agent", session.agent, story.agents.get(session.agent))
    assert session.subject is not None
    subject_type, _, subject_id = session.subject.partition(":")
    return _subject(subject_type, subject_id, story.subjects.get(session.subject))


def _subject(subject_type: str, subject_id: str, facts: StorySubjectDocument | None) -> Subject:
    if facts is None:
        return Subject(type=subject_type, id=subject_id)
    return Subject(
        type=subject_type,
        id=subject_id,
        labels=tuple(facts.labels),
        roles=tuple(facts.roles),
        groups=tuple(facts.groups),
        owner=facts.owner,
        attributes=facts.attributes,
    )


def _failures(
    bundle: Bundle, step: StoryStepDocument, verdict: Verdict, told: str, arguments: Mapping[str, Json]
) -> list[str]:
    failures: list[str] = []
    if verdict.effect != step.expect:
        failures.append(f"expected {step.expect}, found {told}")
    elif step.reason_code is not None and verdict.reason_code != step.reason_code:
        failures.append(f"expected reason code `{step.reason_code}`, found {told}")
    elif step.args_after is not None and form_of(step.args_after) != form_of(dict(arguments)):
        found = json.dumps(arguments, ensure_ascii=False)
        failures.append(
            f"expected `args_after` {json.dumps(step.args_after, ensure_ascii=False)}, found {found}"
        )
    reported = [reason.rule for reason in verdict.reasons]
    known = [rule.name for rule in bundle.rules]
    for rule in step.rules:
        if rule in reported:
            continue
        if rule not in known:
            hint = did_you_mean(rule, known)
            failures.append(f"unknown rule `{rule}`" + (f"; {hint}" if hint else ""))
        else:
            failures.append(f"expected rule `{rule}` among those reported, found {told}")
    return failures


def _not_lifted(bundle: Bundle, approved: Verdict | None) -> list[str]:
    """Why an action that was approved is not permitted."""
    if approved is None or approved.effect in (Effect.ALLOW, Effect.MODIFY):
        return []
    if approved.effect is Effect.ESCALATE:
        names = ", ".join(f"`{bundle.rules[number].name}`" for number in sorted(escalating(bundle, approved)))
        return [f"approved, and still escalated: {names} names nobody in `approve` who may lift it"]
    return [f"approved, and then {approved.effect} ({approved.reason_code})"]


def _told(verdict: Verdict, prepared: Prepared, why: str) -> str:
    rules = ", ".join(f"`{reason.rule}`" for reason in verdict.reasons)
    uncertain = ", ".join(f"`{rule}`" for rule in verdict.uncertain)
    doubt = f"; unknown or failed: {uncertain}" if uncertain else ""
    because = f": {why}" if why else ""
    return f"{verdict.effect} ({rules or prepared.detail or verdict.reason_code}{doubt}){because}"
