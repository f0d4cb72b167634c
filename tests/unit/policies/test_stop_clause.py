"""`stop` on a rule that denies: how it is written, what it compiles to, and what it does in a story."""

from __future__ import annotations

import jsonschema
import pytest
from unit.policies.policy_texts import CATALOG, bundle_of, errors_of, policy

from policies.compile import compile_bundle
from policies.documents import json_schema
from policies.error import Source
from policies.lint.linter import lint
from policies.loader import load_documents
from policies.stops import StopClause
from policies.stories import run_stories
from policies.yaml_tree import read_yaml

HOUR_US = 3_600_000_000


def clause(written: str) -> StopClause | None:
    (rule,) = bundle_of(policy(f"{{id: a, then: deny, stop: {written}}}")).rules
    return rule.stop


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("{agent, for: 1h}", (True, False, HOUR_US)),
        ("{agent: true, for: 1h}", (True, False, HOUR_US)),
        ("{workflow}", (False, True, None)),
        ("{agent, workflow, for: 30m}", (True, True, HOUR_US // 2)),
        ("{agent: false, workflow: , for: 1d}", (False, True, 24 * HOUR_US)),
    ],
)
def test_a_bare_key_names_whom_a_rule_stops(written: str, found: tuple[bool, bool, int | None]) -> None:
    assert clause(written) == StopClause(*found)
    (node,) = read_yaml(Source(name="p", text=policy(f"{{id: a, then: deny, stop: {written}}}")))
    jsonschema.Draft202012Validator(json_schema()).validate(node.plain())


@pytest.mark.parametrize(
    ("rule", "code", "text"),
    [
        ("{id: a, then: allow, stop: {agent}}", "nothing_to_stop", "this rule says `then: allow`"),
        ("{id: a, then: escalate, stop: {agent}}", "nothing_to_stop", "this rule says `then: escalate`"),
        ("{id: a, then: deny, stop: {for: 1h}}", "invalid_stop", "`stop` needs `agent` or `workflow`"),
        ("{id: a, then: deny, stop: {agent: false}}", "invalid_stop", "`stop` needs `agent` or `workflow`"),
        ("{id: a, then: deny, stop: {agent, for: }}", "empty_value", "`for` has no value"),
        ("{id: a, then: deny, stop: }", "empty_value", "`stop` has no value"),
    ],
)
def test_what_a_stop_cannot_be_is_refused_where_it_stands(rule: str, code: str, text: str) -> None:
    (error,) = errors_of(policy(rule))
    assert error.code == code and text in error.message


@pytest.mark.parametrize(
    ("stop", "code", "told"),
    [
        ("{tool, for: 1h}", "unknown_key", "unknown key `tool`; known keys: agent, for, workflow"),
        ("{agent: bot-7}", "wrong_type", "write `agent` alone"),
        (
            "{agent, for: 1}",
            "wrong_type",
            "expected a duration, found the number `1`; write a whole number and",
        ),
    ],
)
def test_a_mistake_says_what_to_write(stop: str, code: str, told: str) -> None:
    (error,) = errors_of(policy(f"{{id: a, then: deny, stop: {stop}}}"))
    assert error.code == code and told in str(error)


@pytest.mark.parametrize("stop", ["{fleet}", "{agent: 1h}", "{agent, for: soon}", "{agent, until: 1h}"])
def test_other_forms_are_refused(stop: str) -> None:
    assert errors_of(policy(f"{{id: a, then: deny, stop: {stop}}}"))


def test_the_digest_tells_stops_apart_and_how_a_flag_is_written_makes_no_difference() -> None:
    texts = ["", ", stop: {agent}", ", stop: {agent: true}", ", stop: {agent, for: 1h}", ", stop: {workflow}"]
    digests = [bundle_of(policy(f"{{id: a, then: deny{text}}}")).digest for text in texts]
    assert digests[1] == digests[2] and len(set(digests)) == 4


def test_a_monitored_rule_stops_nobody() -> None:
    rules = "{id: a, then: deny, stop: {agent}}", "{id: b, then: deny, stop: {agent}, mode: monitor}"
    assert set(bundle_of(policy(*rules)).stops) == {"p/a"}


def test_a_parameter_that_makes_it_escalate_leaves_the_stop_out() -> None:
    head = "parameters: {how: {default: deny}}\n"
    rule = "{id: a, then: $how, stop: {agent}, approve: {by: role:x}}"
    bundle = "kind: Bundle\nname: b\nparameters: {p: {how: escalate}}\n"
    (kept,) = bundle_of(policy(rule.replace(", approve: {by: role:x}", ""), head=head)).rules
    assert kept.stop is not None
    (other,) = bundle_of(policy(rule.replace(", approve: {by: role:x}", ""), head=head), bundle).rules
    assert other.stop is None


def test_a_rule_that_stops_is_not_redundant() -> None:
    rules = ["{id: a, on: {tool: crm.*}, then: deny}", "{id: b, on: {tool: crm.read}, then: deny%s}"]

    def codes(more: str) -> set[str]:
        texts = CATALOG, policy(rules[0], rules[1] % more, "{id: c, on: {tool: mail.send}, then: allow}")
        documents = load_documents([Source(name=f"{n}.yaml", text=text) for n, text in enumerate(texts)])
        return {finding.code for finding in lint(documents).findings}

    assert "redundant_rule" in codes("") and "redundant_rule" not in codes(", stop: {agent}")


STORY = """\
kind: Test
name: probing
sessions: {s1: {agent: bot}, s2: {agent: bot}, s3: {agent: helper, parent: s1}, s4: {agent: helper}}
cases:
  - name: three denials within ten minutes stop the agent for an hour
    steps:
      - {session: s1, at: 0m, tool: mail.send, expect: deny, rules: [p/no-mail]}
      - {session: s1, at: 1m, tool: mail.send, expect: deny}
      - {session: s1, at: 2m, tool: crm.read, expect: allow}
      - {session: s2, at: 3m, tool: mail.send, expect: deny}
      - {session: s2, at: 4m, tool: crm.read, expect: deny, rules: [p/probing]}
      - {session: s1, at: 5m, tool: crm.read, expect: deny, reason_code: stopped}
      - {session: s3, at: 6m, tool: crm.read, expect: deny, reason_code: stopped}
      - {session: s4, at: 7m, tool: crm.read, expect: allow}
      - {session: s1, at: 63m, tool: crm.read, expect: deny, reason_code: stopped}
      - {session: s1, at: 64m, tool: crm.read, expect: allow}
  - name: the next case begins with nobody stopped
    steps:
      - {session: s1, tool: crm.read, expect: allow}
  - name: one action too bad stops the workflow for good, delegates and all
    steps:
      - {session: s3, at: 0m, tool: clock.read, expect: deny, rules: [p/no-clock]}
      - {session: s1, at: 1m, tool: crm.read, expect: deny, reason_code: stopped}
      - {session: s1, at: 30d, tool: crm.read, expect: deny, reason_code: stopped}
      - {session: s2, at: 30d, tool: crm.read, expect: allow}
"""


def test_a_story_shows_what_a_stop_does() -> None:
    rules = policy(
        "{id: all, then: allow}",
        "{id: no-mail, on: {tool: mail.send}, then: deny}",
        "{id: no-clock, on: {tool: clock.read}, then: deny, stop: {workflow}}",
        "{id: probing, limit: {count: denials, per: 10m, scope: agent, above: 2}, then: deny, stop: {agent, for: 1h}}",
    )
    texts = CATALOG, rules, STORY
    documents = load_documents([Source(name=f"{n}.yaml", text=text) for n, text in enumerate(texts)])
    report = run_stories(compile_bundle(documents), documents.tests)
    assert report.passed, report.failures
