"""`then: modify` from the document to the verdict: what compiles, what is decided, what a story says of it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from unit.policies.policy_texts import CATALOG, bundle_of, errors_of, policy

from policies.action import Resource, Subject
from policies.bundle import Bundle
from policies.compile import compile_bundle
from policies.diff import diff
from policies.documents import json_schema
from policies.effect import Effect
from policies.engine import Engine, EngineDecision
from policies.error import Source
from policies.lint.linter import lint
from policies.loader import load_documents
from policies.modification.apply import Change
from policies.stories import StoryReport, run_stories
from policies.yaml_tree import read_yaml

CARD = "4111 1111 1111 1111"
ALL = "{id: all, then: allow}"
MASK = "{id: mask, on: {tool: mail.send}, then: modify, modify: [{at: /body, redact: card-number}], because: no cards}"


def rule(modify: str, *, on: str = "{tool: payments.transfer}") -> str:
    return policy(f"{{id: a, on: {on}, then: modify, modify: [{modify}]}}")


MISTAKES = {
    "no modify": (
        policy("{id: a, then: modify}"),
        "missing_key",
        "missing key `modify` in rule `p/a`",
        "say what is changed: `modify: [{at: /body, redact: card-number}]`",
    ),
    "an empty one": (rule(""), "invalid", "an empty list: it needs at least one item", ""),
    "another effect": (
        policy("{id: a, then: deny, modify: [{at: /body, remove: true}]}"),
        "nothing_to_modify",
        "`modify` says how an action is rewritten; this rule says `then: deny` in rule `p/a`",
        "",
    ),
    "no operation": (
        rule("{at: /to}"),
        "invalid_modify",
        "one operation at a place, found none in rule `p/a`",
        "one of `set`, `clamp`, `remove`, `redact`, `mask`, `allow-list`; several stand one after the other",
    ),
    "two operations": (
        rule("{at: /to, set: x, mask: {}}"),
        "invalid_modify",
        "one operation at a place, found `set` and `mask` in rule `p/a`",
        "one of `set`, `clamp`, `remove`, `redact`, `mask`, `allow-list`; several stand one after the other",
    ),
    "another operation": (rule("{at: /to, replace: x}"), "unknown_key", "unknown key `replace`", ""),
    "remove: false": (
        rule("{at: /to, remove: false}"),
        "unknown_value",
        "unknown value `false`",
        "one of `true`",
    ),
    "no list": (
        rule("").replace("[]", "{at: /to, remove: true}"),
        "wrong_type",
        "expected a list, found a mapping",
        "write `[{…}]`, or begin each item with `-`",
    ),
    "a region in words": (
        rule("{at: /note, redact: phone, region: Germany}"),
        "invalid_name",
        "`Germany` does not fit",
        "two capital letters, such as `DE`",
    ),
    "an unknown kind": (
        rule("{at: /note, redact: credit-card}"),
        "unknown_value",
        "unknown value `credit-card`",
        "one of `card-number`, `iban`, `email`, `phone`, `secret`",
    ),
    "another language's path": (
        rule("{at: args.note, redact: email}"),
        "invalid_pointer",
        "`args.note` is not a JSON pointer to an argument",
        "did you mean `/note`?",
    ),
    "an index": (
        rule("{at: /lines/0/price, clamp: {max: 1}}"),
        "invalid_pointer",
        "`/lines/0/price` names a place in a list; lists are reached into without saying so in rule `p/a`",
        "write `/lines/price` for every item",
    ),
    "every item": (
        rule("{at: /lines/*, redact: email}"),
        "invalid_pointer",
        "`/lines/*` names a place in a list; lists are reached into without saying so in rule `p/a`",
        "write `/lines` for every item",
    ),
    "an argument that nobody lists": (
        rule("{at: /amuont, clamp: {max: 1}}"),
        "unknown_argument",
        "no resource that the rule can match lists the argument `amuont` in rule `p/a`",
        "did you mean `amount`?",
    ),
    "a clamp without bounds": (
        rule("{at: /amount, clamp: {}}"),
        "invalid_modify",
        "a clamp needs `min`, `max` or both in rule `p/a`",
        "",
    ),
    "a clamp of nothing": (
        rule("{at: /amount, clamp: {min: 2, max: 1}}"),
        "invalid_modify",
        "no number lies between `2` and `1` in rule `p/a`",
        "",
    ),
    "a bound that is no number": (
        rule("{at: /amount, clamp: {max: lots}}"),
        "invalid_number",
        "`lots` is not a number in rule `p/a`",
        "write digits alone, with a point before a fraction, such as `50000` or `250.50`",
    ),
    "a bound that is a list": (
        rule("{at: /amount, clamp: {max: [1]}}"),
        "wrong_type",
        "expected a number, found a list",
        "",
    ),
    "a clamp that is a number": (
        rule("{at: /amount, clamp: 100}"),
        "wrong_type",
        "expected a mapping, found the number `100`",
        "its keys are `min`, `max`",
    ),
    "a list that is a text": (
        rule("{at: /to, allow-list: DE89}"),
        "wrong_type",
        "expected a list, found the text `DE89`",
        "write `[DE89]`",
    ),
    "a clamp of a text": (
        rule("{at: /note, clamp: {max: 1}}"),
        "ill_typed",
        "`note` is catalogued as string, which has no bounds in rule `p/a`",
        "",
    ),
    "a value of another type": (
        rule("{at: /amount, set: lots}"),
        "ill_typed",
        "`amount` is catalogued as decimal: with this value every condition that reads it would fail in rule `p/a`",
        "",
    ),
    "a number that no door takes": (
        rule("{at: /amount, set: 1.2345678901234567}"),
        "invalid_value",
        "`1.2345678901234567` has more than 15 significant digits; write it in quotes in rule `p/a`",
        "",
    ),
    "a region for nothing": (
        rule("{at: /note, redact: email, region: DE}"),
        "invalid_modify",
        "`region` says whose phone numbers `redact: phone` finds, and nothing is redacted of that kind in rule `p/a`",
        "",
    ),
    "no region": (
        rule("{at: /note, redact: phone, region: XX}"),
        "unknown_region",
        "nothing is known of phone numbers in `XX` in rule `p/a`",
        "two capital letters, such as `DE`",
    ),
    "approve": (
        policy("{id: a, then: modify, modify: [{at: /a, remove: true}], approve: {by: role:x}}"),
        "nothing_to_approve",
        "`approve` says who lifts an escalation; this rule says `then: modify` in rule `p/a`",
        "",
    ),
    "too much": (
        rule("{at: /note, set: '" + "x" * 17_000 + "'}"),
        "too_large",
        "the operations take 17026 bytes as JSON; at most 16384 in rule `p/a`",
        "",
    ),
}


@pytest.mark.parametrize(("text", "code", "message", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place_and_a_hint(text: str, code: str, message: str, hint: str) -> None:
    (error,) = errors_of(text, CATALOG)
    assert (error.file, error.code, error.message) == ("0.yaml", code, message)
    assert hint == "" or error.hint == hint
    assert error.line == 4


def test_the_schema_takes_what_the_loader_takes() -> None:
    schema = json_schema()
    texts = [
        rule(
            "{at: /to, set: null}, {at: /amount, clamp: {min: 1, max: '2.5'}}, {at: /note, remove: true}, "
            "{at: /note, redact: [phone, email], region: DE}, {at: /to, mask: {keep_last: 4}}, "
            "{at: /to, allow-list: [a, 1, {b: c}]}"
        ),
        rule("{at: /note, redact: secret}"),
    ]
    for text in texts:
        (node,) = read_yaml(Source(name="p.yaml", text=text))
        jsonschema.validate(node.plain(), schema)
    bundle_of(texts[1], CATALOG)
    for wrong in (
        "{at: note, redact: secret}",
        "{at: /note, redact: secrets}",
        "{at: /note, mask: {keep: 1}}",
    ):
        (node,) = read_yaml(Source(name="p.yaml", text=rule(wrong)))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(node.plain(), schema)


def digest(modify: str) -> str:
    return bundle_of(rule(modify), CATALOG).digest


def test_the_digest_is_of_what_is_done() -> None:
    assert digest("{at: /note, redact: [email, phone]}") == digest("{at: /note, redact: [phone, email]}")
    assert digest("{at: /to, allow-list: [a, b]}") == digest("{at: /to, allow-list: [b, a, a]}")
    assert digest("{at: /note, redact: email}") != digest("{at: /note, redact: phone}")
    assert digest("{at: /lines/n, set: null}") != digest("{at: /lines/n, set: x}")
    assert digest("{at: /to, set: x}, {at: /to, set: y}") != digest("{at: /to, set: y}, {at: /to, set: x}")


def test_a_diff_says_what_is_done_otherwise() -> None:
    texts = [rule("{at: /note, redact: email}"), rule("{at: /note, redact: [phone, email]}")]
    old, new = (
        load_documents([Source(name="c", text=CATALOG), Source(name="p", text=text)]) for text in texts
    )
    (change,) = diff(old, new, compile_bundle(old), compile_bundle(new)).changes
    (clause,) = change.clauses
    assert (change.kind, change.name, clause.key) == ("rule", "p/a", "modify")
    assert clause.new == [{"at": "/note", "redact": ["email", "phone"]}]


def test_a_parameter_may_stand_for_a_value_of_an_operation_and_for_the_effect() -> None:
    text = policy(
        "{id: a, on: {tool: payments.transfer}, then: $then, modify: [{at: /amount, clamp: {max: $most}}]}",
        head="parameters: {then: {default: modify}, most: {default: 5}}\n",
    )
    (clamping,) = bundle_of(text, CATALOG).rules
    assert (clamping.effect, len(clamping.modify)) == (Effect.MODIFY, 1)
    setting = "kind: Bundle\nname: b\nparameters: {p: {then: deny}}\n"
    (denying,) = bundle_of(text, CATALOG, setting).rules
    assert (denying.effect, denying.modify) == (Effect.DENY, ())


# Deciding.


def decided(
    bundle: Bundle | Engine, tool: str = "mail.send", *, agent: str = "bot", **arguments: Any
) -> EngineDecision:
    engine = Engine(bundle) if isinstance(bundle, Bundle) else bundle
    session = engine.open_session("s", Subject(type="agent", id=agent))
    return engine.decide(
        session, resource=Resource(type="tool", id=tool), arguments=arguments, context={}, now_us=0
    )


def told(found: EngineDecision) -> tuple[str, str, list[str]]:
    verdict = found.verdict
    return str(verdict.effect), verdict.reason_code, [reason.rule for reason in verdict.reasons]


def test_what_is_allowed_is_modified_with_the_rules_that_modify_and_those_that_allow() -> None:
    found = decided(bundle_of(CATALOG, policy(ALL, MASK)), body=f"pay with {CARD}", to="a@b.example")
    assert told(found) == ("modify", "rule_modify", ["p/mask", "p/all"])
    assert found.permitted
    assert found.rewriting.action.arguments == {"body": "pay with [card number]", "to": "a@b.example"}
    assert found.rewriting.changes == (Change("/body", "redact card-number", 1),)
    assert found.matched == ("p/mask", "p/all")


def test_a_rule_that_would_change_nothing_is_satisfied() -> None:
    found = decided(bundle_of(CATALOG, policy(ALL, MASK)), body="hello", to="a@b.example")
    assert told(found) == ("allow", "rule_allow", ["p/all"])
    assert found.matched == ("p/all",)


def test_a_modification_grants_nothing() -> None:
    assert told(decided(bundle_of(CATALOG, policy(MASK)), body=CARD)) == ("deny", "default_deny", [])
    opened = "kind: Bundle\nname: b\ndefault: allow\n"
    assert told(decided(bundle_of(CATALOG, policy(MASK), opened), body=CARD)) == (
        "modify",
        "rule_modify",
        ["p/mask"],
    )


def test_the_rewritten_action_is_what_is_decided() -> None:
    no_digits = "{id: no-digits, on: {tool: mail.send}, when: 'args.body.matches(\"[0-9]\")', then: deny}"
    bundle = bundle_of(CATALOG, policy(ALL, MASK, no_digits))
    assert told(decided(bundle, body=CARD))[0] == "modify"
    assert told(decided(bundle, body=f"{CARD} 7")) == ("deny", "rule_deny", ["p/no-digits", "p/mask"])
    escalates = (
        "{id: ask, on: {tool: mail.send}, when: 'args.body.contains(\"[card number]\")', then: escalate}"
    )
    found = decided(bundle_of(CATALOG, policy(ALL, MASK, escalates)), body=CARD)
    assert told(found) == ("escalate", "rule_escalate", ["p/ask", "p/mask"])


def test_a_limit_counts_what_was_rewritten() -> None:
    engine = Engine(
        bundle_of(
            CATALOG,
            policy(
                ALL,
                "{id: cap, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, clamp: {max: 10}}]}",
                "{id: sum, on: {tool: payments.transfer}, limit: {sum: args.amount, above: 25}, then: deny}",
            ),
        )
    )
    answers = [told(decided(engine, "payments.transfer", amount=1_000))[0] for _ in range(3)]
    assert answers == ["modify", "modify", "deny"]


def test_rules_apply_in_the_order_of_policy_and_rule() -> None:
    bundle = bundle_of(
        CATALOG,
        policy(
            ALL,
            "{id: b, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, clamp: {min: 5}}]}",
            "{id: a, on: {tool: payments.transfer}, then: modify, modify: [{at: /note, remove: true}]}",
        ),
    )
    found = decided(bundle, "payments.transfer", amount=1, note="x")
    assert told(found)[2] == ["p/a", "p/b", "p/all"]
    assert [change.at for change in found.rewriting.changes] == ["/note", "/amount"]


def test_rules_that_would_rewrite_one_another_deny() -> None:
    bundle = bundle_of(
        CATALOG,
        policy(
            ALL,
            "{id: a, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, clamp: {max: 1}}]}",
            "{id: b, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, clamp: {min: 2}}]}",
        ),
    )
    assert told(decided(bundle, "payments.transfer", amount=1)) == ("deny", "rewrite_unstable", [])
    assert told(decided(bundle, "payments.transfer", amount=5)) == ("deny", "rewrite_unstable", [])


def test_an_operation_that_cannot_be_applied_denies_and_says_which() -> None:
    cap = "{id: cap, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, clamp: {max: 10}}]}"
    found = decided(bundle_of(CATALOG, policy(ALL, cap)), "payments.transfer", amount="lots")
    assert told(found) == ("deny", "rewrite_refused", [])
    assert found.prepared.detail == "`p/cap` cannot clamp `/amount`: it is not a number"
    assert "lots" not in found.prepared.detail


def test_the_catalog_refuses_first_and_again() -> None:
    needed = CATALOG.replace("amount: {type: decimal}", "amount: {type: decimal, required: true}")
    gone = "{id: gone, on: {tool: payments.transfer}, then: modify, modify: [{at: /amount, remove: true}]}"
    bundle = bundle_of(needed, policy(ALL, gone))
    assert told(decided(bundle, "payments.transfer", amount=1)) == ("deny", "missing_argument", [])
    unlisted = decided(bundle, "payments.transfer", amount=1, extra=1)
    assert told(unlisted) == ("deny", "unlisted_argument", [])
    assert unlisted.rewriting.rules == ()


def test_what_is_only_possibly_so_is_modified() -> None:
    unsure = (
        "{id: unsure, on: {tool: payments.transfer}, when: args.amount > 5.0, then: modify,"
        " modify: [{at: /note, remove: true}]}"
    )
    bundle = bundle_of(CATALOG, policy(ALL, unsure))
    assert told(decided(bundle, "payments.transfer", note="x"))[0] == "modify"
    assert told(decided(bundle, "payments.transfer", note="x", amount=1))[0] == "allow"


def test_a_monitored_modification_changes_nothing_and_says_what_it_would() -> None:
    watched = MASK.replace("then: modify", "mode: monitor, then: modify")
    bundle = bundle_of(CATALOG, policy(ALL, watched))
    found = decided(bundle, body=CARD)
    assert told(found) == ("allow", "rule_allow", ["p/all"])
    assert found.rewriting.action.arguments == {"body": CARD}
    assert [(one.rule, one.effect) for one in found.verdict.would] == [("p/mask", Effect.MODIFY)]
    assert decided(bundle, body="hello").verdict.would == ()


def test_a_clause_over_the_past_decides_whether_it_is_rewritten() -> None:
    after = (
        "{id: after, on: {tool: mail.send}, past: once reads, then: modify, modify: [{at: /body, set: ''}]}"
    )
    head = "define: {reads: {on: {tool: crm.read}}}\n"
    engine = Engine(bundle_of(CATALOG, policy(ALL, after, MASK, head=head)))
    assert told(decided(engine, body=f"x {CARD}")) == ("modify", "rule_modify", ["p/mask", "p/all"])
    decided(engine, "crm.read")
    found = decided(engine, body=f"x {CARD}")
    assert told(found) == ("modify", "rule_modify", ["p/after", "p/mask", "p/all"])
    assert found.rewriting.action.arguments == {"body": ""}
    assert told(decided(engine, body=""))[0] == "allow"


def test_what_was_modified_is_past_to_the_next_as_it_was_rewritten() -> None:
    leaks = "define: {leaks: {on: {tool: mail.send}, when: 'args.body.matches(\"[0-9]{4}\")'}}\n"
    after = "{id: after, on: {tool: clock.read}, past: once leaks, then: deny}"
    engine = Engine(bundle_of(CATALOG, policy(ALL, MASK, after, head=leaks)))
    decided(engine, body=CARD)
    assert told(decided(engine, "clock.read"))[0] == "allow"
    decided(engine, body="1234")
    assert told(decided(engine, "clock.read"))[0] == "deny"


# Stories, lint.

STORY = """\
kind: Test
name: masks
sessions: {s: {agent: bot}}
cases:
  - name: cards
    steps:
      - {session: s, tool: mail.send, args: {body: 4111 1111 1111 1111}, expect: modify, rules: [p/mask],
         args_after: {body: "[card number]"}}
      - {session: s, tool: mail.send, args: {body: hello}, expect: allow}
"""


def stories(*texts: str) -> StoryReport:
    documents = load_documents([Source(name=f"{n}.yaml", text=text) for n, text in enumerate(texts)])
    return run_stories(compile_bundle(documents), documents.tests)


def test_a_story_tells_what_is_left_of_the_arguments() -> None:
    report = stories(STORY, CATALOG, policy(ALL, MASK))
    assert report.failures == ()
    assert report.never_matched == ()
    wrong = stories(STORY.replace("[card number]", "[card]"), CATALOG, policy(ALL, MASK))
    assert wrong.failures == (
        '0.yaml:7: masks: cards, step 1: expected `args_after` {"body": "[card]"}, found {"body": "[card number]"}',
    )
    unreached = stories(STORY.replace("4111 1111 1111 1111", "hello"), CATALOG, policy(ALL, MASK))
    assert unreached.failures[0].endswith("expected modify, found allow (`p/all`)")
    assert unreached.never_matched == ("p/mask",)


def test_what_is_left_of_the_arguments_is_told_of_a_modification_alone() -> None:
    (error,) = errors_of(STORY.replace("expect: modify", "expect: allow"), CATALOG, policy(ALL))
    assert (error.code, error.message) == (
        "invalid_step",
        "`args_after` says what `modify` leaves; this step expects `allow`",
    )


def findings(*rules: str) -> list[str]:
    texts = (CATALOG, policy(*rules))
    return [
        one.code
        for one in lint(
            load_documents([Source(name=f"{n}", text=text) for n, text in enumerate(texts)])
        ).findings
    ]


def test_lint_knows_that_a_modification_comes_before_a_denial_with_a_condition() -> None:
    denies = "{id: denies, on: {tool: mail.send}, when: 'args.body.matches(\"[0-9]{16}\")', then: deny, because: x}"
    masks = MASK.replace("then: modify", "when: 'args.body.matches(\"[0-9]{16}\")', then: modify")
    assert findings(ALL, denies, masks) == []
    assert "shadowed_rule" in findings(ALL, denies.split(", when")[0] + ", then: deny}", masks)


def test_lint_tells_two_modifications_apart_by_what_they_do() -> None:
    quiet = MASK.replace(", because: no cards", "")
    other = quiet.replace("id: mask", "id: other").replace("card-number", "email")
    assert findings(ALL, quiet, other) == []
    assert findings(ALL, quiet, other.replace("redact: email", "redact: card-number")) == ["duplicate_rule"]
