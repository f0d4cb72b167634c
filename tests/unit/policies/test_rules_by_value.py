"""`by` as a story tells it: when two actions speak of the same value."""

from __future__ import annotations

from unit.policies.policy_texts import bundle_of

from policies.compile import compile_bundle
from policies.error import Source
from policies.loader import load_documents
from policies.stories import run_stories

CATALOG = """\
kind: Catalog
tools:
  bank.open: {effects: [write]}
  bank.pay: {effects: [pay], args: {to: {type: iban}, from: {type: iban}, reference: {type: string}}}
"""
TEST = """\
kind: Test
name: t
sessions: {s: {agent: bot}}
cases:
  - name: c
    steps:
"""
ALLOW = "  - {id: everything, then: allow}\n"


def failures(policy: str, *steps: str) -> tuple[str, ...]:
    told = TEST + "".join(f"      - {step}\n" for step in steps)
    texts = (CATALOG, policy, told)
    documents = load_documents([Source(name=f"{n}.yaml", text=text) for n, text in enumerate(texts)])
    return run_stories(compile_bundle(documents), documents.tests).failures


def test_an_argument_without_a_type_is_the_same_value_as_one_that_is_an_iban() -> None:
    policy = """\
kind: Policy
name: p
define:
  opened: {on: {tool: bank.open}}
  pays: {on: {tool: bank.pay}}
rules:
  - {id: new, past: pays and once opened, by: {opened: args.iban, pays: args.to}, then: deny}
"""
    steps = (
        "{session: s, tool: bank.open, args: {iban: DE89370400440532013000}, expect: allow}",
        "{session: s, tool: bank.pay, args: {to: de89 3704 0044 0532 0130 00}, expect: deny, rules: [p/new]}",
        "{session: s, tool: bank.pay, args: {to: FR7630006000011234567890189}, expect: allow}",
    )
    assert failures(policy + ALLOW, *steps) == ()


def test_keys_of_different_types_are_warned_of() -> None:
    policy = """\
kind: Policy
name: p
define:
  notes: {on: {tool: bank.pay}, when: has(args.reference)}
  pays: {on: {tool: bank.pay}}
rules:
  - {id: a, past: pays and once notes, by: {notes: args.reference, pays: args.to}, then: deny}
"""
    [warning] = [one for one in bundle_of(CATALOG, policy).warnings if one.code == "different_key_types"]
    assert "`notes` string, `pays` iban" in warning.message


def test_two_names_of_one_tool_have_each_their_own_key() -> None:
    policy = """\
kind: Policy
name: p
define:
  receives: {on: {tool: bank.pay}}
  spends: {on: {tool: bank.pay}}
rules:
  - {id: layering, past: spends and once receives, by: {receives: args.to, spends: args.from}, then: deny}
"""
    steps = (
        "{session: s, tool: bank.pay, args: {from: DE11, to: DE22}, expect: allow}",
        "{session: s, tool: bank.pay, args: {from: DE33, to: DE22}, expect: allow}",
        "{session: s, tool: bank.pay, args: {from: DE22, to: DE44}, expect: deny, rules: [p/layering]}",
        "{session: s, tool: bank.pay, args: {to: DE44}, expect: deny, rules: [p/layering]}",
    )
    assert failures(policy + ALLOW, *steps) == ()


def test_what_a_granting_limit_never_counted_is_not_given_back_from_it() -> None:
    policy = """\
kind: Policy
name: p
rules:
  - {id: busy, on: {tool: bank.pay}, when: args.reference != "x", limit: {count: actions, above: 1}, then: allow}
"""
    steps = (
        "{session: s, at: 1s, tool: bank.pay, args: {reference: a}, expect: allow, rules: [p/first]}",
        "{session: s, tool: bank.pay, args: {}, expect: allow, rules: [p/first], outcome: {status: not_executed}}",
        "{session: s, tool: bank.pay, args: {reference: b}, expect: allow, rules: [p/busy]}",
    )
    assert failures(policy + ALLOW.replace("everything", "first"), *steps) == ()
