from __future__ import annotations

import pytest
from unit.policies.policy_texts import CATALOG, action, bundle_of, policy, prepared, truth_of, verdict_on

from policies import cel
from policies.effect import Effect
from policies.prepare import Preparer

CERTAIN, NO, UNKNOWN = (True, True), (False, False), (True, False)


@pytest.mark.parametrize(
    ("on", "tool", "expected"),
    [
        ("{}", "payments.transfer", CERTAIN),
        ("{tool: payments.transfer}", "payments.transfer", CERTAIN),
        ("{tool: payments.transfer}", "mail.send", NO),
        ("{tool: 'mail.*'}", "mail.send", CERTAIN),
        ("{tool: [clock.read, 'm*']}", "mail.send", NO),
        ("{resource: mail.send}", "mail.send", CERTAIN),
        ("{resource_type: tool}", "mail.send", CERTAIN),
        ("{effect: pay}", "payments.transfer", CERTAIN),
        ("{effect: read}", "payments.transfer", NO),
        ("{effect: read}", "vague", UNKNOWN),
        ("{data: pii}", "crm.read", CERTAIN),
        ("{data: pii}", "payments.transfer", NO),
        ("{data: pii}", "mail.send", UNKNOWN),
        ("{data: '**'}", "payments.transfer", NO),
        ("{boundary: external}", "mail.send", CERTAIN),
        ("{boundary: external}", "crm.read", NO),
        ("{boundary: external}", "mail.read", UNKNOWN),
        ("{system: crm}", "crm.read", CERTAIN),
        ("{system: crm}", "vague", UNKNOWN),
        ("{jurisdiction: EU}", "crm.read", CERTAIN),
        ("{jurisdiction: EU}", "payments.transfer", NO),
        ("{jurisdiction: EU}", "mail.send", UNKNOWN),
        ("{trust: untrusted}", "mail.read", CERTAIN),
        ("{trust: trusted}", "crm.read", CERTAIN),
        ("{trust: untrusted}", "vague", UNKNOWN),
        ("{agent: bot}", "vague", CERTAIN),
        ("{agent: 'b*'}", "vague", CERTAIN),
        ("{agent: Bot}", "vague", NO),
        ("{agent_label: prod}", "vague", NO),
        ("{subject_type: agent}", "vague", CERTAIN),
        ("{tenant: default}", "vague", CERTAIN),
        ("{action: call}", "vague", CERTAIN),
        ("{action: [read, write]}", "vague", NO),
        ("{effect: send, boundary: external}", "mail.send", CERTAIN),
        ("{effect: send, boundary: internal}", "mail.send", NO),
        ("{effect: send, data: pii}", "mail.send", UNKNOWN),
        ("{effect: send, data: pii, tool: crm.read}", "mail.send", NO),
    ],
)
def test_on_matches_what_is_known_and_only_possibly_what_is_not(
    on: str, tool: str, expected: tuple[bool, bool]
) -> None:
    assert truth_of(on, "", action(tool)) == expected


def test_any_of_an_agents_labels_matches() -> None:
    assert truth_of("{agent_label: 'prod.*'}", "", action("vague", labels=("beta", "prod.eu"))) == CERTAIN


@pytest.mark.parametrize(
    "on", ["{agent: bot}", "{agent: '*'}", "{agent: '**'}", "{agent: bot, action: call}"]
)
def test_an_agent_key_never_matches_a_subject_that_is_no_agent(on: str) -> None:
    assert truth_of(on, "", action("vague", type="agent", id="bot")) == CERTAIN
    for subject_type in ("user", "Agent", "agents", "service"):
        assert truth_of(on, "", action("vague", type=subject_type, id="bot")) == NO
    assert (
        truth_of("{subject_type: user}", 'subject.id == "bot"', action("vague", type="user", id="bot"))
        == CERTAIN
    )


def test_a_user_with_an_agents_name_gets_none_of_its_rights_and_the_agent_none_of_the_users() -> None:
    bundle = bundle_of(
        CATALOG,
        policy(
            "{id: agents, on: {agent: bot, tool: vague}, then: allow}",
            "{id: users, on: {subject_type: user, tool: clock.read}, when: subject.id == 'bot', then: allow}",
        ),
    )
    preparer = Preparer(bundle)
    for _ in range(2):  # the second time from the memo
        found = {
            (kind, tool): preparer.prepare(action(tool, type=kind, id="bot")).certainly
            for kind in ("agent", "user")
            for tool in ("vague", "clock.read")
        }
        assert {asked for asked, bits in found.items() if bits} == {
            ("agent", "vague"),
            ("user", "clock.read"),
        }


def test_a_tool_key_never_matches_another_resource_type() -> None:
    assert truth_of("{tool: '**'}", "", action("t1", resource_type="todo")) == NO
    assert truth_of("{resource: t1}", "", action("t1", resource_type="todo")) == CERTAIN


@pytest.mark.parametrize(
    ("asked", "code", "detail"),
    [
        (action("payments.tranfser"), "uncatalogued_resource", "the catalog does not know tool `payments.tranfser`"),
        (action("mail.*"), "uncatalogued_resource", "the catalog does not know tool `mail.*`"),
        (action("mcp.*"), None, ""),
        (action("vague", resource_type="file"), "uncatalogued_resource", "the catalog does not know file `vague`"),
        (action(name="refund"), "unlisted_action",
         "tool `payments.transfer` does not list the action `refund`"),
        (action(arguments={"to": "x", "memo": 1}), "unlisted_argument",
         "tool `payments.transfer` does not list the argument `memo`"),
        (action("clock.read", {"zone": "CET"}), "unlisted_argument",
         "tool `clock.read` does not list the argument `zone`"),
        (action("clock.read"), None, ""),
        (action("crm.read", {"anything": 1}, name="whatever"), None, ""),
        (action("mcp.fs", {"path": "/"}), None, ""),
        (action("mcp.fs", {"mode": "w"}), "unlisted_argument", "tool `mcp.fs` does not list the argument `mode`"),
    ],
)  # fmt: skip
def test_what_the_catalog_does_not_list_is_refused_whatever_the_rules_say(
    asked: object, code: str | None, detail: str
) -> None:
    bundle = bundle_of(CATALOG, policy("{id: a, then: allow}"))
    found = prepared(bundle, asked)  # type: ignore[arg-type]
    assert (found.refusal, found.detail) == (code, detail)
    verdict = verdict_on(bundle, asked)  # type: ignore[arg-type]
    assert verdict.effect is (Effect.ALLOW if code is None else Effect.DENY)
    assert verdict.reason_code == (code or "rule_allow")


def test_uncatalogued_resources_are_decided_by_the_rules_when_the_bundle_says_so() -> None:
    head = "kind: Bundle\nname: b\nuncatalogued: allow\n"
    bundle = bundle_of(
        head,
        CATALOG,
        policy(
            "{id: open, on: {tool: 'x.*'}, then: allow}",
            "{id: reads, on: {effect: read}, then: allow}",
            "{id: no-pii, on: {data: pii, tool: 'x.secret'}, then: deny}",
        ),
    )
    assert verdict_on(bundle, action("x.a")).effect is Effect.ALLOW
    assert verdict_on(bundle, action("y.a")).reason_code == "default_deny"
    assert [reason.rule for reason in verdict_on(bundle, action("x.secret")).reasons] == ["p/no-pii"]


def test_what_the_caller_says_of_a_resource_never_overrides_the_catalog() -> None:
    properties = {"system": "crm", "boundary": "internal", "effects": ["read"]}
    asked = action("mail.send", properties=properties)
    assert truth_of("{boundary: internal}", "", asked) == NO
    assert truth_of("{}", 'resource.system == "crm"', asked) == NO
    assert truth_of("{}", 'resource.properties.system == "crm"', asked) == CERTAIN


def test_equal_conditions_are_evaluated_once_and_only_where_on_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = bundle_of(
        CATALOG,
        policy(
            "{id: a, on: {tool: mail.send}, when: 'args.to == \"a\"', then: deny}",
            "{id: b, on: {effect: send}, when: 'args.to == \"a\"', then: deny}",
            "{id: c, on: {tool: crm.read}, when: 'args.to == \"a\"', then: deny}",
        ),
    )
    preparer = Preparer(bundle)
    evaluated: list[str] = []
    holds = cel.Condition.holds
    monkeypatch.setattr(
        cel.Condition, "holds", lambda one, facts: evaluated.append(one.text) or holds(one, facts)
    )
    found = preparer.prepare(action("mail.send", {"to": "a"}))
    assert evaluated == ['args.to == "a"']
    assert [rule.name for rule in bundle.rules if found.possibly >> rule.atom & 1] == ["p/a", "p/b"]


def test_preparing_leaves_the_arguments_as_they_were_sent() -> None:
    arguments = {"amount": 3, "lines": [{"n": 1}]}
    truth_of("{}", "args.amount == 3 && args.lines[0].n == 1", action(arguments=arguments))
    assert arguments == {"amount": 3, "lines": [{"n": 1}]}
    assert type(arguments["amount"]) is int


def test_a_memo_that_is_full_is_emptied_and_answers_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.prepare._MEMO_LIMIT", 2)
    monkeypatch.setattr("policies.index._MEMO_LIMIT", 2)
    monkeypatch.setattr("policies.catalog._MEMO_LIMIT", 2)
    preparer = Preparer(
        bundle_of(CATALOG, policy("{id: a, on: {agent: 'bot-*', tool: 'mcp.*'}, then: allow}"))
    )
    for number in range(10):
        found = preparer.prepare(action(f"mcp.t{number}", id=f"bot-{number}"))
        assert (found.possibly, found.certainly) == (1, 1)


def test_a_condition_that_no_rule_asks_for_is_not_evaluated_and_changes_no_number() -> None:
    define = "define: {aside: {when: args.amount > 1.0}, used: {when: args.amount > 2.0}, plain: {on: {effect: pay}}}"
    rule = "{id: a, past: once used, then: deny}"
    text = f"kind: Policy\nname: p\n{define}\nrules:\n  - {rule}\n"
    bundle = bundle_of(CATALOG, text)
    asked = bundle_of(CATALOG, text + "  - {id: b, past: once aside, then: deny}\n")
    assert bundle.atoms == asked.atoms and bundle.defines == asked.defines
    (aside, used, plain) = (1 << bundle.defines["p", name] for name in ("aside", "used", "plain"))
    assert (bundle.idle, asked.idle) == (aside, 0)
    pays = action("payments.transfer", {"amount": 5})
    for number, expected in ((bundle, used | plain), (asked, aside | used | plain)):
        assert Preparer(number).prepare(pays).possibly & (aside | used | plain) == expected
