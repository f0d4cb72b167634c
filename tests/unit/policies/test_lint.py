"""Findings about policies that compile: one case for each code, and one in which the same place is clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.error import Source
from policies.lint.finding import CODES, Level
from policies.lint.linter import LintReport, lint_sources

CATALOG = """\
kind: Catalog
tools:
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  mail.read: {system: mail, effects: [read], data: [], boundary: internal, args: {}}
  mail.send:
    {system: mail, effects: [send], data: [], boundary: external, args: {to: {type: email}, size: {type: integer}}}
  pay.send:
    {system: bank, effects: [pay], data: [], boundary: external, args: {to: {type: iban}, amount: {type: decimal}}}
  pay.stop: {system: bank, effects: [write], data: [], boundary: internal, actions: [call, force]}
  dlp.scan: {effects: [], data: [], boundary: internal, args: {}}
  mcp.*: {boundary: external, data: []}
  mcp.known: {boundary: internal, effects: [read], data: []}
---
"""
ALL = "  - {id: all, on: {}, then: allow}\n"


def linted(policy: str, *, head: str = "") -> LintReport:
    return lint_sources([Source(name="p.yaml", text=f"{head}{CATALOG}kind: Policy\nname: p\n{policy}")])


def codes(policy: str, *, head: str = "") -> list[str]:
    return [one.code for one in linted(policy, head=head).findings]


def rules(*texts: str, define: str = "", allow: str = ALL) -> str:
    listed = "".join(f"  - {text}\n" for text in texts)
    return (f"define: {define}\n" if define else "") + f"rules:\n{allow}{listed}"


def past(formula: str) -> str:
    """A rule `p/x` on mail, over atoms that another rule uses all."""
    define = (
        "{reads: {on: {data: pii}}, leaves: {on: {boundary: external}}, sends: {on: {tool: mail.send}},"
        " scans: {on: {tool: dlp.scan}}, pays: {on: {tool: pay.send}}}"
    )
    others = "'not once done(scans) and (reads or leaves or sends or pays)'"
    return rules(
        f"{{id: x, on: {{tool: mail.send}}, past: '{formula}', then: deny}}",
        f"{{id: other, on: {{tool: [mail.read, mail.send, crm.read, pay.send]}}, past: {others}, then: escalate}}",
        define=define,
    )


FORMULAS: list[tuple[str, list[str]]] = [
    ("leaves and once[24h] reads", []),
    ("not once[10m] done(scans)", []),
    ("not done(scans) since[1h] reads", []),
    ("once reads and once pays", []),
    ("once (reads and leaves)", ["always_false"]),
    ("reads", ["always_false"]),
    ("sends and not leaves", ["always_false"]),
    ("sends", ["always_true"]),
    ("once leaves", ["always_true"]),
    ("once reads or not once[1h] done(scans) or once[1h] done(scans)", ["always_true", "waits_for_report"]),
    ("once once reads", ["simpler_formula"]),
    ("once[1h] reads or once[2h] reads", ["simpler_formula"]),
    ("once[1h] reads and once[2h] reads", ["simpler_formula"]),
    ("once[1h] reads and once pays and once reads", ["simpler_formula"]),
    ("(once reads and once pays) or once reads", ["simpler_formula"]),
    ("not not once reads", ["simpler_formula"]),
    ("once (reads or (reads and leaves))", ["simpler_formula"]),
    ("once[31d] reads", ["window_beyond_history"]),
    ("once[30d] reads", []),
    ("once[20d] (reads and once[20d] pays)", ["window_beyond_history"]),
]


@pytest.mark.parametrize(("formula", "expected"), FORMULAS)
def test_a_formula_is_judged_by_going_through_its_pasts(formula: str, expected: list[str]) -> None:
    found = [one for one in linted(past(formula)).findings if "`p/x`" in one.message]
    assert [one.code for one in found] == expected
    if expected and expected != ["window_beyond_history"]:
        assert "decided by bounded search: every past of " in found[0].message


def test_a_simpler_formula_is_written_out() -> None:
    report = linted(past("once[1h] reads and once pays and once reads"))
    (found,) = [one for one in report.findings if "`p/x`" in one.message]
    assert "`past` says what `once pays and once[1h] reads` says: " in found.message or (
        "`past` says what `once[1h] reads and once pays` says: " in found.message
    )


def test_a_formula_that_says_something_comes_with_the_shortest_pasts_that_show_it() -> None:
    (report,) = [one for one in linted(past("leaves and once[24h] reads")).formulas if one.rule == "p/x"]
    assert report.matches is not None and report.misses is not None
    assert [str(one) for one in report.matches] == ["0s crm.read (reads)", "0s mail.send (leaves)"]
    assert [str(one) for one in report.misses] == ["0s mail.send (leaves)"]


def test_only_what_can_be_permitted_is_past() -> None:
    define = "{reads: {on: {data: pii}}}"
    rule = "{id: x, on: {tool: mail.send}, past: once reads, then: deny}"
    assert codes(rules(rule, define=define)) == []
    denied = "{id: no-reading, on: {system: crm}, then: deny}"
    assert codes(rules(rule, denied, define=define)) == ["always_false"]
    granted = "  - {id: mail, on: {system: mail}, then: allow}\n"
    assert codes(rules(rule, define=define, allow=granted)) == ["always_false"]
    assert codes(rules(rule, denied.replace("}, then", ", agent: a}, then"), define=define)) == []


def test_keys_take_part_in_the_search() -> None:
    define = "{a: {on: {tool: pay.send}}, b: {on: {tool: pay.stop}}}"

    def with_keys(by: str) -> list[str]:
        rule = f"{{id: x, on: {{tool: pay.send}}, past: 'a and once[1h] b', {by}then: deny}}"
        return codes(rules(rule, define=define))

    assert with_keys("") == []
    # `a` always holds where the rule looks; but it is what names the value.
    assert with_keys("by: {a: args.to, b: args.to}, ") == []
    own = "{id: x, on: {tool: pay.send}, past: 'once[1h] a', by: {a: args.to}, then: deny}"
    assert codes(rules(own, define="{a: {on: {tool: pay.send}}}")) == ["always_true"]


RULES: list[tuple[str, str]] = [
    ("{effect: read, boundary: external, data: pii}, then: deny", "never_matches"),
    ("{effect: read, boundary: internal}, then: deny", ""),
    # What has an entry of its own is not one of a glob's.
    ("{tool: mcp.known, boundary: external}, then: deny", "never_matches"),
    ("{tool: mcp.other, boundary: external}, then: deny", ""),
    ("{agent: a, subject_type: user}, then: deny", "never_matches"),
    ("{agent: a, subject_type: 'ag*'}, then: deny", ""),
    ("{tool: pay.stop, action: undo}, then: deny", "never_matches"),
    ("{tool: pay.stop, action: force}, then: deny", ""),
    # What the catalog leaves open restricts, and allows nothing.
    ("{tool: mail.read, trust: untrusted}, then: deny", ""),
    ("{tool: mail.read, trust: untrusted}, then: allow, because: b", "never_matches"),
    ("{tool: mail.send}, when: 1 > 2, then: deny", "constant_condition"),
    ("{tool: mail.send}, when: 'true', then: escalate", "constant_condition"),
    ("{tool: mail.send}, when: args.size > 2, then: deny", ""),
    ("{tool: mail.send}, then: allow", "redundant_rule"),
    ("{tool: mail.send}, then: allow, because: mail is fine", ""),
    ("{tool: pay.send}, origin: {roles: secret, is: untrusted}, then: deny", "never_matches"),
    ("{tool: pay.send}, origin: {roles: destination, is: untrusted}, then: deny", ""),
    # A rule about an effect is written for tools that are not there yet; arguments that are not listed may be any.
    ("{effect: pay}, origin: {roles: secret, is: untrusted}, then: deny", ""),
    ("{tool: 'pay.*'}, origin: {roles: secret, is: untrusted}, then: deny", ""),
    ("{tool: mail.send}, asked: [no, unknown, yes], then: deny", "constant_condition"),
    ("{tool: mail.send}, asked: [no, unknown], then: deny", ""),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_what_a_rule_matches_is_decided_for_each_resource(rule: str, expected: str) -> None:
    assert codes(rules(f"{{id: x, on: {rule}}}")) == ([expected] if expected else [])


SHADOWS: list[tuple[str, str, str]] = [
    ("{tool: mail.send}, then: allow", "{tool: 'mail.*'}, then: deny", "shadowed_rule"),
    ("{tool: mail.send}, then: allow", "{effect: send}, then: deny", "shadowed_rule"),
    ("{tool: dlp.scan}, then: allow", "{trust: untrusted}, then: deny", "shadowed_rule"),
    ("{tool: mail.send}, then: escalate", "{effect: send}, then: deny", "shadowed_rule"),
    ("{tool: mail.send}, then: allow", "{effect: send}, when: args.size > 2, then: deny", ""),
    ("{tool: mail.send}, when: args.size > 2, then: allow", "{effect: send}, when: args.size > 2, then: deny",
     "shadowed_rule"),
    ("{tool: mail.send}, then: allow", "{effect: send, agent: bot}, then: deny", ""),
    ("{tool: mail.send, agent: bot.a}, then: allow", "{effect: send, agent: 'bot.*'}, then: deny", "shadowed_rule"),
    ("{tool: mail.send}, then: allow", "{effect: send}, limit: {count: actions, above: 1}, then: deny", ""),
    ("{tool: mail.send}, then: allow", "{effect: send}, mode: monitor, then: deny", ""),
    ("{tool: mail.send}, then: allow", "{}, origin: {roles: [secret], is: untrusted}, then: deny", ""),
    ("{tool: mail.send}, then: allow", "{effect: send}, asked: no, then: deny", ""),
    ("{tool: mail.send}, then: deny", "{effect: send}, origin: {args: /to, is: untrusted}, then: deny", ""),
    ("{tool: mail.send}, asked: no, then: deny", "{tool: mail.send}, asked: unknown, then: deny", ""),
    ("{tool: mail.send}, origin: {args: /to, is: mixed}, then: deny",
     "{tool: mail.send}, origin: {args: /to, is: untrusted}, then: deny", ""),
    ("{tool: mail.send}, asked: no, then: deny", "{tool: mail.send}, asked: no, because: words, then: deny",
     "duplicate_rule"),
    # What is escalated is allowed once it is approved, by the rule that allows it.
    ("{tool: mail.send}, then: allow", "{effect: send}, then: escalate", ""),
    ("{tool: [mail.send, mail.read]}, then: allow", "{effect: send}, then: deny", ""),
    ("{tool: mail.send}, then: allow", "{tool: mail.send}, then: allow, because: words", "duplicate_rule"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "expected"), SHADOWS)
def test_a_rule_for_which_another_always_decides_is_shadowed(one: str, other: str, expected: str) -> None:
    found = codes(rules(f"{{id: a, on: {one}}}", f"{{id: b, on: {other}}}", allow=""))
    assert found == ([expected] if expected else [])


def test_several_plain_rules_shadow_together() -> None:
    allow = "{id: a, on: {tool: [mail.send, pay.send]}, then: allow}"
    mail, pay = "{id: b, on: {effect: send}, then: deny}", "{id: c, on: {effect: pay}, then: deny}"
    assert codes(rules(allow, mail, pay, allow="")) == ["shadowed_rule"]
    assert codes(rules(allow, mail, allow="")) == []


CRM = "{on: {tool: crm.read}}"
DEFINES: list[tuple[str, str, list[str]]] = [
    (f"{{a: {CRM}, z: {{on: {{tool: mail.read}}}}}}", "once a", ["unused_define"]),
    (f"{{a: {CRM}, z: {{on: {{tool: mail.read}}}}}}", "once a or once z", []),
    ("{a: {when: 'resource.id == \"crm.read\"'}}", "once a", ["unindexed_atom"]),
    ("{a: {on: {}}}", "previous a", ["unindexed_atom"]),
    (f"{{a: {CRM}, b: {CRM}}}", "once a and previous b", ["same_atom"]),
    (f"{{a: {{on: {{tool: crm.read, effect: send}}}}, b: {CRM}}}", "once a or once b", ["never_holds"]),
]


@pytest.mark.parametrize(("define", "formula", "expected"), DEFINES)
def test_a_define_is_used_indexed_and_said_once(define: str, formula: str, expected: list[str]) -> None:
    word = ", permitted_is_done: true" if "previous" in formula else ""
    rule = f"{{id: x, on: {{tool: mail.send}}, past: '{formula}', then: deny{word}}}"
    assert [one for one in codes(rules(rule, define=define)) if one != "simpler_formula"] == expected


LIMITS: list[tuple[str, str, list[str]]] = [
    ("a sum", "{sum: args.amount, per: 24h, above: 50000}", []),
    ("a count", "{count: actions, per: 24h, above: 1}", []),
    ("every action", "{count: actions, per: 24h, above: 0}", ["always_exceeded"]),
    ("every sum", "{sum: args.amount, above: -0.5}", ["always_exceeded"]),
    ("sums of nothing", "{sum: args.amount, above: 0}", []),
    ("denials", "{count: denials, per: 1h, above: 0}", []),
    ("too far back", "{count: actions, per: 31d, above: 3}", ["window_beyond_history"]),
    ("one key for all", "{count: actions, per: 1h, above: 3, key: '\"x\"'}", ["constant_key"]),
    ("a key", "{count: actions, per: 1h, above: 3, key: args.to}", []),
]


@pytest.mark.parametrize(("limit", "expected"), [one[1:] for one in LIMITS], ids=[one[0] for one in LIMITS])
def test_a_limit_can_be_kept_and_exceeded(limit: str, expected: list[str]) -> None:
    rule = f"{{id: x, on: {{tool: pay.send}}, limit: {limit}, then: deny}}"
    assert codes(rules(rule)) == expected


def test_denials_are_never_counted_where_nothing_is_denied() -> None:
    open_ = "kind: Bundle\nname: b\ndefault: allow\nuncatalogued: allow\n---\n"
    rule = "{id: x, on: {tool: mcp.any}, limit: {count: denials, per: 1h, above: 3}, then: escalate}"
    assert codes(rules(rule), head=open_) == ["never_exceeded"]
    assert (
        codes(rules(rule, "{id: y, on: {tool: 'mcp.*'}, when: now.getHours() < 5, then: deny}"), head=open_)
        == []
    )


def test_a_higher_limit_on_one_account_is_shadowed_by_a_lower_one_that_restricts_no_less() -> None:
    def limits(low: str, high: str, per: str = "24h") -> list[str]:
        of = "on: {tool: pay.send}, limit: {sum: args.amount"
        return codes(
            rules(
                f"{{id: low, {of}, per: 24h, above: 10}}, then: {low}}}",
                f"{{id: high, {of}, per: {per}, above: 20}}, then: {high}}}",
            )
        )

    assert limits("deny", "deny") == ["limit_shadowed"]
    assert limits("deny", "escalate") == ["limit_shadowed"]
    assert limits("escalate", "deny") == []
    assert limits("deny", "deny", "48h") == []
    assert limits("deny", "deny, asked: no") == ["limit_shadowed"]
    assert limits("deny, asked: no", "deny") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("past: once a, permitted_is_done: true", ["needless_permitted_is_done"]),
        ("past: previous a, permitted_is_done: true", []),
        ("past: once a, witness: gateway", ["needless_witness"]),
        ("past: not once done(a), witness: gateway", []),
        ("past: once a, by: {a: '\"k\"'}", ["constant_key"]),
        ("past: once a and once b, by: {a: args.id}", ["unkeyed_atom"]),
    ],
)
def test_what_changes_nothing_is_said(rule: str, expected: list[str]) -> None:
    define = "{a: {on: {tool: crm.read}}}"
    if "once b" in rule:
        define = "{a: {on: {tool: crm.read}}, b: {on: {tool: mail.read}}}"
    found = codes(rules(f"{{id: x, on: {{tool: mail.send}}, {rule}, then: deny}}", define=define))
    assert [one for one in found if one not in ("always_false", "always_true", "simpler_formula")] == expected


@pytest.mark.parametrize(
    ("formula", "then", "waits"),
    [
        ("sends and once[1h] done(reads)", "deny", True),
        ("sends and not never[1h] done(reads)", "escalate", True),
        ("sends and (pays implies once done(reads))", "deny", True),
        ("sends and once[1h] reads", "deny", False),
        ("sends and not once[1h] done(reads)", "deny", False),
        ("sends and not done(scans) since[1h] reads", "deny", False),
        ("sends and once[1h] done(reads)", "allow", False),
        ("sends and not once[1h] done(reads)", "allow", True),
    ],
)
def test_a_rule_that_waits_for_a_report_to_become_stricter_is_said(
    formula: str, then: str, waits: bool
) -> None:
    report = linted(past(formula).replace("then: deny", f"then: {then}", 1))
    found = [one for one in report.findings if one.code == "waits_for_report"]
    assert [one.hint.startswith("say `once reads`") for one in found] == [True] * waits


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("past: 'once[1h] reads', scope: agent", ["reserves_all"]),
        ("on: {}, limit: {count: actions, per: 1h, scope: agent, above: 9}", ["reserves_all"]),
        ("on: {boundary: external}, past: 'once[1h] reads', scope: agent", []),
        ("past: 'once[1h] reads'", []),
        ("limit: {count: actions, per: 1h, above: 9}", []),
    ],
)
def test_a_rule_over_all_that_an_agent_does_says_which_actions_it_decides(
    rule: str, expected: list[str]
) -> None:
    define = "{reads: {on: {tool: crm.read}}}"
    report = linted(rules(f"{{id: x, {rule}, then: deny}}", define=define))
    assert [one.code for one in report.findings if one.code == "reserves_all"] == expected


@pytest.mark.parametrize(("name", "expected"), [("amount", ["removes_required"]), ("to", [])])
def test_an_argument_that_is_required_is_not_removed(name: str, expected: list[str]) -> None:
    catalog = CATALOG.replace("{type: decimal}", "{type: decimal, required: true}")
    rule = f"{{id: x, on: {{tool: pay.send}}, then: modify, modify: [{{at: /{name}, remove: true}}]}}"
    text = f"{catalog}kind: Policy\nname: p\n{rules(rule)}"
    assert [one.code for one in lint_sources([Source(name="p.yaml", text=text)]).findings] == expected


def test_what_does_not_compile_is_a_finding_at_its_place() -> None:
    report = linted(rules("{id: x, on: {tool: mail.sned}, then: deny}"))
    (found,) = report.findings
    assert (found.level, found.code) == (Level.ERROR, "unknown_tool")
    assert str(found).startswith("p.yaml:18:24: error: unknown tool `mail.sned`")
    assert report.count(Level.ERROR) == 1


def test_findings_name_the_place_and_what_to_do() -> None:
    (found,) = linted(rules("{id: x, on: {effect: send, data: pii}, then: deny}")).findings
    assert str(found) == (
        "p.yaml:18:13: error: the rule can never match: no resource of the catalog meets its `on` in rule `p/x` "
        "[never_matches]; each key has to fit"
    )


def test_the_bundle_of_the_design_and_the_banks_are_clean() -> None:
    text = Path(__file__).with_name("design_bundle.yaml").read_text()
    design = lint_sources([Source(name="design.yaml", text=text)])
    assert design.findings == ()
    assert len(design.formulas) == 3
    bank = sorted((Path(__file__).parents[3] / "examples" / "banking" / "policies").glob("*.yaml"))
    assert lint_sources([Source(name=file.name, text=file.read_text()) for file in bank]).findings == ()


def test_every_code_has_a_case() -> None:
    text = Path(__file__).read_text()
    assert sorted(code for code in CODES if f'"{code}"' not in text) == []
