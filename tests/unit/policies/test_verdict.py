from __future__ import annotations

import pytest
from unit.policies.policy_texts import CATALOG, action, bundle_of, policy, verdict_on

from policies.bundle import Reason
from policies.effect import Effect
from policies.verdict import Verdict, decide, matched_rules

ALLOW = "{id: z-allow, on: {tool: mail.send}, then: allow, because: mail is fine, controls: [c/1]}"
DENY = "{id: b-deny, on: {boundary: external}, then: deny, because: nothing leaves}"
ALSO = "{id: a-deny, on: {tool: mail.send}, when: size(args.to) > 3, then: deny}"
BODY = "{id: c-deny, on: {tool: mail.send}, when: args.body == 1, then: deny}"


@pytest.mark.parametrize(
    ("rules", "head", "effect", "code", "reasons"),
    [
        ([], "", "deny", "default_deny", []),
        ([], "default: allow", "allow", "default_allow", []),
        ([ALLOW], "", "allow", "rule_allow", ["p/z-allow"]),
        ([DENY], "default: allow", "deny", "rule_deny", ["p/b-deny"]),
        ([ALLOW, DENY], "", "deny", "rule_deny", ["p/b-deny"]),
        ([DENY, ALSO, ALLOW], "", "deny", "rule_deny", ["p/a-deny", "p/b-deny"]),
        ([ALLOW, BODY], "", "deny", "rule_deny", ["p/c-deny"]),
    ],
)
def test_deny_wins_over_allow_and_the_default_fills_the_gap(
    rules: list[str], head: str, effect: str, code: str, reasons: list[str]
) -> None:
    bundle = bundle_of(CATALOG, policy(*rules), f"kind: Bundle\nname: b\n{head}\n")
    verdict = verdict_on(bundle, action("mail.send", {"to": "a@b.example"}))
    assert (verdict.effect, verdict.reason_code) == (effect, code)
    assert [reason.rule for reason in verdict.reasons] == reasons


def test_a_failed_condition_restricts_and_never_grants() -> None:
    condition = "when: args.x > 1"
    granting = bundle_of(CATALOG, policy(f"{{id: a, then: allow, {condition}}}"))
    assert verdict_on(granting, action("vague")).reason_code == "default_deny"
    restricting = bundle_of(CATALOG, policy("{id: a, then: allow}", f"{{id: b, then: deny, {condition}}}"))
    assert verdict_on(restricting, action("vague")).reason_code == "rule_deny"
    assert verdict_on(restricting, action("vague", {"x": 1})).reason_code == "rule_allow"


OVER = "when: args.x > 1"


@pytest.mark.parametrize(
    ("rules", "arguments", "code", "uncertain"),
    [
        ([f"{{id: b, then: deny, {OVER}}}"], {"x": 2}, "rule_deny", ()),
        ([f"{{id: b, then: deny, {OVER}}}"], {}, "rule_deny", ("p/b",)),
        ([f"{{id: b, then: deny, {OVER}}}", "{id: c, then: deny}"], {}, "rule_deny", ("p/b",)),
        (
            [f"{{id: b, then: deny, {OVER}}}", "{id: a, then: deny, when: args.y}"],
            {},
            "rule_deny",
            ("p/a", "p/b"),
        ),
        (["{id: d, on: {data: pii}, then: deny}", "{id: a, then: allow}"], {}, "rule_deny", ("p/d",)),
        ([f"{{id: a, then: allow, {OVER}}}"], {}, "default_deny", ("p/a",)),
        ([f"{{id: a, then: allow, {OVER}}}"], {"x": 1}, "default_deny", ()),
        ([f"{{id: a, then: allow, {OVER}}}"], {"x": 2}, "rule_allow", ()),
        ([f"{{id: a, then: allow, {OVER}}}", "{id: b, then: allow}"], {}, "rule_allow", ()),
        ([f"{{id: a, then: allow, {OVER}}}", f"{{id: b, then: deny, {OVER}}}"], {}, "rule_deny", ("p/b",)),
    ],
)
def test_a_verdict_names_the_rules_that_decided_for_want_of_knowledge(
    rules: list[str], arguments: dict[str, object], code: str, uncertain: tuple[str, ...]
) -> None:
    verdict = verdict_on(bundle_of(CATALOG, policy(*rules)), action("vague", arguments))
    assert (verdict.reason_code, verdict.uncertain) == (code, uncertain)


def test_nothing_is_uncertain_about_a_default_that_allows_or_a_refusal() -> None:
    bundle = bundle_of(
        CATALOG, policy(f"{{id: a, then: allow, {OVER}}}"), "kind: Bundle\nname: b\ndefault: allow\n"
    )
    verdict = verdict_on(bundle, action("vague"))
    assert (verdict.reason_code, verdict.uncertain) == ("default_allow", ())
    assert decide(bundle, possibly=1, certainly=0, refusal="missing_argument").uncertain == ()


def test_rules_of_both_effects_may_share_an_atom() -> None:
    bundle = bundle_of(CATALOG, policy("{id: a, then: allow}", "{id: d, then: deny}"))
    assert len(bundle.atoms) == 1
    assert [reason.rule for reason in verdict_on(bundle, action("vague")).reasons] == ["p/d"]
    assert [rule.name for rule in matched_rules(bundle, possibly=1, certainly=0)] == ["p/d"]
    assert [rule.name for rule in matched_rules(bundle, possibly=1, certainly=1)] == ["p/a", "p/d"]


def test_a_reason_carries_the_rule_its_sentence_and_its_controls() -> None:
    verdict = verdict_on(bundle_of(CATALOG, policy(ALLOW)), action("mail.send"))
    assert verdict == Verdict(
        effect=Effect.ALLOW,
        reason_code="rule_allow",
        reasons=(Reason(rule="p/z-allow", effect=Effect.ALLOW, because="mail is fine", controls=("c/1",)),),
    )


def test_a_refusal_denies_with_its_own_code() -> None:
    bundle = bundle_of(CATALOG, policy(ALLOW))
    verdict = decide(bundle, possibly=1, certainly=1, refusal="unlisted_action")
    assert verdict == Verdict(effect=Effect.DENY, reason_code="unlisted_action", reasons=())
