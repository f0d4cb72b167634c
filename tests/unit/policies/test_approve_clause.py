"""`approve` of a rule: what is refused, what is compiled, and what an approval's rule hash depends on."""

from __future__ import annotations

import pytest
from unit.policies.policy_texts import CATALOG, bundle_of, errors_of, policy

from policies.bundle import Rule
from policies.effect import Effect
from policies.error import Source
from policies.loader import load_documents
from policies.stories import run_stories
from policies.verdict import decide, escalating

PAYS = "on: {tool: payments.transfer}"


def rule_of(keys: str, *, head: str = "", more: str = "") -> Rule:
    bundle = bundle_of(policy(f"{{id: a, {PAYS}, {keys}}}", head=head), CATALOG, *([more] if more else []))
    return bundle.rules[bundle.number_of["p/a"]]


@pytest.mark.parametrize(
    ("approve", "code"),
    [
        ("{by: treasury}", "invalid_value"),
        ("{by: 'role:treasury', quorum: 0}", "invalid_value"),
        ("{by: [user:anna], quorum: 2}", "unreachable_quorum"),
        ("{by: 'role:treasury', expires: 31d}", "too_long"),
        ("{by: 'role:treasury', expires: 0s}", "expires_at_once"),
        ("{by: 'role:treasury', expires: 10m, then_to: {by: 'role:board', after: 10m}}", "then_to_never"),
        ("{by: 'role:treasury', remember: value}", "remember_needs_origin"),
        ("{by: 'role:treasury', exclude: author}", "no_authors"),
        ("{by: 'role:treasury', exclude: everyone}", "invalid_value"),
    ],
)
def test_what_could_not_work_is_refused(approve: str, code: str) -> None:
    (error,) = errors_of(policy(f"{{id: a, {PAYS}, then: escalate, approve: {approve}}}"), CATALOG)
    if code != "invalid_value":
        assert error.code == code


@pytest.mark.parametrize(
    ("approve", "message", "hint"),
    [
        ("{by: treasury}", "`treasury` does not fit", "write `role:NAME`, `group:NAME`, or who it is"),
        ("{by: {role: treasury}}", "expected text, found a mapping", "write `role:treasury`"),
        ("{by: ['user:anna', 'roles:board']}", "no role in rule `p/a`", "did you mean `role:board`?"),
        ("{by: 'Group:board'}", "no group in rule `p/a`", "did you mean `group:board`?"),
        ("{by: 'role:treasury', quorum: 0}", "expected at least 1, found the number `0`", ""),
        ("{by: 'role:treasury', quorum: 101}", "expected at most 100, found the number `101`", ""),
        (
            "{by: 'role:treasury', expires: 30}",
            "expected a duration",
            "write a whole number and s, m, h or d",
        ),
    ],
)
def test_a_mistake_says_what_to_write(approve: str, message: str, hint: str) -> None:
    (error,) = errors_of(policy(f"{{id: a, {PAYS}, then: escalate, approve: {approve}}}"), CATALOG)
    assert message in error.message and "^" not in error.message
    assert hint in error.hint and bool(hint) == bool(error.hint)


def test_the_terms_of_a_rule_are_compiled() -> None:
    rule = rule_of(
        "then: escalate, approve: {by: ['role:treasury', 'user:anna'], quorum: 2, expires: 30m,"
        " then_to: {by: 'group:board', after: 10m}, exclude: [owner, author], remember: value},"
        " origin: {roles: [destination], is: [untrusted]}",
        head="authors: [user:writer]\n",
    )
    terms = rule.approval
    assert terms is not None
    assert (terms.by, terms.quorum, terms.then_to) == (("role:treasury", "user:anna"), 2, ("group:board",))
    assert (terms.expires_us, terms.after_us) == (1_800_000_000, 600_000_000)
    assert (terms.exclude, terms.authors, terms.remember) == ({"owner", "author"}, ("user:writer",), True)
    plain = rule_of("then: escalate, approve: {by: 'role:treasury'}").approval
    assert plain is not None
    assert (plain.quorum, plain.expires_us, plain.exclude) == (1, 3_600_000_000, {"owner"})
    nobody = rule_of("then: escalate, approve: {by: 'role:treasury', exclude: []}").approval
    assert nobody is not None and nobody.exclude == frozenset()


BASE = "then: escalate, approve: {by: 'role:treasury'}"


@pytest.mark.parametrize(
    "other",
    [
        "then: escalate, approve: {by: 'role:board'}",
        "then: escalate, approve: {by: 'role:treasury', quorum: 2}",
        "then: escalate, approve: {by: 'role:treasury'}, because: another",
        "then: escalate, approve: {by: 'role:treasury'}, when: args.amount > 5.0",
    ],
)
def test_whatever_changes_what_a_rule_says_changes_its_hash(other: str) -> None:
    assert rule_of(BASE).hash != rule_of(other).hash


def test_the_hash_of_a_rule_depends_on_what_its_past_names_and_on_nothing_else() -> None:
    past = f"past: once reads, {BASE}"
    define = "define: {{reads: {{on: {{tool: {}}}}}, unused: {{on: {{tool: {}}}}}}}\n"
    first = rule_of(past, head=define.format("crm.read", "clock.read")).hash
    assert first != rule_of(past, head=define.format("mail.read", "clock.read")).hash
    assert first == rule_of(past, head=define.format("crm.read", "mail.send")).hash
    assert rule_of(BASE).hash == rule_of(BASE, head="description: other words\n").hash
    parameter = "parameters: {who: {default: 'role:treasury'}}\n"
    assert rule_of(BASE).hash == rule_of("then: escalate, approve: {by: $who}", head=parameter).hash


def test_authors_are_part_of_a_rule_that_they_may_not_approve() -> None:
    excluding = "then: escalate, approve: {by: 'role:treasury', exclude: author}"
    first, second = "authors: [user:a]\n", "authors: [user:b]\n"
    assert rule_of(excluding, head=first).hash != rule_of(excluding, head=second).hash
    assert rule_of(BASE, head=first).hash == rule_of(BASE, head=second).hash


def test_authors_are_part_of_the_bundle() -> None:
    rules = f"{{id: a, {PAYS}, {BASE}}}"
    assert (
        bundle_of(policy(rules, head="authors: user:a\n"), CATALOG).digest
        != bundle_of(policy(rules), CATALOG).digest
    )


def test_lifting_removes_the_objection_of_escalating_rules_alone() -> None:
    bundle = bundle_of(
        policy(
            f"{{id: all, {PAYS}, then: allow}}",
            f"{{id: ask, {PAYS}, {BASE}}}",
            f"{{id: more, {PAYS}, {BASE}, because: more}}",
            "{id: no, on: {tool: crm.read}, then: deny}",
        ),
        CATALOG,
    )
    pays = sum(1 << number for number, atom in enumerate(bundle.atoms) if "payments" in str(atom.on))
    reads = sum(1 << number for number, atom in enumerate(bundle.atoms) if "crm" in str(atom.on))
    asked = decide(bundle, possibly=pays, certainly=pays)
    assert asked.effect is Effect.ESCALATE
    both = escalating(bundle, asked)
    assert {bundle.rules[number].id for number in both} == {"ask", "more"}
    lifted = decide(bundle, possibly=pays, certainly=pays, lifted=both)
    assert lifted.effect is Effect.ALLOW
    assert [reason.rule for reason in lifted.reasons] == ["p/all", "p/ask", "p/more"]
    one = frozenset([bundle.number_of["p/ask"]])
    left = decide(bundle, possibly=pays, certainly=pays, lifted=one)
    assert left.effect is Effect.ESCALATE and escalating(bundle, left) >= {bundle.number_of["p/more"]}
    every = frozenset(range(len(bundle.rules)))
    denied = decide(bundle, possibly=pays | reads, certainly=pays | reads, lifted=every)
    assert denied.effect is Effect.DENY


STORY = """
kind: Test
name: t
sessions: {s: {agent: bot}}
cases:
  - name: approved and past to the later ones
    steps:
      - {session: s, tool: payments.transfer, args: {to: x, amount: 5}, expect: escalate, approve: true}
      - {session: s, tool: crm.read, expect: deny, rules: [p/after]}
  - name: not approved and past to nothing
    steps:
      - {session: s, tool: payments.transfer, args: {to: x, amount: 5}, expect: escalate}
      - {session: s, tool: crm.read, expect: allow}
"""


def told(*rules: str, story: str = STORY) -> tuple[str, ...]:
    define = "define: {pays: {on: {tool: payments.transfer}}}\n"
    documents = load_documents(
        [
            Source(name="p", text=policy(*rules, head=define)),
            Source(name="c", text=CATALOG),
            Source(name="t", text=story),
        ]
    )
    return run_stories(bundle_of(policy(*rules, head=define), CATALOG), documents.tests).failures


def test_a_story_approves_and_the_action_is_past_to_the_later_ones() -> None:
    after = "{id: after, on: {tool: crm.read}, past: once pays, then: deny}"
    assert told("{id: all, then: allow}", f"{{id: ask, {PAYS}, {BASE}}}", after) == ()


def test_a_story_says_why_an_approved_step_is_not_permitted() -> None:
    after = "{id: after, on: {tool: crm.read}, past: once pays, then: deny}"
    first, *rest = told("{id: all, then: allow}", f"{{id: ask, {PAYS}, then: escalate}}", after)
    assert "`p/ask` names nobody in `approve`" in first and "expected deny" in rest[0]
    (failure, *_) = told(
        "{id: reads, on: {tool: crm.read}, then: allow}", f"{{id: ask, {PAYS}, {BASE}}}", after
    )
    assert "approved, and then deny (default_deny)" in failure


def test_only_an_escalation_can_be_approved_in_a_story() -> None:
    wrong = STORY.replace("expect: escalate, approve: true", "expect: allow, approve: true")
    (error,) = errors_of(policy(f"{{id: ask, {PAYS}, {BASE}}}"), CATALOG, wrong)
    assert error.code == "nothing_to_approve"
