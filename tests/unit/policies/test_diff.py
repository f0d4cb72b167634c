"""What changes between two bundles: documents by name and key, and what live sessions remember."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.compile import compile_bundle
from policies.diff import BundleDiff, diff
from policies.error import Source
from policies.loader import load_documents

DESIGN = (
    Path(__file__)
    .with_name("design_bundle.yaml")
    .read_text()
    .replace("reference: {type: string", "memo: {type: iban}, reference: {type: string")
)


def between(old: str, new: str) -> BundleDiff:
    one, other = (load_documents([Source(name="f.yaml", text=text)]) for text in (old, new))
    return diff(one, other, compile_bundle(one), compile_bundle(other))


def changed(*replacements: tuple[str, str], old: str = DESIGN) -> BundleDiff:
    new = old
    for was, is_ in replacements:
        assert was in new
        new = new.replace(was, is_)
    return between(old, new)


def test_layout_order_and_comments_change_nothing() -> None:
    found = changed(
        ("# named atoms", "# other words"),
        ("[payments.*, crm.read_customer", "[crm.read_customer, payments.*"),
    )
    assert found.old == found.new
    assert found.changes == ()
    assert {one.becomes for one in found.past} == {"kept"}


def test_clauses_are_told_by_the_keys_that_authors_write() -> None:
    rule = "kind: Policy\nname: p\nrules: [{id: a, then: deny, because: b, origin: {roles: destination, is: %s}}]"
    ((change,),) = (between(rule % "untrusted", rule % "unknown").changes,)
    assert [(one.key, one.old["is"], one.new["is"]) for one in change.clauses] == [
        ("origin", ["untrusted"], ["unknown"])
    ]


CHANGES = [
    (("then: deny\n    controls: [gdpr/32]", "then: escalate\n    controls: [gdpr/32]"),
     ("rule", "treasury/no-pii-out", "changed", [("then", "deny", "escalate")])),
    (("above: 50000", "above: 60000"),
     ("rule", "treasury/daily-cap", "changed", [("limit", 50000, 60000)])),
    (("  scanned:   {on: {tool: dlp.scan}}", "  scanned:   {on: {tool: mail.read}}"),
     ("define", "treasury/scanned", "changed", [("on", {"tool": ["dlp.scan"]}, {"tool": ["mail.read"]})])),
    (("systems:\n  crm: {jurisdiction: EU}", "systems:\n  crm: {jurisdiction: CH}"),
     ("system", "crm", "changed", [("jurisdiction", "EU", "CH")])),
    (("data: [pii], boundary: internal", "data: [pii], boundary: external"),
     ("resource", "tool crm.read_customer", "changed", [("boundary", "internal", "external")])),
    (("kind: Catalog\n", "kind: Bundle\nname: b\ndefault: allow\n---\nkind: Catalog\n"),
     ("setting", "bundle", "changed", [("default", "deny", "allow"), ("name", None, "b")])),
]  # fmt: skip


@pytest.mark.parametrize(("replacement", "expected"), CHANGES, ids=[one[1][1] for one in CHANGES])
def test_a_change_is_named_with_what_was_and_is(
    replacement: tuple[str, str], expected: tuple[str, str, str, list[tuple[str, object, object]]]
) -> None:
    (found,) = changed(replacement).changes
    assert (found.kind, found.name, found.change) == expected[:3]

    def value(value: object) -> object:
        return value["above"] if isinstance(value, dict) and "above" in value else value

    assert [(one.key, value(one.old), value(one.new)) for one in found.clauses] == expected[3]


def test_what_is_added_and_removed_is_told_whole() -> None:
    rule = "  - id: everyday\n    on: {agent: treasury-bot, tool: [payments.*, crm.read_customer, mail.*, dlp.scan]}\n"
    found = changed((rule, rule.replace("everyday", "daily")))
    assert [(one.name, one.change) for one in found.changes] == [
        ("treasury/daily", "added"),
        ("treasury/everyday", "removed"),
    ]
    assert [clause.key for clause in found.changes[0].clauses] == ["on", "then"]


def past(found: BundleDiff) -> dict[str, list[str]]:
    by_rule: dict[str, list[str]] = {}
    for one in found.past:
        for rule in one.rules:
            by_rule.setdefault(rule.split("/")[1], []).append(one.becomes)
    return by_rule


UNCHANGED = {name: ["kept"] for name in ("no-pii-out", "dlp-before-mail", "new-payee", "daily-cap")}


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        (("once[24h] reads_pii", "once[48h] reads_pii"), {"no-pii-out": ["new", "forgotten"]}),
        (("tool: dlp.scan}", "tool: mail.read}"), {"dlp-before-mail": ["new", "forgotten"]}),
        # The threshold is no part of an account: what was spent stays spent.
        (("above: 50000", "above: 60000"), {}),
        (("per: 24h, scope: agent", "per: 48h, scope: agent"), {"daily-cap": ["new", "forgotten"]}),
        (("pays: args.to}", "pays: args.memo}"), {"new-payee": ["new", "forgotten"]}),
        # A rule of another name over the same formula goes on where the old one was.
        (("id: no-pii-out", "id: renamed"), {"renamed": ["kept"], "no-pii-out": []}),
    ],
)
def test_monitors_of_unchanged_formulas_keep_what_they_remember(
    replacement: tuple[str, str], expected: dict[str, list[str]]
) -> None:
    wanted = {name: states for name, states in {**UNCHANGED, **expected}.items() if states}
    assert past(changed(replacement)) == wanted


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ("past: 'once[24h] reads_pii'", "judges live sessions by what is recorded of the last 30 days"),
        ("past: once reads_pii", "what is older is unknown"),
        ("past: 'once[1h] big'", "conditions count as possibly true of what was before"),
        ("past: 'once[1h] pays', by: {pays: args.to}", "what was before counts for every value"),
        ("limit: {sum: args.amount, per: 1h, above: 5}", "the sum is unknown"),
        ("limit: {count: actions, per: 1h, above: 5}", "counts what is recorded of the last 30 days"),
        ("limit: {count: actions, per: 1h, above: 5, key: args.to}", "counts for every key"),
        ("limit: {count: denials, per: 1h, above: 5}", "begins at 0"),
    ],
)
def test_it_says_what_a_new_rule_knows_of_what_was_before(rule: str, note: str) -> None:
    old = DESIGN.replace(
        "rules:\n", "  big: {on: {tool: payments.transfer}, when: args.amount > 5}\nrules:\n", 1
    )
    new = f"  - {{id: fresh, on: {{tool: payments.transfer}}, {rule}, then: deny}}\n"
    found = between(old, old.replace("  - id: large-transfer", new + "  - id: large-transfer"))
    (fresh,) = [one for one in found.past if one.rules == ("treasury/fresh",)]
    assert fresh.becomes == "new"
    assert note in fresh.note


def test_what_is_kept_over_another_catalog_says_so() -> None:
    found = changed(("boundary: internal, returns: trusted}", "boundary: external, returns: trusted}"))
    assert {one.note for one in found.past} == {"what it remembers was seen with the old catalog"}
