"""Stories as tests: each `kind: Test` document is told to the real engine, with the story's own clock."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.action import Action, Resource, Subject
from policies.bundle import Bundle
from policies.catalog import TOOL
from policies.duration import duration_us
from policies.error import did_you_mean
from policies.located import Located
from policies.prepare import Prepared, Preparer
from policies.story_documents import StoryCaseDocument, StoryDocument, StoryStepDocument, StorySubjectDocument
from policies.verdict import Verdict, decide, matched_rules

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


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
    """

    cases: tuple[CaseResult, ...]
    coverage: Mapping[str, int]

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


def run_stories(bundle: Bundle, tests: Sequence[Located[StoryDocument]]) -> StoryReport:
    """Tell every case to the engine; each begins with an empty past.

    Args:
        tests: `DocumentSet.tests`.
    Cost: one `Preparer`, then tens of microseconds a step.
    """
    preparer = Preparer(bundle)
    coverage = {rule.name: 0 for rule in bundle.rules}
    cases = [
        _run_case(bundle, preparer, test, index, case)
        for test in tests
        for index, case in enumerate(test.document.cases)
    ]
    for case in cases:
        for step in case.steps:
            for rule in step.matched:
                coverage[rule] += 1
    return StoryReport(cases=tuple(cases), coverage=coverage)


def _run_case(
    bundle: Bundle, preparer: Preparer, test: Located[StoryDocument], index: int, case: StoryCaseDocument
) -> CaseResult:
    start = datetime.datetime.fromisoformat(test.document.start)
    now_us = (start - _EPOCH) // _MICROSECOND
    at_us = 0
    steps: list[StepResult] = []
    for number, step in enumerate(case.steps, 1):
        at_us = at_us if step.at is None else duration_us(step.at)
        prepared = preparer.prepare(_action(test.document, step, now_us + at_us))
        verdict = decide(
            bundle, possibly=prepared.possibly, certainly=prepared.certainly, refusal=prepared.refusal
        )
        # A refused action never came to the rules: none of them was tested by it.
        matched = (
            matched_rules(bundle, possibly=prepared.possibly, certainly=prepared.certainly)
            if prepared.refusal is None
            else ()
        )
        where = test.error(("cases", index, "steps", number - 1), "", "")
        steps.append(
            StepResult(
                number=number,
                file=where.file,
                line=where.line,
                expected=step.expect,
                verdict=verdict,
                matched=tuple(rule.name for rule in matched),
                failures=tuple(_failures(bundle, step, prepared, verdict)),
            )
        )
    return CaseResult(test=test.document.name, name=case.name, steps=tuple(steps))


def _action(story: StoryDocument, step: StoryStepDocument, now_us: int) -> Action:
    session = story.sessions[step.session]
    if session.agent is not None:
        subject = _subject("agent", session.agent, story.agents.get(session.agent))
    else:
        assert session.subject is not None
        subject_type, _, subject_id = session.subject.partition(":")
        subject = _subject(subject_type, subject_id, story.subjects.get(session.subject))
    return Action(
        tenant=story.tenant,
        subject=subject,
        name=step.action,
        resource=Resource(
            type=step.resource_type or TOOL, id=step.tool or step.resource or "", properties=step.properties
        ),
        arguments=step.args,
        context=step.context,
        now_us=now_us,
    )


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


def _failures(bundle: Bundle, step: StoryStepDocument, prepared: Prepared, verdict: Verdict) -> list[str]:
    failures: list[str] = []
    if verdict.effect != step.expect:
        failures.append(f"expected {step.expect}, found {_told(verdict, prepared)}")
    elif step.reason_code is not None and verdict.reason_code != step.reason_code:
        failures.append(f"expected reason code `{step.reason_code}`, found {_told(verdict, prepared)}")
    reported = [reason.rule for reason in verdict.reasons]
    known = [rule.name for rule in bundle.rules]
    for rule in step.rules:
        if rule in reported:
            continue
        if rule not in known:
            hint = did_you_mean(rule, known)
            failures.append(f"unknown rule `{rule}`" + (f"; {hint}" if hint else ""))
        else:
            failures.append(f"expected rule `{rule}` among those reported, found {_told(verdict, prepared)}")
    return failures


def _told(verdict: Verdict, prepared: Prepared) -> str:
    rules = ", ".join(f"`{reason.rule}`" for reason in verdict.reasons)
    uncertain = ", ".join(f"`{rule}`" for rule in verdict.uncertain)
    doubt = f"; unknown or failed: {uncertain}" if uncertain else ""
    return f"{verdict.effect} ({rules or prepared.detail or verdict.reason_code}{doubt})"
