"""The engine, told stories as `controlplane policy test` tells them, against a naive reading of the design.

Seeds instead of Hypothesis: a whole bundle costs ten milliseconds to compile, and thousands of them tell more than
shrinking one would. For tens of thousands: `python tests/property/test_engine_against_oracle.py FIRST LAST`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TypeAlias

import pytest
from property.naive_engine import Answer, Oracle
from property.naive_formulas import parse, refused
from property.random_bundles import Document, Draws

from policies.bundle import Bundle
from policies.compile import compile_bundle
from policies.error import PolicyError, PolicyErrors, Source
from policies.loader import load_documents
from policies.stories import StepResult, run_stories

BUNDLES = 1_200
CASES_EACH = 3
BATCH = 100

# What a rule may be refused for beside the formula: it speaks of an argument that none of its tools takes.
OTHER_REFUSALS = frozenset(("unknown_argument",))

Name: TypeAlias = tuple[str, str]


@pytest.mark.parametrize("first", range(0, BUNDLES, BATCH))
def test_every_step_is_answered_as_the_definitions_say(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + BATCH):
        assert disagreements(seed, seen) == []
    assert seen["cases"] > 2 * BATCH
    assert {"allow", "escalate", "deny", "refused", "accepted"} <= seen.keys()


def disagreements(seed: int, seen: Counter[str]) -> list[str]:
    """Where the engine and the oracle differ on one random bundle: what they refuse, and what they answer."""
    draws = Draws(seed)
    documents = draws.documents()
    story = draws.story(CASES_EACH)
    bundle, found = _compiled(documents, seen)
    if bundle is None:
        return [f"seed {seed}: {one}" for one in found]
    oracle = Oracle([*documents, story])
    answers = [oracle.answers(case["steps"]) for case in story["cases"]]
    for case, answered in zip(story["cases"], answers, strict=True):
        for step, answer in zip(case["steps"], answered, strict=True):
            step["expect"], step["rules"] = answer.effect, sorted(answer.rules)
    loaded = load_documents([Source(name=f"seed-{seed}.yaml", text=_text([story])[0])])
    report = run_stories(bundle, loaded.tests)
    found += report.failures
    for answered, told in zip(answers, report.cases, strict=True):
        seen["cases"] += 1
        for answer, step in zip(answered, told.steps, strict=True):
            seen[answer.effect] += 1
            found += [f"step {step.number} of {told.name}: {one}" for one in _differences(answer, step)]
    return [f"seed {seed}: {one}" for one in found]


def _compiled(documents: list[Document], seen: Counter[str]) -> tuple[Bundle | None, list[str]]:
    """The bundle without the rules that are refused, and those that only one of the two refuses.

    Refused rules are taken out of the documents. None: a define speaks of an argument that none of its tools takes.
    """
    text, lines = _text(documents)
    errors: dict[Name, list[PolicyError]] = {}
    compiled = None
    try:
        compiled = compile_bundle(load_documents([Source(name="bundle.yaml", text=text)]))
    except PolicyErrors as refusal:
        for one in refusal.errors:
            errors.setdefault(lines.get(one.line, ("", "")), []).append(one)
    found = [str(one) for one in errors.pop(("", ""), ()) if one.code not in OTHER_REFUSALS]
    taken = False
    for policy in documents:
        if policy["kind"] != "Policy":
            continue
        kept = []
        for rule in policy["rules"]:
            told = errors.get((policy["name"], rule["id"]), [])
            reason = _reason(rule)
            if reason is not None and not told:
                found.append(f"not refused ({reason}): {rule}")
            if reason is None:
                found += [f"refused: {one}: {rule}" for one in told if one.code not in OTHER_REFUSALS]
            seen["refused" if reason is not None else "accepted"] += "past" in rule
            if reason is None and not told:
                kept.append(rule)
            taken |= reason is not None or bool(told)
        policy["rules"] = kept
    if not taken:
        return compiled, found
    try:
        return compile_bundle(load_documents([Source(name="rest.yaml", text=_text(documents)[0])])), found
    except PolicyErrors as refusal:
        return None, found + [str(one) for one in refusal.errors if one.code not in OTHER_REFUSALS]


def _reason(rule: Document) -> str | None:
    if "past" not in rule:
        return None
    return refused(
        parse(rule["past"]),
        allows=rule["then"] == "allow",
        permitted_is_done=rule.get("permitted_is_done", False),
    )


def _differences(answer: Answer, step: StepResult) -> list[str]:
    """What a story's own `expect` and `rules` do not say."""
    reported = {one.rule for one in step.verdict.reasons}
    found = []
    if reported != answer.rules:
        found.append(f"reported: {sorted(reported)}, not {sorted(answer.rules)}")
    if {one.rule for one in step.verdict.would} != answer.monitored:
        found.append(f"would have: {step.verdict.would}, not {sorted(answer.monitored)}")
    return found


def _text(documents: list[Document]) -> tuple[str, dict[int, Name]]:
    """Documents as YAML, a line for each rule; and which rule stands in which line."""
    written: list[str] = []
    lines: dict[int, Name] = {}
    for document in documents:
        if document["kind"] == "Policy":
            written += ["kind: Policy", f"name: {document['name']}"]
            written += [
                f"define: {json.dumps(document['define'])}",
                "rules:" if document["rules"] else "rules: []",
            ]
            for rule in document["rules"]:
                written.append(f"  - {json.dumps(rule)}")
                lines[len(written)] = (document["name"], rule["id"])
        else:
            written.append(json.dumps(document))
        written.append("---")
    return "\n".join(written[:-1]) + "\n", lines


if __name__ == "__main__":
    total: Counter[str] = Counter()
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        for line in disagreements(number, total):
            print(line, flush=True)
    print(dict(total))
